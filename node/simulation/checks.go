package simulation

import (
	"bytes"
	"log/slog"
	"strings"

	"holdfast/protocol"
)

// checks sees everything that happens and ends the run when something happens
// that must not. Each property has a file of its own.
type checks struct {
	world   *world
	history *history

	acked, lost, foundings, faults int
	rewrites                       int               // of what lives in mostly dead entries
	halves                         int               // checkpoints in the middle of which their process was killed
	undropped                      int               // processes that were killed before all that was dead had gone
	rollups, pending               int               // that replaced messages, and of which something was left to do behind the entry
	expired, markers               int               // messages that ended by their own time to live, and marked the end of others
	overflowed                     int               // messages that went to who wants others to wait
	pinned                         int               // clients that got messages alone
	pauses, resetsSeen             int               // of consumers
	refusals                       int               // of streams that the account has no room for
	account                        map[string]string // by host: what its last founding said of itself

	entries   map[entryKey]entryRecord
	consumers map[consumerKey]*consumerTruth
	named     map[string][]*consumerTruth // by stream and consumer, in the order in which they came
	acks      map[consumerKey]*acknowledgements
	replies   map[string]delivery // by the subject of the acknowledgement
	tries     map[string]*pullTry // of clients in groups, by inbox
	pins      map[consumerKey]*pinning
	unpins    map[string][]*unpinTry // by stream and consumer
	leaders   map[leaderKey]protocol.StoreID
	digests   map[digestKey]digest
	time      timeCheck
	touch     map[*host]contact // with the leader, by follower
	copies    map[string]int    // begun since the faults ended, by host
	rests     map[string]bool   // by host: its last copy was interrupted and goes on
	resumed   int               // copies that were interrupted and became whole
	observed  uint64
}

func newChecks(w *world) *checks {
	c := &checks{
		world: w, account: map[string]string{}, entries: map[entryKey]entryRecord{},
		consumers: map[consumerKey]*consumerTruth{}, acks: map[consumerKey]*acknowledgements{}, replies: map[string]delivery{},
		leaders: map[leaderKey]protocol.StoreID{}, digests: map[digestKey]digest{},
		named: map[string][]*consumerTruth{}, tries: map[string]*pullTry{}, pins: map[consumerKey]*pinning{}, unpins: map[string][]*unpinTry{},
		touch: map[*host]contact{}, copies: map[string]int{}, rests: map[string]bool{},
	}
	c.history = newHistory(c)
	return c
}

// observe looks at a member after each round of its loop.
func (w *world) observe(p *process) {
	w.checks.oneLeader(p)
	w.checks.sameState(p)
	w.checks.inContact(p)
	w.checks.observed++
	if w.checks.observed%32 == 0 {
		w.checks.floors(p)
	}
}

// heard takes note of a log line.
func (c *checks) heard(p *process, _ slog.Level, line string) {
	switch {
	case strings.Contains(line, " founded from "):
		c.account[p.host.name] = line
	case strings.Contains(line, "asking for a copy of the store"):
		delete(c.rests, p.host.name)
		c.copyAsked(p)
	case strings.Contains(line, "asking for the rest of the copy of the store"):
		c.rests[p.host.name] = true
	case strings.Contains(line, "copy of the store received") && c.rests[p.host.name]:
		c.resumed++
	case strings.Contains(line, "copying the log of the leader"):
		c.copying(p, line)
	case strings.Contains(line, "the log's clock is set"):
		c.clockSet(p)
	case strings.Contains(line, " leading term="):
		c.leads(p)
	case strings.Contains(line, "mostly dead entries written again"):
		c.rewrites++
	case strings.Contains(line, "the log's clock stepped"):
		c.clockStepped(p)
	}
}

// ended judges a process that ended by itself.
func (c *checks) ended(h *host, err error) {
	c.world.fail("%s cannot go on: %v", h.name, err)
}

// textOf is the part of a payload that tells messages apart.
func textOf(payload []byte) string {
	text, _, _ := bytes.Cut(payload, []byte{0})
	return string(text)
}
