package differential

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

// object is a JSON object of a request.
type object = map[string]any

// stream is the least configuration of a replicated stream, with changes.
func (s *session) stream(changes ...object) object {
	config := object{"name": s.name, "subjects": []string{s.name + ".>"}, "num_replicas": nodes, "retention": "limits", "storage": "file"}
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

// create creates the session's stream.
func (s *session) create(changes ...object) *answer {
	return s.api("STREAM.CREATE."+s.name, s.stream(changes...))
}

// update changes the session's stream to the least configuration with changes.
func (s *session) update(changes ...object) *answer {
	return s.api("STREAM.UPDATE."+s.name, s.stream(changes...))
}

func (s *session) delete() *answer { return s.api("STREAM.DELETE."+s.name, nil) }

func (s *session) info() *answer { return s.api("STREAM.INFO."+s.name, nil) }

const second = 1_000_000_000

// streamFields are values of fields of a stream's configuration, each beside
// the least configuration.
var streamFields = []object{
	{},
	{"description": "text"},
	{"description": strings.Repeat("x", 4097)},
	{"subjects": []string{}},
	{"subjects": nil},
	{"subjects": []string{"a b"}},
	{"subjects": []string{""}},
	{"subjects": []string{"x..y"}},
	{"subjects": []string{"over.>", "over.lap"}},
	{"subjects": []string{"twice", "twice"}},
	{"subjects": []string{"$JS.API.x"}},
	{"subjects": []string{"$JS.EVENT.x"}},
	{"subjects": []string{"$SYS.>"}},
	{"subjects": []string{"$NRG.x"}},
	{"retention": "interest"}, {"retention": "workqueue"}, {"retention": "other"}, {"retention": nil}, {"retention": 7},
	{"storage": "memory"}, {"storage": nil}, {"storage": "tape"},
	{"discard": "old"}, {"discard": "new"}, {"discard": "none"},
	{"max_consumers": 0}, {"max_consumers": 3}, {"max_consumers": -1}, {"max_consumers": -2},
	{"max_msgs": 0}, {"max_msgs": 5}, {"max_msgs": -2}, {"max_msgs": "5"}, {"max_msgs": 1.5},
	{"max_bytes": 0}, {"max_bytes": 5000}, {"max_bytes": -2},
	{"max_msgs_per_subject": 1}, {"max_msgs_per_subject": -5},
	{"max_msg_size": 10}, {"max_msg_size": -2}, {"max_msg_size": 1 << 40},
	{"max_age": second}, {"max_age": 1}, {"max_age": -1}, {"max_age": 99_999_999}, {"max_age": 100_000_000},
	{"duplicate_window": second}, {"duplicate_window": -1}, {"duplicate_window": 1}, {"duplicate_window": 2 * second, "max_age": second},
	{"max_age": 60 * second}, {"duplicate_window": 1000 * 3600 * second},
	{"num_replicas": 1}, {"num_replicas": 2}, {"num_replicas": -1}, {"num_replicas": 6}, {"num_replicas": 0},
	{"no_ack": true}, {"no_ack": true, "subjects": []string{"$JS.API.x"}},
	{"sealed": true},
	{"deny_delete": true}, {"deny_purge": true}, {"allow_rollup_hdrs": true}, {"deny_purge": true, "allow_rollup_hdrs": true},
	{"compression": "s2"}, {"compression": "none"}, {"compression": "zip"},
	{"first_seq": 100}, {"first_seq": -1},
	{"discard_new_per_subject": true}, {"discard_new_per_subject": true, "discard": "new"},
	{"discard_new_per_subject": true, "discard": "new", "max_msgs_per_subject": 2},
	{"allow_direct": true}, {"mirror_direct": true},
	{"metadata": object{"key": "value"}}, {"metadata": object{"_nats.req.level": "9", "_nats.ver": "1"}},
	{"metadata": object{"key": strings.Repeat("x", 128*1024+1)}},
	{"consumer_limits": object{"inactive_threshold": second, "max_ack_pending": 5}},
	{"consumer_limits": object{"inactive_threshold": -1}}, {"consumer_limits": object{"max_ack_pending": -2}},
	{"allow_msg_ttl": true}, {"subject_delete_marker_ttl": 1},
	{"subject_delete_marker_ttl": -1},
	{"allow_msg_counter": true, "discard": "new"}, {"allow_msg_counter": true, "allow_msg_ttl": true},
	{"allow_msg_counter": true, "retention": "interest"}, {"allow_msg_counter": true, "allow_msg_schedules": true},
	{"allow_msg_schedules": true, "discard": "new"},
	{"persist_mode": "async"}, {"persist_mode": "async", "num_replicas": 1}, {"persist_mode": "default"}, {"persist_mode": "none"},
	{"persist_mode": "async", "num_replicas": 1, "storage": "memory"}, {"persist_mode": "async", "num_replicas": 1, "allow_atomic": true},
	{"subject_transform": object{"src": "a.*", "dest": "b.{{wildcard(1)}}"}},
	{"subject_transform": object{"src": "", "dest": "b.>"}}, {"subject_transform": object{"src": "a.*", "dest": "b.{{wildcard(2)}}"}},
	{"subject_transform": object{"src": "a.>", "dest": "b"}}, {"subject_transform": object{"src": "a..b", "dest": "b"}},
	{"subject_transform": object{"src": ">", "dest": ""}},
	{"republish": object{"src": "a.*", "dest": "b.{{wildcard(1)}}"}}, {"republish": object{"dest": "rep.>"}},
	{"republish": object{"src": "a.*", "dest": "b.{{wildcard(2)}}"}}, {"republish": object{"src": ">", "dest": ""}},
	{"republish": object{"src": ">", "dest": "rep.>", "headers_only": true}},
	{"subjects": []string{"cyc.>"}, "republish": object{"src": ">", "dest": "cyc.a"}},
	{"placement": object{}}, {"placement": object{"preferred": "n1"}},
	{"template_owner": "somebody"},
	{"unknown": true},
	{"name": "other"}, {"name": "a b"}, {"name": ""}, {"name": strings.Repeat("n", 256)},
	{"pedantic": true}, {"pedantic": true, "max_msgs": -2}, {"pedantic": true, "max_age": second, "duplicate_window": 0},
	{"pedantic": true, "subject_delete_marker_ttl": second}, {"pedantic": true, "allow_msg_schedules": true},
	{"pedantic": true, "republish": object{"dest": "rep.>"}},
}

// TestStreamField creates a stream with each value of a field, and asks for it
// again.
func TestStreamField(t *testing.T) {
	for i, change := range streamFields {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			compare(t, func(s *session) {
				s.create(change)
				s.create(change)
				s.info()
				s.delete()
			})
		})
	}
}

