package simulation

import (
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// info: a question about a stream that is asked after an acknowledgement
// reached its client is answered with knowledge of it (linearizability).
func (c *checks) info(t *topic, floors map[time.Time]uint64, response *server.JSApiStreamInfoResponse) {
	if response.Error != nil {
		if t.permanent && len(floors) > 0 && response.Error.ErrCode == uint16(server.JSStreamNotFoundErr) {
			c.world.fail("stale read: the stream %s has acknowledged messages and its info says %q", t.name, response.Error.Description)
		}
		return
	}
	if floor := floors[response.Created.UTC()]; response.State.LastSeq < floor {
		c.world.fail("stale read: the info of %s ends at %d after %d was acknowledged", t.name, response.State.LastSeq, floor)
	}
}

// direct: so is a read that any member answers.
func (c *checks) direct(t *topic, floors map[time.Time]uint64, m *outgoing) {
	floor := uint64(0)
	for _, seq := range floors {
		floor = max(floor, seq)
	}
	switch status := m.status(); {
	case strings.HasPrefix(status, "404"):
		if floor > 0 {
			c.world.fail("stale read: the stream %s has acknowledged messages and a direct read says %q", t.name, status)
		}
	case status == "":
		_, line, _ := strings.Cut(string(m.header), server.JSSequence+": ")
		digits, _, _ := strings.Cut(line, "\r\n")
		seq, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			c.world.fail("answer to a direct read of %s cannot be read: %q", t.name, m.header)
		}
		if seq < floor {
			c.world.fail("stale read: the newest message of %s is %d after %d was acknowledged", t.name, seq, floor)
		}
	}
}
