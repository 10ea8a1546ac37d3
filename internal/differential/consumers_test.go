package differential

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

// consumer is the least configuration of a durable pull consumer, with changes.
func (s *session) consumer(changes ...object) object {
	config := object{"durable_name": "C", "ack_policy": "explicit"}
	for _, change := range changes {
		maps.Copy(config, change)
		for field, value := range change {
			if value == nil {
				delete(config, field)
			}
		}
	}
	return config
}

// place is the part of a create request's subject behind the stream, for a
// configuration.
func place(config object) string {
	for _, field := range []string{"name", "durable_name"} {
		if name, ok := config[field].(string); ok && name != "" && !strings.ContainsAny(name, " .*>") && len(name) < 256 {
			return "." + name
		}
	}
	return ""
}

// createConsumer creates a consumer of the session's stream, or changes it.
// Changes of the fields "action" and "pedantic" are about the request.
func (s *session) createConsumer(changes ...object) *answer {
	a := s.api(s.consumerRequest(changes...))
	// JetStream answers a change before its leader has counted.
	delete(s.told[len(s.told)-1].fields, ".num_pending")
	delete(s.told[len(s.told)-1].fields, ".delivered.stream_seq")
	return a
}

// consumerRequest is what createConsumer asks.
func (s *session) consumerRequest(changes ...object) (subject string, request object) {
	config := s.consumer(changes...)
	request = object{"stream_name": s.name, "config": config}
	for _, field := range []string{"action", "pedantic"} {
		if value, ok := config[field]; ok {
			request[field] = value
			delete(config, field)
		}
	}
	return "CONSUMER.CREATE." + s.name + place(config), request
}

// consumerInfo asks until somebody answers: while a consumer changes, JetStream
// may have nobody to do so.
func (s *session) consumerInfo() *answer {
	return s.until("CONSUMER.INFO."+s.name+".C", nil, answered)
}

func answered(a *answer) bool { return a.err == nil && a.text("error.code") != "503" }

func (s *session) deleteConsumer() *answer { return s.api("CONSUMER.DELETE."+s.name+".C", nil) }

const millisecond = second / 1000

var pushed = object{"deliver_subject": "push.to"}

// with puts a change on top of another one.
func with(changes ...object) object {
	all := object{}
	for _, change := range changes {
		maps.Copy(all, change)
	}
	return all
}

