package simulation

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// endPatience is how much later than it should a message may end once all members
// are voters again: the time of the log passes at nearly the rate of time, and in a
// stream that leaves markers the leader has to propose the end.
const endPatience = 5 * second

// lifetime is the time to live that the publisher of a message asked for; zero for
// none, below zero for ever. A marker has that of its stream's markers.
func (m *message) lifetime(config *server.StreamConfig) time.Duration {
	least := config.SubjectDeleteMarkerTTL
	if m.isMarker() {
		return least
	}
	at := strings.LastIndexByte(m.subject, '.')
	if !strings.Contains(m.subject[:at], ".m") {
		return 0
	}
	seconds, err := strconv.Atoi(m.subject[at+1:])
	switch {
	case err != nil:
		return 0
	case seconds == 0:
		return -1
	}
	return max(time.Duration(seconds)*time.Second, least)
}

func (m *message) isMarker() bool {
	_, ok := headerOf(m.header, server.JSMarkerReason)
	return ok
}

// lives takes note of a message with a time to live.
func (c *checks) lives(t *streamTruth, s *machine.Stream, m *message) {
	if !s.Config().AllowMsgTTL {
		return
	}
	switch lifetime := m.lifetime(s.Config()); {
	case lifetime < 0:
		m.immortal = true
	case lifetime > 0:
		m.ends = m.stamp + int64(lifetime)
		t.mortal = append(t.mortal, m)
	}
	if m.isMarker() {
		c.markers++
	}
}

// ending looks at a message of which nothing but its age can be why it left. If it
// was the last of its subject, and its stream leaves markers, one is there now.
func (c *checks) ending(s *machine.Stream, t *streamTruth, m *message) {
	if m.ends > 0 {
		c.expired++
	}
	if s.Config().SubjectDeleteMarkerTTL > 0 && !m.isMarker() {
		t.over = append(t.over, m)
	}
}

// marked: see ending.
func (c *checks) marked(s *machine.Stream, t *streamTruth) {
	for _, m := range t.over {
		later := t.bySubject[m.subject]
		if last := later[len(later)-1]; last == m && len(s.Consumers()) > 0 {
			c.world.fail("left no marker: %q, message %d of %s, was the last of %s when its time was over", m.text, m.seq, t.name, m.subject)
		}
	}
	t.over = nil
}

// outlives: a message is gone from the moment on at which its time is over by the
// time of the log, except that a marker has to be proposed first.
func (c *checks) outlives(p *process, s *machine.Stream, t *streamTruth) {
	t.mortal = slices.DeleteFunc(t.mortal, func(m *message) bool { return m.removed != position{} || t.messages[m.seq] != m })
	if s.Config().SubjectDeleteMarkerTTL > 0 {
		return
	}
	for _, m := range t.mortal {
		if m.isIn(s) && m.ends <= p.member.Machine().Stamp() {
			c.world.fail("outlived: %s still has %q, message %d of %s, %s after its time was over", p.host.name, m.text, m.seq, t.name, time.Duration(p.member.Machine().Stamp()-m.ends))
		}
	}
}

// isIn tells whether a member has the message. After a total loss another one may have
// its place.
func (m *message) isIn(s *machine.Stream) bool {
	stored, there := s.Message(m.seq)
	return there && stored.Stamp == m.stamp
}

// mortalMissing says which message of a stream is still to end. In quiet, its end
// comes in time on every member.
func (c *checks) mortalMissing(name string) string {
	t := c.history.current[name]
	if t == nil {
		return ""
	}
	left := ""
	for _, h := range c.world.hosts {
		s := h.process.member.Machine().Stream(name)
		for _, m := range t.mortal {
			if s == nil || !m.isIn(s) {
				continue
			}
			left = fmt.Sprintf("%s still has message %d of %s, whose time is to end", h.name, m.seq, name)
			due := m.at + (m.ends-m.stamp)*5/4
			if late := c.world.now - max(due, c.world.formedAt); late > endPatience && !c.world.busy() {
				c.world.fail("outlived: %s has %q, message %d of %s, %s after its time was over", h.name, m.text, m.seq, name, time.Duration(late))
			}
		}
	}
	return left
}
