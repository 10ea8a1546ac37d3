package differential

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// pull sends a pull request and returns where the messages come.
func (s *session) pull(request any) *ear {
	inbox := nats.NewInbox()
	e := s.listen(inbox)
	m := message("$JS.API.CONSUMER.MSG.NEXT."+s.name+".C", s.encode(request), nil)
	m.Reply = inbox
	if err := s.nc.PublishMsg(m); err != nil {
		s.fail("pull: %v", err)
	}
	return e
}

// get waits for so many deliveries or statuses and writes them down: subject,
// header, payload, and the numbers in the reply subject but the time.
func (e *ear) get(count int) []*nats.Msg {
	var got []*nats.Msg
	for range count {
		m, err := e.sub.NextMsg(answerLimit)
		if err != nil {
			e.session.note("delivery", "none: "+err.Error())
			return got
		}
		got = append(got, m)
		e.session.told = append(e.session.told, telling{"delivery", delivered(m)})
	}
	return got
}

func delivered(m *nats.Msg) fields {
	all := fields{"payload": string(m.Data)}
	for name, values := range m.Header {
		value := fmt.Sprint(values)
		if name == "Nats-Pin-Id" {
			value = fmt.Sprint(len(values[0]))
		}
		all["header "+name] = value
	}
	if tokens := strings.Split(m.Reply, "."); len(tokens) == 9 {
		tokens[7] = "time"
		all["reply"] = strings.Join(tokens, ".")
		all["subject"] = m.Subject
	}
	return all
}

// silent writes down what comes although nothing should.
func (e *ear) silent() {
	if m, err := e.sub.NextMsg(silence); err == nil {
		e.session.told = append(e.session.told, telling{"unexpected", delivered(m)})
	}
}

// answer acknowledges a delivery and waits until that is confirmed.
func (s *session) answer(m *nats.Msg, word string) {
	_, err := s.nc.Request(m.Reply, []byte(word), answerLimit)
	s.note(fmt.Sprintf("%s confirmed", word), err == nil)
}

// single is for streams whose consumers JetStream does not replicate: it then tells
// what it has to say in order.
var single = object{"num_replicas": 1}

// filled creates the stream with some messages, and the consumer.
func (s *session) filled(messages int, changes ...object) {
	s.create(single)
	for i := range messages {
		s.ask(fmt.Sprintf("%s.%d", s.name, i%2), fmt.Sprintf("message %d", i+1), "Key: value")
	}
	s.createConsumer(changes...)
	s.until("CONSUMER.INFO."+s.name+".C", nil, func(a *answer) bool { return a.text("num_pending") == fmt.Sprint(messages) })
}

// state asks for the consumer until it has so many unanswered messages.
func (s *session) state(unanswered int) {
	s.until("CONSUMER.INFO."+s.name+".C", nil, func(a *answer) bool { return a.text("num_ack_pending") == fmt.Sprint(unanswered) })
	last := s.told[len(s.told)-1].fields
	delete(last, ".delivered.last_active")
	delete(last, ".ack_floor.last_active")
}

// TestPullRequest asks for messages in all ways.
func TestPullRequest(t *testing.T) {
	for i, c := range []struct {
		config  object
		request any
		count   int
	}{
		{nil, nil, 1}, {nil, "3", 3}, {nil, "x", 1}, {nil, `{"batch":2}`, 2}, {nil, `{`, 1}, {nil, `{"batch":"x"}`, 1},
		{nil, object{"batch": 9, "no_wait": true}, 6}, {nil, object{"batch": 2, "no_wait": true}, 2},
		{nil, object{"batch": 9, "expires": 300 * millisecond}, 6}, {nil, object{"batch": 9, "expires": 300 * millisecond, "no_wait": true}, 6},
		{nil, object{"batch": 9, "expires": 400 * millisecond, "idle_heartbeat": 150 * millisecond}, 8},
		{nil, object{"batch": 9, "expires": second, "idle_heartbeat": 600 * millisecond}, 1},
		{nil, object{"batch": 9, "max_bytes": 400, "expires": 300 * millisecond}, 3}, {nil, object{"batch": 1, "max_bytes": 10, "expires": second}, 1},
		{nil, object{"batch": 1, "max_bytes": 1000, "expires": second}, 2},
		{object{"headers_only": true}, object{"batch": 2}, 2}, {object{"headers_only": true}, object{"batch": 9, "max_bytes": 330, "expires": 300 * millisecond}, 3},
		{object{"max_batch": 2}, object{"batch": 3}, 1}, {object{"max_expires": second}, object{"batch": 1, "expires": 2 * second}, 1},
		{object{"max_bytes": 100}, object{"batch": 1, "max_bytes": 101}, 1},
		{object{"max_ack_pending": 2}, object{"batch": 5, "expires": 300 * millisecond}, 3}, {object{"max_ack_pending": 2}, object{"batch": 5, "no_wait": true, "expires": 300 * millisecond}, 3},
		{object{"filter_subject": "STREAM.1"}, object{"batch": 5, "no_wait": true}, 3}, {object{"ack_policy": "none"}, object{"batch": 2}, 2},
		{object{"deliver_subject": "pull.of.a.push"}, object{"batch": 2}, 1},
		{nil, object{"batch": 1, "min_pending": 1}, 1}, {nil, object{"batch": 1, "id": "x"}, 1}, {nil, object{"batch": 1, "priority": 10}, 1}, {nil, object{"batch": 1, "group": "g"}, 1},
		{object{"pause_until": "2126-01-01T00:00:00Z"}, object{"batch": 1, "expires": 300 * millisecond}, 1},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			compare(t, func(s *session) {
				config := with(c.config)
				if filter, ok := config["filter_subject"].(string); ok {
					config["filter_subject"] = strings.ReplaceAll(filter, "STREAM", s.name)
				}
				s.create(single)
				for i := range 5 {
					s.ask(fmt.Sprintf("%s.%d", s.name, i%2), fmt.Sprintf("message %d", i+1), "Key: value")
				}
				s.createConsumer(config)
				s.until("CONSUMER.INFO."+s.name+".C", nil, func(a *answer) bool { return a.text("name") == "C" })
				e := s.pull(c.request)
				e.get(c.count)
				e.silent()
				s.delete()
			})
		})
	}
}