// consumerFields are values of fields of a consumer's configuration, each beside
// the least configuration.
var consumerFields = []object{
	{},
	{"durable_name": nil, "name": "E"}, {"name": "C"}, {"name": "D"}, {"durable_name": "a b"}, {"durable_name": "a.b"}, {"durable_name": "a/b"},
	{"durable_name": `a\b`}, {"durable_name": "a*"}, {"durable_name": strings.Repeat("n", 256)}, {"durable_name": nil, "name": "a/b"},
	{"description": "text"}, {"description": strings.Repeat("x", 4097)}, {"description": 5},
	{"deliver_policy": "last"}, {"deliver_policy": "new"}, {"deliver_policy": "other"}, {"deliver_policy": nil}, {"deliver_policy": "last_per_subject"},
	{"deliver_policy": "last_per_subject", "filter_subject": "x.>"}, {"deliver_policy": "by_start_sequence"}, {"deliver_policy": "by_start_time"},
	{"deliver_policy": "by_start_sequence", "opt_start_seq": 3}, {"deliver_policy": "by_start_sequence", "opt_start_seq": 99},
	{"deliver_policy": "by_start_sequence", "opt_start_seq": 3, "opt_start_time": "2026-01-01T00:00:00Z"},
	{"deliver_policy": "by_start_time", "opt_start_time": "2026-01-01T00:00:00Z"}, {"deliver_policy": "by_start_time", "opt_start_time": "2126-01-01T00:00:00Z"},
	{"deliver_policy": "by_start_time", "opt_start_seq": 3, "opt_start_time": "2026-01-01T00:00:00Z"},
	{"opt_start_seq": 3}, {"opt_start_time": "2026-01-01T00:00:00Z"}, {"deliver_policy": "last", "opt_start_seq": 3},
	{"deliver_policy": "last", "opt_start_time": "2026-01-01T00:00:00Z"}, {"deliver_policy": "new", "opt_start_seq": 3},
	{"deliver_policy": "new", "opt_start_time": "2026-01-01T00:00:00Z"}, {"deliver_policy": "last_per_subject", "filter_subject": "x", "opt_start_seq": 3},
	{"deliver_policy": "last_per_subject", "filter_subject": "x", "opt_start_time": "2026-01-01T00:00:00Z"}, {"opt_start_seq": -1}, {"opt_start_time": "soon"},
	{"ack_policy": "none"}, {"ack_policy": "all"}, {"ack_policy": "other"}, {"ack_policy": nil}, {"ack_policy": "flow_control"},
	{"ack_wait": second}, {"ack_wait": 1}, {"ack_wait": -1}, {"ack_policy": "none", "ack_wait": second}, {"ack_policy": "all", "ack_wait": second},
	{"max_deliver": 0}, {"max_deliver": 5}, {"max_deliver": -1}, {"max_deliver": -2}, {"max_deliver": "x"},
	{"backoff": []int{second, 2 * second}}, {"backoff": []int{second, 2 * second}, "max_deliver": 1}, {"backoff": []int{second, 2 * second}, "max_deliver": 2},
	{"backoff": []int{second, -1}}, {"backoff": []int{second}, "ack_wait": 5 * second},
	{"filter_subject": "x"}, {"filter_subject": ">"}, {"filter_subject": "a..b"}, {"filter_subject": "a b"}, {"filter_subject": ""},
	{"filter_subjects": []string{"a", "b"}}, {"filter_subjects": []string{"a.>", "a.b"}}, {"filter_subjects": []string{"a", "a"}}, {"filter_subjects": []string{""}},
	{"filter_subjects": []string{"a", ""}}, {"filter_subjects": []string{"a..b"}}, {"filter_subjects": []string{"a"}},
	{"filter_subject": "a", "filter_subjects": []string{"b"}}, {"filter_subjects": []string{"a.*", "a.b.>"}}, {"filter_subjects": []string{"*", ">"}},
	{"replay_policy": "original"}, {"replay_policy": "instant"}, {"replay_policy": "other"}, {"replay_policy": nil},
	{"rate_limit_bps": 1000}, with(pushed, object{"rate_limit_bps": 1000}), with(pushed, object{"rate_limit_bps": -1}),
	{"sample_freq": "50"}, {"sample_freq": "50%"}, {"sample_freq": "x"}, {"sample_freq": "-1"}, {"sample_freq": "200"}, {"sample_freq": "%"}, {"sample_freq": ""},
	{"max_waiting": 5}, {"max_waiting": 0}, {"max_waiting": -1}, with(pushed, object{"max_waiting": 5}), with(pushed, object{"max_waiting": -5}),
	{"max_ack_pending": 5}, {"max_ack_pending": -1}, {"max_ack_pending": -2}, {"max_ack_pending": 0}, {"max_ack_pending": 1 << 40},
	{"ack_policy": "none", "max_ack_pending": 5}, with(pushed, object{"ack_policy": "none", "max_ack_pending": 5}), {"ack_policy": "all", "max_ack_pending": 0},
	{"headers_only": true}, {"flow_control": true}, {"idle_heartbeat": second},
	{"max_batch": 5}, {"max_batch": -1}, {"max_expires": second}, {"max_expires": 1}, {"max_expires": -1}, {"max_bytes": 1000}, {"max_bytes": -1},
	pushed, with(pushed, object{"max_batch": 5, "max_expires": second, "max_bytes": 5}), with(pushed, object{"deliver_group": "group"}), {"deliver_group": "group"},
	{"deliver_subject": "a.*"}, {"deliver_subject": "a..b"}, {"deliver_subject": "a b"}, {"deliver_subject": "STREAM.x"}, with(pushed, object{"durable_name": nil, "name": "E"}),
	with(pushed, object{"flow_control": true}), with(pushed, object{"flow_control": true, "idle_heartbeat": second}), with(pushed, object{"idle_heartbeat": second}),
	with(pushed, object{"idle_heartbeat": 50 * millisecond}), with(pushed, object{"idle_heartbeat": -1}), with(pushed, object{"idle_heartbeat": 100 * millisecond}),
	with(pushed, object{"ack_policy": "flow_control"}), with(pushed, object{"ack_policy": "flow_control", "max_ack_pending": -1}),
	with(pushed, object{"ack_policy": "flow_control", "ack_wait": second}), with(pushed, object{"ack_policy": "flow_control", "max_deliver": 5}),
	with(pushed, object{"ack_policy": "flow_control", "backoff": []int{second}}), with(pushed, object{"ack_policy": "flow_control", "idle_heartbeat": 2 * second}),
	with(pushed, object{"ack_policy": "flow_control", "pedantic": true}),
	with(pushed, object{"ack_policy": "flow_control", "flow_control": true, "idle_heartbeat": 2 * second, "pedantic": true}),
	{"inactive_threshold": second * 1000}, {"inactive_threshold": -1}, {"durable_name": nil, "name": "E", "inactive_threshold": second * 1000},
	{"num_replicas": 1}, {"num_replicas": 3}, {"num_replicas": 5}, {"num_replicas": -1}, {"num_replicas": 2},
	{"mem_storage": true}, {"metadata": object{"key": "value"}}, {"metadata": object{"_nats.req.level": "9"}}, {"metadata": object{"key": strings.Repeat("x", 128*1024+1)}},
	{"pause_until": "2126-01-01T00:00:00Z"}, {"pause_until": "2020-01-01T00:00:00Z"}, {"pause_until": "0001-01-01T00:00:00Z"}, {"pause_until": "x"},
	{"pause_until": "2126-01-01T00:00:00+02:00"},
	{"priority_policy": "overflow", "priority_groups": []string{"g"}}, {"priority_policy": "pinned_client", "priority_groups": []string{"g"}},
	{"priority_policy": "prioritized", "priority_groups": []string{"g"}}, {"priority_policy": "none"}, {"priority_policy": "other"},
	{"priority_policy": "overflow"}, {"priority_groups": []string{"g"}}, {"priority_policy": "overflow", "priority_groups": []string{""}},
	{"priority_policy": "overflow", "priority_groups": []string{"a b"}}, {"priority_policy": "overflow", "priority_groups": []string{strings.Repeat("g", 17)}},
	{"priority_policy": "overflow", "priority_groups": []string{"g", "h"}}, with(pushed, object{"priority_policy": "overflow", "priority_groups": []string{"g"}}),
	{"priority_timeout": second}, {"priority_policy": "pinned_client", "priority_groups": []string{"g"}, "priority_timeout": second},
	{"priority_policy": "pinned_client", "priority_groups": []string{"g"}, "priority_timeout": -1}, {"priority_policy": "overflow", "priority_groups": []string{"g"}, "priority_timeout": second},
	{"direct": true}, with(pushed, object{"direct": true}),
	{"unknown": true}, {"action": "create"}, {"action": "update"}, {"action": ""}, {"action": "other"},
	{"pedantic": true}, {"pedantic": true, "max_deliver": -2}, {"pedantic": true, "max_waiting": -1}, {"pedantic": true, "max_ack_pending": -2}, {"pedantic": true, "max_batch": -1},
	{"pedantic": true, "max_expires": -1}, {"pedantic": true, "max_bytes": -1}, with(pushed, object{"pedantic": true, "idle_heartbeat": -1}),
	{"pedantic": true, "inactive_threshold": -1}, {"pedantic": true, "priority_timeout": -1}, {"pedantic": true, "backoff": []int{second}},
	{"pedantic": true, "backoff": []int{second}, "ack_wait": second},
}

