package simulation

import (
	"fmt"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// hoarder is a client that creates and deletes streams of its own, in an account that
// may have only a few more than the others need.
type hoarder struct {
	world  *world
	client *client
}

const (
	hoardSize = 5 // streams that the hoarder would like to have
	hoardRoom = 2 // streams that the account leaves for it while all others are there
)

func newHoarder(w *world, others int) *hoarder {
	limits := machine.DefaultLimits
	limits.MaxStreams = others + hoardRoom
	w.allowed = &limits
	h := &hoarder{world: w, client: w.newClient(nil)}
	w.after(w.between(0, second), h.work)
	return h
}

func hoardName(i int) string { return fmt.Sprintf("H%d", i) }

// work creates streams, and in quiet deletes them all.
func (h *hoarder) work() {
	w := h.world
	i := w.random.IntN(hoardSize)
	if w.clients.quiet || w.chance(0.3) {
		call(h.client, "STREAM.DELETE."+hoardName(i), nil, func(*server.JSApiStreamDeleteResponse, bool) { h.later() })
		return
	}
	config := server.StreamConfig{Name: hoardName(i), Subjects: []string{hoardName(i) + ".>"}, Storage: server.FileStorage, Replicas: 1}
	call(h.client, "STREAM.CREATE."+config.Name, &config, func(response *server.JSApiStreamCreateResponse, ok bool) {
		if ok && response.Error != nil && response.Error.ErrCode == uint16(server.JSMaximumStreamsLimitErr) {
			w.checks.refusals++
		}
		h.later()
	})
}

func (h *hoarder) later() { h.world.after(h.world.often(10*millisecond, second), h.work) }

// missing says which streams are still to be deleted: others may be refused for them.
func (h *hoarder) missing(m *machine.Machine) string {
	for i := range hoardSize {
		if m.Stream(hoardName(i)) != nil {
			return "the stream " + hoardName(i) + " is still there"
		}
	}
	return ""
}
