package differential

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestCounters adds to counters and reads them in all ways.
func TestCounters(t *testing.T) {
	for name, change := range map[string]object{
		"file": {}, "memory": {"storage": "memory"}, "alone": {"num_replicas": 1}, "one": {"max_msgs_per_subject": 1}, "small": {"max_msg_size": 60},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, func(s *session) {
				s.create(change, object{"allow_msg_counter": true, "allow_direct": true})
				for i, step := range []string{"1", "-3", "+5", "0", "99999999999999999999999999999999999", "-99999999999999999999999999999999998", "1"} {
					s.ask(fmt.Sprintf("%s.%d", s.name, i%2), nil, "Nats-Incr: "+step)
				}
				s.ask(s.name+".0", nil, "Nats-Incr: 7", "Nats-Msg-Id: once")
				s.ask(s.name+".0", nil, "Nats-Incr: 7", "Nats-Msg-Id: once")
				s.ask(s.name+".0", "x", "Nats-Incr: 7")
				s.ask(s.name+".0", nil)
				s.ask(s.name+".0", nil, "Nats-Incr:8", "Other: kept")
				s.ask(s.name+".0", nil, "Nats-Incr: 1", `Nats-Counter-Sources: {"O":{"o.x":"4"}}`)
				s.ask(s.name+".0", nil, "Nats-Incr: 1")
				s.ask(s.name+".2", nil, "Nats-Incr: 1", "Nats-Counter-Sources: broken")
				s.ask(s.name+".2", nil, "Nats-Incr: 1")
				for _, subject := range []string{".0", ".1", ".2"} {
					s.api("STREAM.MSG.GET."+s.name, object{"last_by_subj": s.name + subject})
					s.api("DIRECT.GET."+s.name+"."+s.name+subject, nil)
				}
				ear := s.listen(s.nc.NewInbox())
				if err := s.nc.PublishRequest("$JS.API.DIRECT.GET."+s.name, ear.sub.Subject, s.encode(object{"multi_last": []string{s.name + ".>"}})); err != nil {
					s.fail("ask for all counters: %v", err)
				}
				for range 4 {
					m, err := ear.sub.NextMsg(answerLimit)
					if err != nil {
						s.note("answers", err)
						break
					}
					s.note("counter", []any{m.Header.Get("Nats-Subject"), m.Header.Get("Nats-Incr"), m.Header.Get("Status"), string(m.Data)})
				}
				last := s.request("$JS.API.STREAM.MSG.GET."+s.name, s.encode(object{"last_by_subj": s.name + ".0"}), nil)
				s.api("STREAM.MSG.DELETE."+s.name, `{"seq":`+last.text("message.seq")+`}`)
				s.ask(s.name+".0", nil, "Nats-Incr: 1000")
				s.api("STREAM.PURGE."+s.name, object{"filter": s.name + ".0"})
				s.ask(s.name+".0", nil, "Nats-Incr: 1000")
				s.info()
				s.delete()
			})
		})
	}
}

// TestCounterUpdates tries to turn counters on and off.
func TestCounterUpdates(t *testing.T) {
	t.Parallel()
	compare(t, func(s *session) {
		s.create()
		s.update(object{"allow_msg_counter": true})
		s.delete()
		s.create(object{"allow_msg_counter": true})
		for _, change := range []object{
			{}, {"allow_msg_counter": true, "allow_msg_ttl": true}, {"allow_msg_counter": true, "discard": "new"}, {"allow_msg_counter": true, "retention": "interest"},
			{"allow_msg_counter": true, "allow_msg_schedules": true}, {"allow_msg_counter": true, "max_msgs_per_subject": 1},
		} {
			s.update(change)
		}
		s.delete()
	})
}