// TestPullStatuses asks a replicated consumer for more than there is.
func TestPullStatuses(t *testing.T) {
	compare(t, func(s *session) {
		s.create()
		s.ask(s.name+".a", "x")
		s.createConsumer()
		s.until("CONSUMER.INFO."+s.name+".C", nil, func(a *answer) bool { return a.text("num_pending") == "1" })
		s.known("Statuses of pull requests", "header *")
		s.pull(object{"batch": 2, "no_wait": true}).get(2)
		s.delete()
	})
}

// TestAcks answers deliveries in all ways and looks at what is told of it.
func TestAcks(t *testing.T) {
	for name, config := range map[string]object{
		"explicit": {"sample_freq": "100"}, "all": {"ack_policy": "all"}, "twice": {"max_deliver": 2}, "backoff": {"backoff": []int{300 * millisecond, 600 * millisecond}, "max_deliver": 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, func(s *session) {
				naks := s.listen("$JS.EVENT.ADVISORY.CONSUMER.MSG_NAKED." + s.name + ".*")
				terms := s.listen("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED." + s.name + ".*")
				s.filled(6, config)
				got := s.pull("5").get(5) // of the six
				if len(got) < 5 {
					return
				}
				switch name {
				case "explicit":
					s.answer(got[1], "")
					s.answer(got[1], "+ACK")
					s.answer(got[0], "+WPI")
					s.answer(got[2], "+TERM for a reason")
					terms.hear(1)
					s.state(3)
					s.answer(got[3], "-NAK")
					s.answer(got[4], `-NAK {"delay":100000000}`)
					naks.hear(2)
					s.pull("1").get(1)
					time.Sleep(300 * time.Millisecond)
					s.pull("1").get(1)
					s.answer(got[0], "+OK")
					s.state(2)
					next := nats.NewInbox()
					e := s.listen(next)
					if err := s.nc.PublishRequest(got[4].Reply, next, []byte(`+NXT {"batch":1,"no_wait":true}`)); err != nil {
						s.fail("ask for the next: %v", err)
					}
					e.get(1)
					s.state(2)
				case "all":
					s.answer(got[2], "")
					s.state(2)
					s.answer(got[0], "")
					s.answer(got[4], "-NAK")
					s.pull("2").get(2)
					s.state(3)
				case "twice":
					s.known("The ack floor behind a message that was given up", ".ack_floor.*_seq")
					s.answer(got[0], "-NAK")
					again := s.pull("1").get(1)
					exceeded := s.listen("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES." + s.name + ".C")
					if len(again) == 1 {
						s.answer(again[0], "-NAK")
					}
					s.pull("1").get(1)
					exceeded.hear(1)
					s.state(5)
				case "backoff":
					s.pull("1").get(1)
					s.pull("5").get(5) // after 300 ms
					s.state(6)
				}
				s.delete()
			})
		})
	}
}

