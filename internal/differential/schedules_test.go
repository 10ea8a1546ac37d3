package differential

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// untilStored waits for the last message of a subject to be one with that in its
// header, and writes it down. It returns the header.
func (s *session) untilStored(subject, with string) string {
	header := ""
	s.until("STREAM.MSG.GET."+s.name, object{"last_by_subj": s.name + subject}, func(a *answer) bool {
		decoded, _ := base64.StdEncoding.DecodeString(a.text("message.hdrs"))
		header = string(decoded)
		return strings.Contains(header, with)
	})
	return header
}

// TestSchedulesFireOnce publishes messages that are due now or soon.
func TestSchedulesFireOnce(t *testing.T) {
	for name, change := range map[string]object{
		"file": {}, "memory": {"storage": "memory"}, "markers": {"subject_delete_marker_ttl": 5 * second}, "alone": {"num_replicas": 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			past := "Nats-Schedule: @at 2020-01-01T00:00:00Z"
			soon := "Nats-Schedule: @at " + time.Now().Add(3*time.Second).UTC().Format(time.RFC3339)
			compare(t, func(s *session) {
				s.create(change, object{"allow_msg_schedules": true, "allow_msg_ttl": true})
				s.ask(s.name+".source", "from the source", "Of: source", "Nats-Msg-Id: s", "Nats-TTL: 1h")
				for _, one := range []struct {
					subject string
					headers []string
				}{
					{".plain", []string{past}},
					{".soon", []string{soon}},
					{".zero", []string{"Nats-Schedule: @at 0001-01-01T00:00:00Z"}},
					{".more", []string{past, "Kept: yes", "Nats-Msg-Id: m", "Nats-Expected-Last-Subject-Sequence: 0", "Nats-Schedule-TTL: 1s", "Nats-Schedule-Rollup: sub"}},
					{".copied", []string{past, "Nats-Schedule-Source: " + s.name + ".source"}},
					{".alone", []string{past, "Nats-Schedule-Source: " + s.name + ".nothing", "Own: yes"}},
				} {
					s.ask(s.name+one.subject, "payload", append(one.headers, "Nats-Schedule-Target: "+s.name+".t"+one.subject)...)
					if one.subject == ".zero" {
						s.api("STREAM.MSG.GET."+s.name, object{"last_by_subj": s.name + one.subject})
						continue
					}
					s.untilStored(".t"+one.subject, "Nats-Scheduler: ")
					s.api("STREAM.MSG.GET."+s.name, object{"last_by_subj": s.name + one.subject})
				}
				s.delete()
			})
		})
	}
}

var nextTime = regexp.MustCompile(`Nats-Schedule-Next: (\S+)`)

// next says of a message that a schedule published when the schedule is due
// again: how long after the message's own second, and in which time zone.
func (s *session) next(header string) {
	found := nextTime.FindStringSubmatch(header)
	if found == nil {
		s.note("next", "missing in "+header)
		return
	}
	at, err := time.Parse(time.RFC3339Nano, found[1])
	_, offset := at.Zone()
	s.note("next", []any{offset, at.Nanosecond(), err})
}