// TestStreamOfEverything has no other stream beside it.
func TestStreamOfEverything(t *testing.T) {
	for i, change := range []object{
		{"subjects": []string{">"}},
		{"subjects": []string{">"}, "no_ack": true},
		{"subjects": []string{">"}, "no_ack": true, "num_replicas": 1},
		{"subjects": []string{"*"}, "no_ack": true},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			compare(t, func(s *session) {
				s.create(change)
				s.delete()
			})
		})
	}
}

// TestListsOfStreams asks for pages of the lists of streams, also behind the last.
func TestListsOfStreams(t *testing.T) {
	t.Parallel()
	compare(t, func(s *session) {
		s.create()
		for _, body := range []object{
			{"subject": s.name + ".>"}, {"subject": s.name + ".>", "offset": 1}, {"subject": s.name + ".>", "offset": 100},
			{"subject": s.name + ".>", "offset": -1}, {"subject": "none.of.them", "offset": 1}, {"subject": "none.of.them"},
		} {
			s.api("STREAM.NAMES", body)
		}
		s.known("Lists of streams", ".total", "*.config.metadata._nats.level", "*.config.metadata._nats.ver")
		s.api("STREAM.LIST", object{"subject": s.name + ".>"})
		s.api("STREAM.LIST", object{"subject": s.name + ".>", "offset": 100})
		s.api("STREAM.LIST", object{"subject": "none.of.them"})
		s.delete()
	})
}

// TestBackupsOfWhatIsNotThere asks for backups of a stream that is not there.
func TestBackupsOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	compare(t, func(s *session) {
		s.known("A backup of what is not there", "*")
		s.api("STREAM.SNAPSHOT.NONE", object{"deliver_subject": "to"})
		s.api("STREAM.SNAPSHOT.NONE", nil)
	})
}