// TestConsumerAdvisories listens to what is told of a consumer's life.
func TestConsumerAdvisories(t *testing.T) {
	compare(t, func(s *session) {
		s.create()
		hears := map[string]*ear{}
		for _, kind := range []string{"CREATED", "LEADER_ELECTED", "PAUSE", "DELETED"} { // told in any order
			hears[kind] = s.listen("$JS.EVENT.ADVISORY.CONSUMER." + kind + "." + s.name + ".C")
		}
		s.createConsumer()
		hears["CREATED"].hear(1)
		hears["LEADER_ELECTED"].hear(1)
		s.createConsumer(object{"description": "changed"})
		s.api("CONSUMER.PAUSE."+s.name+".C", object{"pause_until": "2126-01-01T00:00:00Z"})
		hears["PAUSE"].hear(1)
		s.api("CONSUMER.PAUSE."+s.name+".C", nil)
		hears["PAUSE"].hear(1)
		s.deleteConsumer()
		hears["DELETED"].hear(1)
		for _, kind := range []string{"CREATED", "LEADER_ELECTED", "PAUSE", "DELETED"} {
			hears[kind].hearNothing()
		}
		s.delete()
	})
}

// TestPriorityGroups asks in the ways of each policy.
func TestPriorityGroups(t *testing.T) {
	for name, script := range map[string]func(s *session){
		"overflow": func(s *session) {
			s.pull(object{"batch": 9, "group": "g", "min_pending": 5, "expires": 300 * millisecond}).get(3)
			s.pull(object{"batch": 9, "group": "g", "min_ack_pending": 3, "expires": 300 * millisecond}).get(1)
			s.pull(object{"batch": 1, "group": "g"}).get(1)
			s.pull(object{"batch": 1, "group": "g", "min_ack_pending": 3}).get(1)
			s.pull(object{"batch": 1}).get(1)
			s.pull(object{"batch": 1, "group": "other"}).get(1)
		},
		"pinned_client": func(s *session) {
			told := s.listen("$JS.EVENT.ADVISORY.CONSUMER.*." + s.name + ".C")
			first := s.pull(object{"batch": 1, "group": "g"})
			got := first.get(1)
			second := s.pull(object{"batch": 1, "group": "g"})
			second.silent()
			if len(got) == 1 {
				s.pull(object{"batch": 1, "group": "g", "id": got[0].Header.Get("Nats-Pin-Id")}).get(1)
			}
			s.pull(object{"batch": 1, "group": "g", "id": "wrong"}).get(1)
			s.api("CONSUMER.UNPIN."+s.name+".C", object{"group": "g"})
			second.get(1)
			for range 3 { // pinned, unpinned, pinned
				if m, err := told.sub.NextMsg(answerLimit); err == nil {
					s.note("told", m.Subject)
				}
			}
		},
		"prioritized": func(s *session) {
			s.state(0)
			s.pull(object{"batch": 6, "group": "g", "priority": 3, "no_wait": true}).get(6)
			low := s.pull(object{"batch": 2, "group": "g", "priority": 5})
			plain := s.pull("1")
			high := s.pull(object{"batch": 1, "group": "g"})
			s.until("CONSUMER.INFO."+s.name+".C", nil, func(a *answer) bool { return a.text("num_waiting") == "3" })
			delete(s.told[len(s.told)-1].fields, ".delivered.last_active")
			s.ask(s.name+".x", "a")
			high.get(1)
			s.ask(s.name+".x", "b")
			low.get(1)
			s.ask(s.name+".x", "c")
			low.get(1)
			s.ask(s.name+".x", "d")
			plain.get(1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, func(s *session) {
				s.filled(6, object{"priority_policy": name, "priority_groups": []string{"g"}})
				script(s)
				s.delete()
			})
		})
	}
}

// TestPush delivers to subscribers as they come.
func TestPush(t *testing.T) {
	for name, config := range map[string]object{
		"plain": {}, "group": {"deliver_group": "workers"}, "none": {"ack_policy": "none"}, "headers": {"headers_only": true}, "few": {"max_ack_pending": 2},
		"heartbeat": {"idle_heartbeat": 200 * millisecond}, "last": {"deliver_policy": "last"}, "replay": {"replay_policy": "original"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, func(s *session) {
				to := "push." + s.name
				s.create(single)
				for i := range 3 {
					s.ask(s.name+".a", fmt.Sprint("message ", i+1))
				}
				s.createConsumer(config, object{"deliver_subject": to})
				everything := s.listen("push." + s.name + ".>") // nobody's business
				var e *ear
				if name == "group" {
					plain := s.listen(to)
					plain.silent()
					sub, err := s.nc.QueueSubscribeSync(to, "workers")
					if err != nil {
						s.fail("subscribe: %v", err)
					}
					e = &ear{s, sub}
				} else {
					e = s.listen(to)
				}
				count := map[string]int{"few": 2, "last": 1, "heartbeat": 4}[name]
				if count == 0 {
					count = 3
				}
				got := e.get(count)
				if name == "few" && len(got) == 2 {
					s.answer(got[0], "")
					e.get(1)
				}
				if name != "heartbeat" {
					e.silent()
				}
				everything.silent()
				s.delete()
			})
		})
	}
}
