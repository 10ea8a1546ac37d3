package jetstream

import (
	"math"
	"strings"
	"testing"
	"time"

	"holdfast/node/machine"
)

// scheduleHeader is that of a schedule, with more lines.
func scheduleHeader(pattern string, lines ...string) string {
	return "NATS/1.0\r\nNats-Schedule: " + pattern + "\r\n" + strings.Join(append(lines, ""), "\r\n") + "\r\n"
}

// TestTimetables asks for the first time behind a moment: what was missed up to
// now counts as one.
func TestTimetables(t *testing.T) {
	const never, bad, badZone = "never", "bad pattern", "bad zone"
	for _, c := range []struct{ pattern, zone, from, now, want string }{
		{"@at 2026-03-01T12:00:00Z", "", "2026-01-02T03:04:05Z", "", "2026-03-01T12:00:00Z"},
		{"@at 2026-03-01T12:00:00+02:00", "", "2026-01-02T03:04:05Z", "", "2026-03-01T10:00:00Z"},
		{"@at 2026-03-01T12:00:00Z", "UTC", "2026-01-02T03:04:05Z", "", bad},
		{"@at 0001-01-01T00:00:00Z", "", "2026-01-02T03:04:05Z", "", never},
		{"@at 1900-01-01T00:00:00Z", "", "2026-01-02T03:04:05Z", "", "1970-01-01T00:00:00.000000001Z"},
		{"@at tomorrow", "", "2026-01-02T03:04:05Z", "", bad},
		{"@every 90s", "", "2026-01-02T03:04:05.4Z", "", "2026-01-02T03:05:35Z"},
		{"@every 90s", "", "2026-01-02T03:04:05.6Z", "", "2026-01-02T03:05:36Z"},
		{"@every 90s", "", "2026-01-02T03:04:05Z", "2026-01-02T09:00:00Z", "2026-01-02T09:01:30Z"},
		{"@every 999ms", "", "2026-01-02T03:04:05Z", "", bad},
		{"@every 1s", "UTC", "2026-01-02T03:04:05Z", "", bad},
		{"@every -1h", "", "2026-01-02T03:04:05Z", "", bad},
		{"@every 2000000h", "", "2026-01-02T03:04:05Z", "", "2223-07-06T14:13:20Z"}, // the last stamp
		{"@hourly", "", "2026-01-02T03:04:05Z", "", "2026-01-02T04:00:00Z"},
		{"@daily", "Asia/Kathmandu", "2026-01-02T03:04:05Z", "", "2026-01-02T18:15:00Z"},
		{"@midnight", "", "2026-01-02T03:04:05Z", "", "2026-01-03T00:00:00Z"},
		{"@weekly", "", "2026-01-02T03:04:05Z", "", "2026-01-04T00:00:00Z"},
		{"@monthly", "", "2026-01-02T03:04:05Z", "", "2026-02-01T00:00:00Z"},
		{"@yearly", "", "2026-01-02T03:04:05Z", "2028-06-01T00:00:00Z", "2029-01-01T00:00:00Z"},
		{"@annually", "", "2026-01-02T03:04:05Z", "", "2027-01-01T00:00:00Z"},
		{"*/20 30-31 4 * JAN-feb mon,TUE", "", "2026-01-02T03:04:05Z", "", "2026-01-05T04:30:00Z"},
		{"0 0 0 13 * FRI", "", "2026-01-14T00:00:00Z", "", "2026-01-16T00:00:00Z"}, // either of the two
		{"0 0 0 29 2 ?", "", "2026-01-02T03:04:05Z", "", "2028-02-29T00:00:00Z"},
		{"0 0 0 30 2 *", "", "2026-01-02T03:04:05Z", "", bad},
		{"0 30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "", "2026-03-30T00:30:00Z"},   // 2:30 is left out on the 29th
		{"0 30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "", "2026-10-25T01:30:00Z"},   // and comes twice on that day
		{"0 0 0 * * *", "America/Asuncion", "2024-10-05T12:00:00Z", "", "2024-10-07T03:00:00Z"}, // midnight is left out on the 6th
		{"0 0 0 * *", "", "2026-01-02T03:04:05Z", "", bad},
		{"60 * * * * *", "", "2026-01-02T03:04:05Z", "", bad},
		{"TZ=UTC", "", "2026-01-02T03:04:05Z", "", bad},
		{"CRON_TZ=UTC * * * * * *", "", "2026-01-02T03:04:05Z", "", bad},
		{"@reboot", "", "2026-01-02T03:04:05Z", "", bad},
		{"* * * * * *", "Nowhere/Never", "2026-01-02T03:04:05Z", "", badZone},
		{"* * * * * *", " ", "2026-01-02T03:04:05Z", "", badZone},
	} {
		header := scheduleHeader(c.pattern)
		if c.zone != "" {
			header = scheduleHeader(c.pattern, "Nats-Schedule-Time-Zone: "+strings.TrimSpace(c.zone))
		}
		from, _ := time.Parse(time.RFC3339Nano, c.from)
		now, err := time.Parse(time.RFC3339Nano, c.now)
		if err != nil {
			now = from
		}
		z := zones{load: time.LoadLocation}
		due, flaw, is := z.scheduled([]byte(header), from.UnixNano(), now.UnixNano())
		got := time.Unix(0, due).UTC().Format(time.RFC3339Nano)
		switch flaw {
		case machine.ScheduleBadPattern:
			got = bad
		case machine.ScheduleBadZone:
			got = badZone
		case machine.ScheduleNever:
			got = never
		}
		if !is || got != c.want {
			t.Errorf("%q in zone %q after %s, now %q: %s, want %s", c.pattern, c.zone, c.from, c.now, got, c.want)
		}
	}
}

// FuzzTimetable: whatever a pattern says, what comes again comes later.
func FuzzTimetable(f *testing.F) {
	for _, pattern := range []string{"@at 2026-03-01T12:00:00Z", "@every 1h", "@daily", "*/5 1-7 * ? jan 0", "TZ=UTC", "CRON_TZ=", "@every 9999999h"} {
		f.Add(pattern, "Europe/Berlin", start)
	}
	f.Fuzz(func(t *testing.T, pattern, zone string, stamp int64) {
		header := []byte(scheduleHeader(pattern, "Nats-Schedule-Time-Zone: "+zone))
		z := zones{load: time.LoadLocation}
		stamp = min(stamp&math.MaxInt64, machine.MaxStamp)
		location, ok := z.of(header)
		if !ok {
			location = nil
		}
		table, ok := readTimetable(pattern, location)
		if !ok {
			return
		}
		if next, ok := table.next(stamp, stamp); ok && table.repeats() && !next.After(time.Unix(0, stamp)) {
			t.Errorf("%q after %s: %s", pattern, time.Unix(0, stamp), next)
		}
	})
}