// TestCountersAreSourced sums up the counters of two streams in a third, beside
// increments of its own, hands that on to a fourth, and keeps copies as they are.
func TestCountersAreSourced(t *testing.T) {
	t.Parallel()
	compare(t, func(s *session) {
		counter := object{"allow_msg_counter": true, "num_replicas": nodes}
		named := func(letter string, changes ...object) {
			config := s.stream(append(changes, object{"name": s.name + letter})...)
			s.note("create "+letter, s.request("$JS.API.STREAM.CREATE."+s.name+letter, s.encode(config), nil).text("error"))
		}
		moved := func(letter string) object {
			return object{"name": s.name + letter, "subject_transforms": []object{{"src": s.name + "." + letter + ".>", "dest": s.name + ".sum.>"}}}
		}
		named("A", counter, object{"subjects": []string{s.name + ".A.>"}})
		named("B", counter, object{"subjects": []string{s.name + ".B.>"}})
		for i := range 3 {
			s.ask(s.name+".A.x", nil, "Nats-Incr: 1")
			s.ask(s.name+".B.x", nil, fmt.Sprintf("Nats-Incr: %d", 10*i))
		}
		s.ask(s.name+".A.y", nil, "Nats-Incr: 5")
		named("S", counter, object{"subjects": []string{s.name + ".sum.>"}, "sources": []object{moved("A"), moved("B")}})
		named("T", counter, object{"subjects": nil, "sources": []object{{"name": s.name + "S"}}})
		named("M", object{"subjects": nil, "mirror": object{"name": s.name + "A"}})
		named("P", object{"subjects": nil, "sources": []object{{"name": s.name + "A"}}})
		s.sum("S", ".sum.x", "33")
		s.sum("S", ".sum.y", "5")
		s.ask(s.name+".sum.x", nil, "Nats-Incr: 100")
		s.ask(s.name+".A.x", nil, "Nats-Incr: -1")
		s.sum("S", ".sum.x", "132")
		s.sum("T", ".sum.x", "132")
		s.sum("M", ".A.x", "2")
		s.sum("P", ".A.x", "2")
		for _, letter := range []string{"A", "B", "S", "T", "M", "P"} {
			s.api("STREAM.DELETE."+s.name+letter, nil)
		}
	})
}

// sum waits until a counter has a value, and writes down who made it.
func (s *session) sum(letter, subject, value string) {
	request := s.encode(object{"last_by_subj": s.name + subject})
	var a *answer
	s.told = append(s.told, telling{what: "until " + letter + subject + " is " + value})
	reached := s.eventually(func() bool {
		a = s.request("$JS.API.STREAM.MSG.GET."+s.name+letter, request, nil)
		data, _ := base64.StdEncoding.DecodeString(a.text("message.data"))
		return strings.Contains(string(data), `"`+value+`"`)
	})
	s.note("reached "+value, reached)
	header, _ := base64.StdEncoding.DecodeString(a.text("message.hdrs"))
	for line := range strings.SplitSeq(string(header), "\r\n") {
		if strings.HasPrefix(line, "Nats-Counter-Sources") {
			s.note("sources of "+letter+subject, line)
		}
	}
}

// TestBatchesOfCounters adds to counters in atomic batches.
func TestBatchesOfCounters(t *testing.T) {
	t.Parallel()
	compare(t, func(s *session) {
		s.create(object{"allow_msg_counter": true, "allow_atomic": true})
		s.ask(s.name+".x", nil, "Nats-Incr: 10")
		for batch, members := range [][]string{
			{".x 1", ".y 2", ".x 3"}, {".x 1", ".y nonsense"}, {".x 1", ".x"}, {".x 5 Nats-Msg-Id:a"}, {".y 1", ".x 5 Nats-Msg-Id:a"}, {".z 1", ".z -1"},
		} {
			for i, text := range members {
				subject, rest, _ := strings.Cut(text, " ")
				step, more, _ := strings.Cut(rest, " ")
				headers := []string{fmt.Sprint("Nats-Batch-Id: ", batch), fmt.Sprint("Nats-Batch-Sequence: ", i+1)}
				if step != "" {
					headers = append(headers, "Nats-Incr: "+step)
				}
				if more != "" {
					headers = append(headers, more)
				}
				if i == len(members)-1 {
					headers = append(headers, commit)
				}
				s.ask(s.name+subject, nil, headers...)
			}
			for _, subject := range []string{".x", ".y", ".z"} {
				s.api("STREAM.MSG.GET."+s.name, object{"last_by_subj": s.name + subject})
			}
		}
		s.info()
		s.delete()
	})
}

