package jetstream

import (
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/robfig/cron/v3"

	"holdfast/node/machine"
)

// minInterval is the shortest interval of a schedule.
const minInterval = time.Second

// maxZones bounds the time zones that are kept. There are about 600.
const maxZones = 1024

// cronParser reads six fields: second, minute, hour, day, month, day of the week.
var cronParser = cron.NewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// cronNames are the patterns that have a name.
var cronNames = map[string]string{
	"@yearly": "0 0 0 1 1 *", "@annually": "0 0 0 1 1 *", "@monthly": "0 0 0 1 * *", "@weekly": "0 0 0 * * 0",
	"@daily": "0 0 0 * * *", "@midnight": "0 0 0 * * *", "@hourly": "0 0 * * * *",
}

// timetable says when a schedule fires (ADR-51): once, at intervals, or as a
// cron pattern says. One of the three is set.
type timetable struct {
	at    time.Time
	every time.Duration
	cron  cron.Schedule
	zone  *time.Location // of cron
}

// readTimetable reads the header Nats-Schedule: "@at" with a time, "@every" with
// an interval, or a cron pattern, which alone may have a time zone; a nil one is
// UTC.
func readTimetable(pattern string, zone *time.Location) (timetable, bool) {
	if text, ok := strings.CutPrefix(pattern, "@at "); ok {
		at, err := time.Parse(time.RFC3339, text)
		return timetable{at: at}, err == nil && zone == nil
	}
	if text, ok := strings.CutPrefix(pattern, "@every "); ok {
		every, err := time.ParseDuration(text)
		return timetable{every: every}, err == nil && zone == nil && every >= minInterval
	}
	if named, ok := cronNames[pattern]; ok {
		pattern = named
	}
	if strings.HasPrefix(pattern, "TZ=") || strings.HasPrefix(pattern, "CRON_TZ=") {
		return timetable{}, false // the parser's own way to say it
	}
	if zone == nil {
		zone = time.UTC
	}
	parsed, err := cronParser.Parse(pattern)
	return timetable{cron: parsed, zone: zone}, err == nil
}

// next is the first time behind a stamp, and, if it comes again and again, not
// before now: what was missed is not made up for. It is false when there is
// none within five years.
func (t *timetable) next(stamp, now int64) (time.Time, bool) {
	switch {
	case t.every > 0:
		next := time.Unix(0, stamp).UTC().Round(time.Second).Add(t.every)
		if current := time.Unix(0, now).UTC(); next.Before(current) {
			next = current.Round(time.Second).Add(t.every)
		}
		return next, true
	case t.cron != nil:
		next := t.cron.Next(time.Unix(0, stamp).In(t.zone))
		if current := time.Unix(0, now); next.Before(current) {
			next = t.cron.Next(current.Round(time.Second).In(t.zone))
		}
		return next, !next.IsZero()
	}
	return t.at, true
}

func (t *timetable) repeats() bool { return t.every > 0 || t.cron != nil }

// zones are the time zones that schedules have named.
type zones struct {
	load func(name string) (*time.Location, error) // nil: there are none
	kept map[string]*time.Location
}

// of returns the time zone that a header names, nil when it names none. It is
// false when there is no such zone.
func (z *zones) of(header []byte) (*time.Location, bool) {
	if headerAt(header, server.JSScheduleTimeZone) < 0 {
		return nil, true
	}
	name := string(headerValue(header, server.JSScheduleTimeZone))
	if zone := z.kept[name]; zone != nil {
		return zone, true
	}
	if name == "" || z.load == nil {
		return nil, false
	}
	zone, err := z.load(name)
	if err != nil {
		return nil, false
	}
	if len(z.kept) >= maxZones || z.kept == nil {
		z.kept = make(map[string]*time.Location)
	}
	z.kept[name] = zone
	return zone, true
}

// scheduled says what a schedule has to say about itself when it is stored at a
// stamp: when it is due first, or what is wrong with it. It is false for a
// message that is none.
func (z *zones) scheduled(header []byte, stamp, now int64) (due int64, flaw machine.ScheduleFlaw, is bool) {
	zone, ok := z.of(header)
	if !ok {
		return 0, machine.ScheduleBadZone, true
	}
	pattern := headerValue(header, server.JSSchedulePattern)
	if len(pattern) == 0 {
		return 0, machine.ScheduleFine, false
	}
	table, ok := readTimetable(string(pattern), zone)
	if !ok {
		return 0, machine.ScheduleBadPattern, true
	}
	next, ok := table.next(stamp, now)
	switch {
	case !ok:
		return 0, machine.ScheduleBadPattern, true
	case next.IsZero():
		return 0, machine.ScheduleNever, true
	}
	return machine.ScheduleStamp(next), machine.ScheduleFine, true
}
