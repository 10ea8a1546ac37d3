package differential

import (
	"fmt"
	"testing"
)

// TestPushIntoAStream has push consumers whose deliver subject is one of a stream. Only
// one that is the same, without wildcards, makes them deliver.
func TestPushIntoAStream(t *testing.T) {
	t.Run("wildcards", func(t *testing.T) {
		t.Parallel()
		compare(t, func(s *session) {
			s.create(single)
			s.ask(s.name+".a", "message")
			config := s.stream(single, object{"name": s.name + "B", "subjects": []string{"to." + s.name + ".*"}})
			s.note("create", s.request("$JS.API.STREAM.CREATE."+s.name+"B", s.encode(config), nil).text("error"))
			s.createConsumer(object{"deliver_subject": "to." + s.name + ".x"})
			s.ask(s.name+".a", "message")
			s.until("CONSUMER.INFO."+s.name+".C", nil, func(a *answer) bool { return a.text("num_pending") == "2" })
			s.api("STREAM.DELETE."+s.name+"B", nil)
			s.delete()
		})
	})
	for name, change := range map[string]object{
		"explicit": {}, "none": {"ack_policy": "none"}, "all": {"ack_policy": "all"}, "headers": {"headers_only": true},
		"replicated": {"num_replicas": nodes},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, func(s *session) {
				named := func(letter string, changes ...object) {
					config := s.stream(append(changes, object{"name": s.name + letter, "subjects": []string{s.name + "." + letter + map[string]string{"A": ".>", "B": ".x"}[letter]}})...)
					s.note("create "+letter, s.request("$JS.API.STREAM.CREATE."+s.name+letter, s.encode(config), nil).text("error"))
				}
				replicas := object{"num_replicas": 1}
				if n, ok := change["num_replicas"]; ok {
					replicas["num_replicas"] = n
				}
				named("A", replicas)
				named("B", replicas)
				for i := range 3 {
					s.ask(fmt.Sprintf("%s.A.%d", s.name, i), fmt.Sprintf("message %d", i), fmt.Sprint("Nats-Msg-Id: ", i%2), "Key: value")
				}
				consumer := with(object{"name": "C", "durable_name": "C", "deliver_subject": s.name + ".B.x", "ack_policy": "explicit"}, change)
				for _, to := range []string{".A.x", ".B.x"} {
					consumer["deliver_subject"] = s.name + to
					s.api("CONSUMER.CREATE."+s.name+"A.C", object{"stream_name": s.name + "A", "config": consumer})
				}
				s.until("STREAM.INFO."+s.name+"B", object{"subjects_filter": ">"}, func(a *answer) bool { return a.text("state.messages") == "2" })
				for seq := range 3 {
					s.api("STREAM.MSG.GET."+s.name+"B", object{"seq": seq + 1})
				}
				s.until("CONSUMER.INFO."+s.name+"A.C", nil, func(a *answer) bool { return a.text("delivered.consumer_seq") == "2" })
				s.ask(s.name+".A.last", "the last one")
				s.until("STREAM.INFO."+s.name+"B", object{"subjects_filter": ">"}, func(a *answer) bool { return a.text("state.messages") == "3" })
				s.until("CONSUMER.INFO."+s.name+"A.C", nil, func(a *answer) bool { return a.text("delivered.consumer_seq") == "3" })
				for _, letter := range []string{"A", "B"} {
					s.api("STREAM.DELETE."+s.name+letter, nil)
				}
			})
		})
	}
}

// TestFlowControlIntoAStream has a consumer that a subscriber acknowledges by its answers to
// flow control requests, and no subscriber but a stream, which gives none: it gets
// max_ack_pending messages, and no more. What JetStream stores there behind them, its
// requests and heartbeats, is not looked at.
func TestFlowControlIntoAStream(t *testing.T) {
	t.Parallel()
	compare(t, func(s *session) {
		s.create(single)
		to := s.stream(single, object{"name": s.name + "B", "subjects": []string{"to." + s.name}})
		s.note("create", s.request("$JS.API.STREAM.CREATE."+s.name+"B", s.encode(to), nil).text("error"))
		for i := range 4 {
			s.ask(fmt.Sprint(s.name, ".", i), fmt.Sprintf("message %d", i))
		}
		s.createConsumer(object{"deliver_subject": "to." + s.name, "ack_policy": "flow_control", "flow_control": true, "max_ack_pending": 3})
		for seq := range 3 {
			s.until("STREAM.MSG.GET."+s.name+"B", object{"seq": seq + 1}, func(a *answer) bool { return a.text("message.seq") != "" })
		}
		s.ask(s.name+".last", "the last one")
		s.until("CONSUMER.INFO."+s.name+".C", nil, func(a *answer) bool {
			return a.text("delivered.consumer_seq") == "3" && a.text("num_pending") == "2"
		})
		s.api("STREAM.DELETE."+s.name+"B", nil)
		s.delete()
	})
}