// fastCounts are fast-ingest batches of increments, one after the other on the same
// stream, each with and without gaps.
var fastCounts = [][]fastMessage{
	{{1, commitLast, []string{"Nats-Incr: 5"}}},
	{{1, begin, []string{"Nats-Incr: 1"}}, {2, add, []string{"Nats-Incr: +2"}}, {3, add, []string{"Nats-Incr: -7"}}, {4, commitLast, []string{"Nats-Incr: 99999999999999999999999"}}},
	{{1, begin, []string{"Nats-Incr: 1"}}, {2, add, []string{"Nats-Incr: 1"}}, {3, commitEnd, nil}},
	{{1, begin, nil}, {2, commitLast, []string{"Nats-Incr: 1"}}},
	{{1, begin, []string{"Nats-Incr: x"}}, {2, commitLast, []string{"Nats-Incr: 1"}}},
	{{1, begin, []string{"Nats-Incr: 1"}}, {2, add, []string{"Nats-Incr: nonsense"}}, {3, add, []string{"Nats-Incr: 1"}}, {4, commitLast, []string{"Nats-Incr: 1"}}},
	{{1, begin, []string{"Nats-Incr: 1"}}, {2, add, nil}, {3, commitEnd, nil}},
	{{1, begin, []string{"Nats-Incr: 1", "Nats-Msg-Id: ID"}}, {2, add, []string{"Nats-Incr: 50", "Nats-Msg-Id: ID"}}, {3, commitLast, []string{"Nats-Incr: 1"}}},
	{{1, begin, []string{"Nats-Incr: 1"}}, {3, add, []string{"Nats-Incr: 1"}}, {4, commitLast, []string{"Nats-Incr: 1"}}},
	{{1, begin, []string{"Nats-Incr: 1"}}, {2, add, []string{"Nats-Incr: 1", "Nats-Rollup: sub"}}, {3, commitLast, []string{"Nats-Incr: 1"}}},
	{{1, begin, []string{"Nats-Incr: 1"}}, {2, commitLast, []string{"Nats-Incr: 1", "Nats-Expected-Stream: other"}}},
	{{1, begin, []string{"Nats-Incr: 1" + strings.Repeat("0", 150)}}, {2, commitLast, []string{"Nats-Incr: 1"}}},
}

// TestFastBatchesOfCounters adds to counters in fast-ingest batches.
func TestFastBatchesOfCounters(t *testing.T) {
	for name, change := range map[string]object{"file": {}, "small": {"max_msg_size": 200}, "transform": {"subject_transform": object{"src": ">", "dest": "moved.>"}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, func(s *session) {
				s.create(object{"allow_msg_counter": true, "allow_batched": true}, change)
				e := s.listen("inbox." + s.name + ".>")
				for batch, messages := range fastCounts {
					for _, gaps := range []string{"fail", "ok"} {
						for _, m := range messages {
							m.headers = slices.Clone(m.headers)
							for i := range m.headers {
								m.headers[i] = strings.Replace(m.headers[i], "ID", fmt.Sprint(gaps, batch), 1)
							}
							s.ingest(e, fmt.Sprint(gaps, batch), gaps, 2, m)
						}
						e.hearAll(unanswered)
						s.ask(s.name+".a", nil, "Nats-Incr: 1000")
					}
				}
				s.info()
				s.delete()
			})
		})
	}
}
