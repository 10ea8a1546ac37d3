package differential

import "testing"

// TestRepublish stores messages that are sent out again, changed or not, and
// listens to them. Another stream stores what is sent out.
func TestRepublish(t *testing.T) {
	for name, c := range map[string]struct {
		change object
		count  int // of eight messages
	}{
		"all":     {object{"republish": object{"src": ">", "dest": "out.all.>"}}, 8},
		"some":    {object{"republish": object{"src": "TestRepublish_some.a.*", "dest": "out.some.{{wildcard(1)}}"}}, 6},
		"headers": {object{"republish": object{"src": ">", "dest": "out.headers.>", "headers_only": true}}, 8},
		"changed": {object{
			"subject_transform": object{"src": "TestRepublish_changed.a.*", "dest": "TestRepublish_changed.b.{{wildcard(1)}}"},
			"republish":         object{"src": ">", "dest": "out.changed.>"},
		}, 8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, func(s *session) {
				// First, so that every nats-server knows of it when it sends a message out.
				other := s.name + "_TO"
				s.api("STREAM.CREATE."+other, s.stream(object{"name": other, "subjects": []string{"out." + name + ".>"}}))
				s.create(c.change)
				out := s.listen("out." + name + ".>")
				for _, subject := range []string{".a.1", ".a.2", ".c", ".a.1"} {
					s.ask(s.name+subject, "payload")
					s.ask(s.name+subject, "with headers", "Own: x")
				}
				out.hear(c.count)
				out.hearNothing()
				s.until("STREAM.MSG.GET."+other, object{"seq": c.count}, func(a *answer) bool { return a.text("message.seq") != "" })
				s.api("STREAM.INFO."+s.name, object{"subjects_filter": ">"})
				s.delete()
				s.api("STREAM.DELETE."+other, nil)
			})
		})
	}
}
