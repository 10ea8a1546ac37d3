package differential

import "testing"

// TestTimeToLive publishes messages that end by themselves.
func TestTimeToLive(t *testing.T) {
	for name, change := range map[string]object{
		"file": {"allow_msg_ttl": true}, "memory": {"allow_msg_ttl": true, "storage": "memory"}, "age": {"allow_msg_ttl": true, "max_age": second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, func(s *session) {
				s.create(change)
				for _, ttl := range []string{"1s", "never", "1h", "1"} {
					s.ask(s.name+".a", "x", "Nats-TTL: "+ttl)
				}
				left := map[string]string{"age": "1"}[name]
				if left == "" {
					left = "2"
				}
				s.until("STREAM.INFO."+s.name, object{"deleted_details": true}, func(a *answer) bool { return a.text("state.messages") == left })
				s.delete()
			})
		})
	}
}