// TestConsumerField creates a consumer with each value of a field, twice, and
// asks for it.
func TestConsumerField(t *testing.T) {
	for i, change := range consumerFields {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			compare(t, func(s *session) {
				if to, ok := change["deliver_subject"].(string); ok {
					change = with(change, object{"deliver_subject": strings.ReplaceAll(to, "STREAM", s.name)})
				}
				s.create(object{"num_replicas": 1})
				for i := range 5 {
					s.ask(fmt.Sprintf("%s.%d", s.name, i), "x")
				}
				s.createConsumer(change)
				if change["name"] == "E" && change["inactive_threshold"] == nil {
					s.api("CONSUMER.INFO."+s.name+".E", nil)
				} else {
					s.createConsumer(change)
					s.createConsumer(change, object{"action": "create"})
				}
				names := s.until("CONSUMER.NAMES."+s.name, nil, func(a *answer) bool { return a.text("limit") != "0" })
				s.until("CONSUMER.LIST."+s.name, nil, func(a *answer) bool {
					return !strings.Contains(a.body, `"missing"`) && a.text("total") == names.text("total")
				})
				s.delete()
			})
		})
	}
}

// TestConsumerOfStreams creates consumers of streams that allow less.
func TestConsumerOfStreams(t *testing.T) {
	limits := object{"consumer_limits": object{"inactive_threshold": 100 * second, "max_ack_pending": 5}}
	for name, c := range map[string]struct {
		stream    object
		consumers []object
		after     func(s *session)
	}{
		"limited": {limits, []object{
			{}, {"max_ack_pending": 6}, {"max_ack_pending": 3}, {"max_ack_pending": -1}, {"inactive_threshold": 101 * second}, {"inactive_threshold": 99 * second},
			{"durable_name": nil, "name": "E"}, {"pedantic": true}, {"pedantic": true, "max_ack_pending": 3},
			{"pedantic": true, "max_ack_pending": 3, "inactive_threshold": second}, {"ack_policy": "none"}, with(pushed, object{"ack_policy": "none"}),
		}, nil},
		"few": {object{"max_consumers": 1}, []object{{}, {"durable_name": "D"}, {}, {"description": "again"}, {"durable_name": "D", "action": "update"}, {"durable_name": "D", "action": "create"}}, nil},
		"workqueue": {object{"retention": "workqueue"}, []object{
			{"ack_policy": "none"}, {"ack_policy": "all"}, {"deliver_policy": "new"}, with(pushed, object{"ack_policy": "none"}), {"filter_subject": "a.>"}, {"durable_name": "D"},
			{"durable_name": "D", "filter_subject": "a.b"}, {"durable_name": "D", "filter_subject": "*.b"}, {"durable_name": "D", "filter_subject": "b"},
			{"durable_name": "F", "filter_subjects": []string{"c", "b"}}, {"durable_name": "F", "filter_subjects": []string{"c", "d"}}, {"num_replicas": 1},
			with(pushed, object{"durable_name": "G", "filter_subject": "g", "ack_policy": "flow_control"}),
		}, func(s *session) {
			s.known("Consumers of a work queue", "*")
			s.createConsumer(object{"num_replicas": 3})
		}},
		"workqueue all": {object{"retention": "workqueue"}, []object{{}, {"durable_name": "D"}, {"filter_subject": "b"}}, nil},
		"interest":      {object{"retention": "interest"}, []object{{"num_replicas": 1}, {"ack_policy": "none"}, {"durable_name": "D", "deliver_policy": "last"}, with(pushed, object{"durable_name": "P"})}, nil},
		"one replica":   {object{"num_replicas": 1}, []object{{"num_replicas": 2}, {"num_replicas": 1}, {"durable_name": "D"}}, nil},
		"sealed":        {object{}, []object{{}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, func(s *session) {
				s.create(c.stream)
				if name == "sealed" {
					s.update(object{"sealed": true})
				}
				for _, change := range c.consumers {
					s.createConsumer(change)
				}
				if c.after != nil {
					c.after(s)
				}
				s.api("CONSUMER.NAMES."+s.name, nil)
				s.info()
				s.delete()
			})
		})
	}
}