// TestSchedulesFireAgain: what comes again and again does until somebody ends it.
func TestSchedulesFireAgain(t *testing.T) {
	for name, headers := range map[string][]string{
		"every": {"Nats-Schedule: @every 1s"}, "cron": {"Nats-Schedule: */1 * * * * ?"},
		"zone": {"Nats-Schedule: * * * * * MON-SUN,*", "Nats-Schedule-Time-Zone: Asia/Kathmandu"},
		"days": {"Nats-Schedule: * * * 1-31 jan-dec *", "Nats-Schedule-Time-Zone: UTC"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, func(s *session) {
				s.create(object{"allow_msg_schedules": true})
				headers := append(headers, "Nats-Schedule-Target: "+s.name+".target", "Kept: yes")
				if s.ask(s.name+".schedule", "payload", headers...).text("error") != "" {
					s.delete()
					return
				}
				for _, seq := range []string{"2", "3"} {
					answer := s.until("STREAM.MSG.GET."+s.name, `{"seq":`+seq+`}`, func(a *answer) bool { return a.text("message.seq") == seq })
					header, _ := base64.StdEncoding.DecodeString(answer.text("message.hdrs"))
					s.next(string(header))
				}
				ends := map[string]func(){
					"every": func() { s.api("STREAM.MSG.DELETE."+s.name, `{"seq":1}`) },
					"cron":  func() { s.api("STREAM.PURGE."+s.name, object{"filter": s.name + ".schedule"}) },
					"zone": func() {
						s.request(s.name+".other", nil, []string{"Nats-Schedule-Next: purge", "Nats-Scheduler: " + s.name + ".schedule"})
					},
					"days": func() { s.request(s.name+".schedule", nil, nil) },
				}
				ends[name]()
				s.api("STREAM.MSG.GET."+s.name, `{"seq":1}`)
				before := s.request("$JS.API.STREAM.INFO."+s.name, nil, nil).text("state.last_seq")
				time.Sleep(1500 * time.Millisecond)
				after := s.request("$JS.API.STREAM.INFO."+s.name, nil, nil).text("state.last_seq")
				s.note("nothing came any more", before == after)
				s.delete()
			})
		})
	}
}

// TestScheduleUpdates turns schedules on, and tries to turn them off.
func TestScheduleUpdates(t *testing.T) {
	t.Parallel()
	compare(t, func(s *session) {
		s.create()
		past := []string{"Nats-Schedule: @at 2020-01-01T00:00:00Z", "Nats-Schedule-Target: " + s.name + ".target"}
		s.ask(s.name+".schedule", "early", past...)
		s.update(object{"allow_msg_schedules": true, "allow_rollup_hdrs": false})
		s.update(object{"allow_msg_schedules": true, "deny_purge": true})
		s.ask(s.name+".schedule", "payload", past...)
		s.untilStored(".target", "Nats-Scheduler: ")
		for _, change := range []object{
			{}, {"allow_msg_schedules": true, "discard": "new"}, {"allow_msg_schedules": true, "allow_msg_counter": true},
			{"allow_msg_schedules": true, "allow_rollup_hdrs": false}, {"allow_msg_schedules": true, "allow_msg_ttl": true},
		} {
			s.update(change)
			s.info()
		}
		s.delete()
	})
}

// TestBatchesOfSchedules stores schedules in atomic batches.
func TestBatchesOfSchedules(t *testing.T) {
	t.Parallel()
	compare(t, func(s *session) {
		s.create(object{"allow_msg_schedules": true, "allow_atomic": true})
		past, target := "Nats-Schedule: @at 2020-01-01T00:00:00Z", "Nats-Schedule-Target: "+s.name+".target"
		far := "Nats-Schedule: @at 2099-01-01T00:00:00Z"
		purge := func(subject string) []string {
			return []string{"Nats-Schedule-Next: purge", "Nats-Scheduler: " + s.name + subject}
		}
		for batch, members := range [][]member{
			{{".one", 1, []string{far, target}}, {".two", 2, []string{commit}}},
			{{".bad", 1, []string{"Nats-Schedule: x", target}}, {".two", 2, []string{commit}}},
			{{".three", 1, []string{far, target}}, {".x", 2, append(purge(".three"), commit)}},
			{{".four", 1, nil}, {".x", 2, append(purge(".four"), commit)}},
			{{".four", 1, nil}, {".four", 2, []string{far, target, commit}}},
			{{".one", 1, []string{past, target}}, {".x", 2, []string{commit}}},
		} {
			for _, m := range members {
				s.add(fmt.Sprint(batch), m)
			}
		}
		s.untilStored(".target", "Nats-Scheduler: ")
		s.api("STREAM.INFO."+s.name, object{"subjects_filter": ">", "deleted_details": true})
		s.delete()
	})
}
