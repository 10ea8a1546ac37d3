package differential

import (
	"encoding/base64"
	"strings"
	"testing"
)

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

// TestDeleteMarkers waits for the markers that messages leave.
func TestDeleteMarkers(t *testing.T) {
	for name, change := range map[string]object{"file": {}, "memory": {"storage": "memory"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, func(s *session) {
				s.create(change, object{"subject_delete_marker_ttl": 600 * second, "max_msgs_per_subject": 1})
				s.ask(s.name+".a", "x", "Nats-TTL: 1s")
				s.ask(s.name+".a", "y", "Nats-TTL: 1s")
				s.ask(s.name+".b", "z", "Nats-TTL: 1s")
				for _, subject := range []string{".a", ".b"} {
					s.until("STREAM.MSG.GET."+s.name, object{"last_by_subj": s.name + subject}, func(a *answer) bool {
						header, _ := base64.StdEncoding.DecodeString(a.text("message.hdrs"))
						return strings.Contains(string(header), "Nats-Marker-Reason")
					})
				}
				s.delete()
			})
		})
	}
}
