package differential

import "testing"

// TestStreamAdvisories listens to what is told of a stream's life.
func TestStreamAdvisories(t *testing.T) {
	t.Parallel()
	compare(t, func(s *session) {
		advisories := s.listen("$JS.EVENT.ADVISORY.STREAM.*." + s.name)
		s.create()
		advisories.hear(2)
		s.create()
		s.update(object{"max_msgs": 10})
		advisories.hear(1)
		s.ask(s.name+".a", "x")
		s.send(s.name+".a", "y")
		s.until("STREAM.INFO."+s.name, nil, func(a *answer) bool { return a.text("state.last_seq") == "2" })
		s.api("STREAM.PURGE."+s.name, nil)
		s.delete()
		advisories.hear(1)
		advisories.hearNothing()
	})
}