// TestEphemeralNames creates a consumer whose name the server makes.
func TestEphemeralNames(t *testing.T) {
	t.Parallel()
	compare(t, func(s *session) {
		s.create()
		a := s.request("$JS.API.CONSUMER.CREATE."+s.name, s.encode(object{"stream_name": s.name, "config": object{"ack_policy": "explicit"}}), nil)
		s.note("named", a.text("name") != "")
		s.known("The name of an ephemeral consumer", "")
		s.note("in its configuration", a.text("config.name"))
		s.delete()
	})
}

// TestStreamUpdate changes a stream from each configuration to the others that
// are about the same.
func TestStreamUpdate(t *testing.T) {
	for name, pairs := range streamUpdates {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, func(s *session) {
				for _, pair := range pairs {
					s.create(pair[0])
					s.update(pair[1])
					s.info()
					s.delete()
				}
			})
		})
	}
}

var streamUpdates = map[string][][2]object{
	"nothing":   {{{}, {}}},
	"missing":   {{{"name": "wrong"}, {}}},
	"name":      {{{}, {"name": "other"}}},
	"storage":   {{{}, {"storage": "memory"}}, {{"storage": "memory"}, {}}},
	"retention": {{{}, {"retention": "interest"}}, {{"retention": "interest"}, {}}, {{}, {"retention": "workqueue"}}, {{"retention": "workqueue"}, {}}},
	"subjects":  {{{}, {"subjects": []string{"upd.>", "upe.*"}}}, {{}, {"subjects": []string{}}}, {{}, {"subjects": []string{"a", "a"}}}},
	"limits": {
		{{}, {"max_msgs": 5, "max_bytes": 1000, "max_age": second, "max_msg_size": 5, "max_msgs_per_subject": 2}},
		{{"max_msgs": 5, "max_bytes": 1000, "max_age": second, "max_msg_size": 5, "max_msgs_per_subject": 2}, {}},
		{{"max_consumers": 5}, {"max_consumers": 6}}, {{"max_consumers": 5}, {"max_consumers": 2}}, {{"max_consumers": 5}, {}},
	},
	"discard":     {{{}, {"discard": "new"}}, {{"discard": "new"}, {}}, {{}, {"discard": "new", "discard_new_per_subject": true, "max_msgs_per_subject": 1}}},
	"sealed":      {{{}, {"sealed": true}}, {{}, {"sealed": true, "allow_rollup_hdrs": true, "max_age": second}}},
	"deny":        {{{"deny_delete": true}, {}}, {{"deny_purge": true}, {}}, {{}, {"deny_delete": true, "deny_purge": true}}},
	"rollup":      {{{}, {"allow_rollup_hdrs": true}}, {{"allow_rollup_hdrs": true}, {}}},
	"ttl":         {{{}, {"allow_msg_ttl": true}}, {{"allow_msg_ttl": true}, {}}},
	"persist":     {{{"num_replicas": 1}, {"num_replicas": 1, "persist_mode": "async"}}, {{"num_replicas": 1, "persist_mode": "async"}, {"num_replicas": 1}}},
	"first":       {{{}, {"first_seq": 10}}, {{"first_seq": 10}, {"first_seq": 20}}, {{"first_seq": 10}, {}}},
	"compression": {{{}, {"compression": "s2"}}, {{"compression": "s2"}, {}}},
	"window":      {{{}, {"duplicate_window": second}}, {{}, {"max_age": second, "duplicate_window": 2 * second}}},
	"transform": {
		{{}, {"subject_transform": object{"src": ">", "dest": "x.>"}}}, {{"subject_transform": object{"src": ">", "dest": "x.>"}}, {}},
		{{}, {"subject_transform": object{"src": ">", "dest": "x.{{wildcard(3)}}"}}},
	},
	"republish": {
		{{}, {"republish": object{"src": ">", "dest": "x.>"}}}, {{"republish": object{"src": ">", "dest": "x.>"}}, {}},
	},
	"mirror":   {{{}, {"subjects": nil, "mirror": object{"name": "other"}}}},
	"metadata": {{{"metadata": object{"a": "1"}}, {"metadata": object{"b": "2"}}}, {{"metadata": object{"a": "1"}}, {}}},
	"direct":   {{{}, {"allow_direct": true}}, {{"allow_direct": true}, {}}, {{}, {"mirror_direct": true}}},
	"limitsOfConsumers": {
		{{}, {"consumer_limits": object{"max_ack_pending": 5}}}, {{"consumer_limits": object{"max_ack_pending": 5}}, {}},
	},
	"replicas": {{{}, {"num_replicas": 0}}},
	"ack":      {{{}, {"no_ack": true}}},
}
