package simulation

import (
	"bytes"
	"log/slog"
	"strings"

	"holdfast/node/machine"
	"holdfast/protocol"
	"holdfast/wal"
)

// checks sees everything that happens and ends the run when something happens
// that must not. Each property has a file of its own.
type checks struct {
	world *world

	acked, lost, foundings, faults int
	account                        map[string]string // by host: what its last founding said of itself

	streams   map[streamKey]*streamTruth
	consumers map[consumerKey]*consumerTruth
	replies   map[string]delivery // by the subject of the acknowledgement
	leaders   map[leaderKey]protocol.StoreID
	digests   map[digestKey]digest
	observed  uint64
}

func newChecks(w *world) *checks {
	return &checks{
		world: w, account: map[string]string{},
		streams: map[streamKey]*streamTruth{}, consumers: map[consumerKey]*consumerTruth{}, replies: map[string]delivery{},
		leaders: map[leaderKey]protocol.StoreID{}, digests: map[digestKey]digest{},
	}
}

// observe looks at a member after each round of its loop.
func (w *world) observe(p *process) {
	w.checks.oneLeader(p)
	w.checks.sameState(p)
	w.checks.observed++
	if w.checks.observed%32 == 0 {
		w.checks.floors(p)
	}
}

// heard takes note of a log line.
func (c *checks) heard(h *host, _ slog.Level, line string) {
	if strings.Contains(line, " founded from ") {
		c.account[h.name] = line
	}
}

// ended judges a process that ended by itself.
func (c *checks) ended(h *host, err error) {
	c.world.fail("%s cannot go on: %v", h.name, err)
}

// streamKey names a stream incarnation: the entry that created it.
type streamKey struct {
	lineage     protocol.Lineage
	incarnation machine.Incarnation
}

// keyOf names a stream as one member sees it.
func keyOf(p *process, incarnation machine.Incarnation) streamKey {
	return streamKey{lineageAt(p.member.Store(), p.member.Identity(), uint64(incarnation)>>16), incarnation}
}

// lineageAt is the lineage of the entry at an index. What is not durable yet was
// written in the present one.
func lineageAt(store *wal.Store, identity protocol.Identity, index uint64) protocol.Lineage {
	if mark, ok := store.Mark(index); ok {
		return mark.Lineage
	}
	return identity.Lineage
}

// textOf is the part of a payload that tells messages apart.
func textOf(payload []byte) string {
	text, _, _ := bytes.Cut(payload, []byte{0})
	return string(text)
}