// consumerUpdates are changes of a configuration, from the first to the others.
var consumerUpdates = map[string][]object{
	"nothing":      {{}, {}},
	"description":  {{}, {"description": "a"}, {"description": "b"}, {}},
	"deliver":      {{}, {"deliver_policy": "new"}},
	"start":        {{"deliver_policy": "by_start_sequence", "opt_start_seq": 3}, {"deliver_policy": "by_start_sequence", "opt_start_seq": 4}},
	"time":         {{"deliver_policy": "by_start_time", "opt_start_time": "2026-01-01T00:00:00Z"}, {"deliver_policy": "by_start_time", "opt_start_time": "2026-01-01T00:00:01Z"}, {"deliver_policy": "by_start_time", "opt_start_time": "2026-01-01T02:00:00+02:00"}},
	"ack":          {{}, {"ack_policy": "all"}, {"ack_policy": "none"}},
	"ackwait":      {{}, {"ack_wait": second}, {}},
	"deliveries":   {{}, {"max_deliver": 5}, {"max_deliver": 3, "backoff": []int{second, second}}, {"max_deliver": 1, "backoff": []int{second, second}}, {}},
	"filter":       {{}, {"filter_subject": "x"}, {"filter_subjects": []string{"x", "y"}}, {}},
	"replay":       {{}, {"replay_policy": "original"}},
	"rate":         {pushed, with(pushed, object{"rate_limit_bps": 1000}), pushed},
	"sample":       {{}, {"sample_freq": "10%"}, {"sample_freq": "x"}, {}},
	"waiting":      {{}, {"max_waiting": 5}},
	"ackpending":   {{}, {"max_ack_pending": 5}, {"max_ack_pending": -1}, {}},
	"heartbeat":    {pushed, with(pushed, object{"idle_heartbeat": second})},
	"flow":         {with(pushed, object{"idle_heartbeat": second}), with(pushed, object{"idle_heartbeat": second, "flow_control": true})},
	"headers":      {{}, {"headers_only": true}, {}},
	"requests":     {{}, {"max_batch": 5, "max_expires": second, "max_bytes": 100}, {}},
	"push to pull": {pushed, {}},
	"pull to push": {{}, pushed},
	"subject":      {pushed, {"deliver_subject": "push.other"}},
	"group":        {pushed, with(pushed, object{"deliver_group": "g"}), pushed},
	"inactive":     {{}, {"inactive_threshold": 100 * second}, {}},
	"replicas":     {{}, {"num_replicas": 3}, {"num_replicas": 1}, {"num_replicas": 4}},
	"memory":       {{}, {"mem_storage": true}},
	"metadata":     {{"metadata": object{"a": "1"}}, {"metadata": object{"b": "2"}}, {}},
	"pause":        {{}, {"pause_until": "2126-01-01T00:00:00Z"}, {}},
	"priority": {
		{"priority_policy": "pinned_client", "priority_groups": []string{"g"}}, {"priority_policy": "overflow", "priority_groups": []string{"g"}},
		{"priority_policy": "overflow", "priority_groups": []string{"h"}}, {},
	},
	"direct": {pushed, with(pushed, object{"direct": true})},
	"name":   {{}, {"name": "C"}},
}

