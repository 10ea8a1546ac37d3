package simulation

import (
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