// TestConsumerUpdate changes consumers with every action.
func TestConsumerUpdate(t *testing.T) {
	for name, configs := range consumerUpdates {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, func(s *session) {
				s.create(object{"num_replicas": 1})
				for i := range 5 {
					s.ask(fmt.Sprintf("%s.%d", s.name, i), "x")
				}
				if name == "pause" {
					s.known("The level of a consumer that is not paused", ".config.metadata._nats.req.level")
				}
				s.createConsumer(configs[0], object{"action": "update"})
				s.createConsumer(configs[0])
				for _, config := range configs[1:] {
					s.createConsumer(config, object{"action": "create"})
					s.createConsumer(config, object{"action": "update"})
					s.consumerInfo()
				}
				s.createConsumer(configs[0])
				s.deleteConsumer()
				s.deleteConsumer()
				s.consumerInfo()
				s.delete()
			})
		})
	}
}

// TestConsumerRequest sends requests that are not quite right.
func TestConsumerRequest(t *testing.T) {
	compare(t, func(s *session) {
		s.create()
		s.createConsumer()
		stream := s.name
		for _, r := range []struct {
			subject string
			body    any
		}{
			{"CREATE." + stream, nil}, {"CREATE." + stream, "x"}, {"CREATE." + stream, "{}"}, {"CREATE." + stream + ".C", object{"stream_name": "other", "config": object{"durable_name": "C"}}},
			{"CREATE." + stream + ".C", object{"stream_name": stream, "config": object{"durable_name": "D"}}},
			{"CREATE." + stream + ".C", object{"stream_name": stream, "config": object{"name": "D", "durable_name": "C", "ack_policy": "explicit"}}},
			{"CREATE." + stream + ".D.a.b", object{"stream_name": stream, "config": object{"durable_name": "D", "filter_subject": "a.b"}}},
			{"CREATE." + stream + ".D.a.b", object{"stream_name": stream, "config": object{"durable_name": "D", "filter_subject": "a.c"}}},
			{"CREATE." + stream + ".D.a.b", object{"stream_name": stream, "config": object{"durable_name": "D"}}},
			{"CREATE." + stream + ".D.a.b", object{"stream_name": stream, "config": object{"durable_name": "D", "filter_subjects": []string{"a.b"}}}},
			{"CREATE." + stream, object{"stream_name": stream, "config": object{"durable_name": "D"}}},
			{"CREATE." + stream, object{"stream_name": stream, "config": object{"name": "a/b"}}},
			{"DURABLE.CREATE." + stream + ".C", object{"stream_name": stream, "config": object{"durable_name": "C"}}},
			{"DURABLE.CREATE." + stream + ".C", object{"stream_name": stream, "config": object{"durable_name": "D"}}},
			{"DURABLE.CREATE." + stream + ".C", object{"stream_name": stream, "config": object{}}},
			{"CREATE.Nobody.C", object{"stream_name": "Nobody", "config": object{"durable_name": "C"}}},
			{"CREATE.Nobody.C", object{"stream_name": "Nobody", "config": object{"durable_name": "C", "deliver_policy": "bad"}}},
			{"INFO." + stream + ".C", "x"}, {"INFO." + stream + ".C", "{}"}, {"INFO." + stream + ".X", nil}, {"INFO.Nobody.C", nil}, {"INFO.Nobody.C", "x"},
			{"DELETE." + stream + ".X", nil}, {"DELETE." + stream + ".C", "x"}, {"DELETE.Nobody.C", nil},
			{"NAMES." + stream, nil}, {"NAMES." + stream, object{"offset": 1}}, {"NAMES." + stream, object{"offset": 100}}, {"NAMES." + stream, object{"offset": -1}},
			{"NAMES." + stream, "x"}, {"NAMES." + stream, "{"}, {"NAMES." + stream, object{"bad": 1}}, {"NAMES.Nobody", nil}, {"NAMES." + stream, object{"subject": "x"}},
			{"LIST." + stream, object{"offset": 1}}, {"LIST." + stream, "x"}, {"LIST." + stream, "{"},
			{"PAUSE." + stream + ".C", nil}, {"PAUSE." + stream + ".C", "x"}, {"PAUSE." + stream + ".C", "{"}, {"PAUSE." + stream + ".C", object{"bad": 1}},
			{"PAUSE." + stream + ".C", object{"pause_until": "2020-01-01T00:00:00+01:00"}}, {"PAUSE." + stream + ".X", nil}, {"PAUSE.Nobody.C", nil},
			{"UNPIN." + stream + ".C", nil}, {"UNPIN." + stream + ".C", "x"}, {"UNPIN." + stream + ".C", "{}"}, {"UNPIN." + stream + ".C", object{"group": "a b"}},
			{"UNPIN." + stream + ".C", object{"group": "g"}}, {"UNPIN." + stream + ".X", nil}, {"UNPIN.Nobody.C", nil},
			{"RESET." + stream + ".C", "x"}, {"RESET." + stream + ".C", "{}"}, {"RESET." + stream + ".C", object{"seq": 5}}, {"RESET." + stream + ".C", object{"seq": -5}},
			{"INFO." + stream + ".C", nil},
			{"LEADER.STEPDOWN." + stream + ".X", nil}, {"LEADER.STEPDOWN.Nobody.C", nil}, {"LEADER.STEPDOWN." + stream + ".C", "{"},
			{"LEADER.STEPDOWN." + stream + ".C", object{"placement": object{"preferred": "nobody"}}}, {"LEADER.STEPDOWN." + stream + ".C", object{"placement": object{"tags": []string{"a"}}}},
			{"LEADER.STEPDOWN." + stream + ".C", object{"placement": object{"cluster": "other"}}}, {"LEADER.STEPDOWN." + stream + ".C", object{"bad": 1}},
		} {
			s.api("CONSUMER."+r.subject, r.body)
			if strings.HasPrefix(r.subject, "PAUSE.Nobody") { // JetStream answers before it pauses
				s.until("CONSUMER.INFO."+stream+".C", nil, func(a *answer) bool { return a.text("config.pause_until") != "" })
			}
			s.api("CONSUMER."+r.subject, r.body, "Nats-Required-Api-Level: 99")
		}
		s.delete()
	})
}

// TestConsumerListsThatAreEmpty asks for consumers where there are none.
func TestConsumerListsThatAreEmpty(t *testing.T) {
	compare(t, func(s *session) {
		s.create()
		s.createConsumer()
		s.api("CONSUMER.NAMES."+s.name, object{"offset": 100})
		s.known("Lists of consumers", "*")
		s.api("CONSUMER.LIST."+s.name, object{"offset": 100})
		s.api("CONSUMER.LIST.Nobody", nil)
		s.delete()
	})
}

// TestConsumerThatStartsLate asks for the ack floor of a replicated consumer.
func TestConsumerThatStartsLate(t *testing.T) {
	compare(t, func(s *session) {
		s.create()
		for range 3 {
			s.ask(s.name+".a", "x")
		}
		s.known("A consumer that starts late", ".ack_floor.stream_seq")
		s.createConsumer(object{"deliver_policy": "new"})
		s.until("CONSUMER.INFO."+s.name+".C", nil, func(a *answer) bool { return a.text("delivered.stream_seq") == "3" })
		s.delete()
	})
}

// TestConsumerBecomesDurable changes an ephemeral consumer into a durable one.
func TestConsumerBecomesDurable(t *testing.T) {
	compare(t, func(s *session) {
		s.create(object{"num_replicas": 1})
		s.createConsumer(object{"durable_name": nil, "name": "C"})
		s.known("An ephemeral consumer that becomes durable", ".config.inactive_threshold")
		s.createConsumer(object{"action": "update"})
		s.delete()
	})
}

// TestConsumerAgain creates what is there already.
func TestConsumerAgain(t *testing.T) {
	for name, config := range map[string]object{
		"empty filters": {"filter_subjects": []string{}}, "empty backoff": {"backoff": []int{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, func(s *session) {
				s.create()
				s.createConsumer(config)
				s.createConsumer(config)
				s.known("Creating a consumer again", "*")
				subject, request := s.consumerRequest(config, object{"action": "create"})
				s.until(subject, request, func(a *answer) bool {
					// While JetStream proposes the change before, it compares with that.
					return s.side != reference || a.text("error.err_code") != ""
				})
				s.delete()
			})
		})
	}
}
