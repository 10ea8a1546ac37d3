package simulation

import (
	"cmp"
	"hash/crc32"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
	"holdfast/protocol"
)

// history is what happened, as the log tells it: each entry when the first member
// applies it. What clients are told is compared with it.
type history struct {
	checks   *checks
	newest   position
	followed position             // of the newest batch
	lineages []protocol.Lineage   // in the order in which their entries were first applied
	states   map[string]*timeline // by stream name
	streams  map[streamKey]*streamTruth
	current  map[string]*streamTruth // by name
}

// position orders what was applied, over all lineages: they are counted as they come,
// because a member that is alone and was wiped founds the same epoch again.
type position struct{ lineage, index uint64 }

func (p position) before(q position) bool {
	return p.lineage < q.lineage || p.lineage == q.lineage && p.index < q.index
}

// at is the position of an entry of a lineage.
func (h *history) at(lineage protocol.Lineage, index uint64) position {
	number := slices.Index(h.lineages, lineage)
	if number < 0 {
		number = len(h.lineages)
		h.lineages = append(h.lineages, lineage)
	}
	return position{uint64(number) + 1, index}
}

func latest(p, q position) position {
	if p.before(q) {
		return q
	}
	return p
}

// streamKey names a stream incarnation: the entry that created it.
type streamKey struct {
	lineage     protocol.Lineage
	incarnation machine.Incarnation
}

// streamTruth is all that was ever stored in one stream incarnation.
type streamTruth struct {
	key      streamKey
	name     string
	from, to position            // while it was there; to is zero if it is
	messages map[uint64]*message // by sequence
	live     []uint64            // sequences of those not removed, ascending
	within   within
	last     uint64 // the highest sequence that was given away
	// order has all that were ever there, ascending, and bySubject as well.
	order     []*message
	bySubject map[string][]*message
	texts     map[string]*message // the newest one with each text
	batches   map[string]*batchTruth
	openBatch *batchTruth // an atomic one whose next message comes next
	mortal    []*message  // those with an end, while they are there
	over      []*message  // those that an entry has ended by their age
	rolled    rolled
	// rebuild: a founding has lost some; what is live has to be found out anew.
	rebuild bool
}

// message is one stored message, with its place in the log.
type message struct {
	seq           uint64
	subject, text string
	header        []byte
	stamp         int64 // in the log
	at            int64 // virtual time at which it was first applied
	index, term   uint64
	lineage       protocol.Lineage
	stored        position
	removed       position // zero while it is there
	acked         bool     // its publisher was told
	ends          int64    // stamp at which its own time to live ends; zero: it has none
	immortal      bool     // no age ends it
}

// version is the state of a stream from a position on.
type version struct {
	from  position
	found bool
	streamView
}

// streamView is what a client can see of a stream in one answer.
type streamView struct {
	created             int64
	first, last, msgs   uint64
	bytes               uint64
	subjects, consumers int
	maxMsgs, maxPer     int64
	maxAge              time.Duration
	description         string
}

// viewOf takes from an answer, or from a member's state, what is compared.
func viewOf(created time.Time, state *server.StreamState, config *server.StreamConfig) streamView {
	return streamView{
		created: created.UnixNano(), first: state.FirstSeq, last: state.LastSeq, msgs: state.Msgs, bytes: state.Bytes,
		subjects: state.NumSubjects, consumers: state.Consumers,
		maxMsgs: config.MaxMsgs, maxPer: config.MaxMsgsPer, maxAge: config.MaxAge, description: config.Description,
	}
}

// timeline is the sequence of states of the stream of a name.
type timeline struct {
	versions []version
	// floor is the latest position that an operation which has come to its end
	// has to have seen or made: whatever begins now must not be older.
	floor position
}

func newHistory(c *checks) *history {
	return &history{checks: c, states: map[string]*timeline{}, streams: map[streamKey]*streamTruth{}, current: map[string]*streamTruth{}}
}

func (h *history) timeline(name string) *timeline {
	t := h.states[name]
	if t == nil {
		t = &timeline{versions: []version{{}}}
		h.states[name] = t
	}
	return t
}

// find returns the earliest position at or after floor at which a state was in
// force that matches.
func (t *timeline) find(floor position, matches func(*version) bool) (position, bool) {
	at, exact := slices.BinarySearchFunc(t.versions, floor, func(v version, p position) int {
		return cmp.Or(cmp.Compare(v.from.lineage, p.lineage), cmp.Compare(v.from.index, p.index))
	})
	if !exact {
		at--
	}
	for i := max(at, 0); i < len(t.versions); i++ {
		if v := &t.versions[i]; matches(v) {
			return latest(floor, v.from), true
		}
	}
	return position{}, false
}

// saw takes note that an operation has come to its end which saw or made what is
// at this position.
func (t *timeline) saw(at position) { t.floor = latest(t.floor, at) }

// now is the newest state.
func (t *timeline) now() *version { return &t.versions[len(t.versions)-1] }

// applied is told of every entry that a process has applied.
func (p *process) applied(entry *protocol.Entry) {
	w := p.host.world
	w.checks.sameEntry(p, entry)
	w.checks.allowed(p)
	h := w.checks.history
	at := h.at(entry.Lineage, entry.Index)
	if !h.newest.before(at) {
		return
	}
	h.newest = at
	if entry.Kind != protocol.KindBatch {
		return
	}
	h.followed = at
	for _, t := range w.clients.topics {
		h.follow(p, t, at, entry)
	}
}

// follow takes note of what an entry did to the stream of a topic.
func (h *history) follow(p *process, t *topic, at position, entry *protocol.Entry) {
	line := h.timeline(t.name)
	s := p.member.Machine().Stream(t.name)
	next := version{from: at}
	if s != nil {
		state := s.State()
		next.found, next.streamView = true, viewOf(s.Created(), &state, s.Config())
	}
	if before := line.now(); before.found == next.found && before.streamView == next.streamView {
		if s != nil {
			h.checks.outlives(p, s, h.truth(p, s))
			h.checks.consumersMoved(p, s, at)
		}
		return
	}
	line.versions = append(line.versions, next)
	if last := h.current[t.name]; last != nil && (s == nil || last.key != keyOf(p, s.Incarnation())) {
		h.deleted(t, last, at)
	}
	if s == nil {
		return
	}
	truth := h.truth(p, s)
	if truth.from == (position{}) {
		truth.from, h.current[t.name] = at, truth
	}
	h.store(p, s, truth, at, entry)
	h.checks.consumersMoved(p, s, at)
	h.remove(p, t, s, truth, at)
	h.checks.outlives(p, s, truth)
	h.checks.limits(s, truth)
}

func (h *history) truth(p *process, s *machine.Stream) *streamTruth {
	k := keyOf(p, s.Incarnation())
	t := h.streams[k]
	if t == nil {
		t = &streamTruth{key: k, name: s.Name(), messages: map[uint64]*message{}, bySubject: map[string][]*message{}, texts: map[string]*message{}}
		h.streams[k] = t
	}
	return t
}

// deleted takes note that a stream is gone with all that was in it.
func (h *history) deleted(t *topic, s *streamTruth, at position) {
	if t.deletions == 0 && !h.checks.world.plan.disaster {
		h.checks.world.fail("lost: the stream %s is gone, which nobody deleted", s.name)
	}
	s.to = at
	for _, seq := range s.live {
		s.messages[seq].removed = at
	}
	s.live = nil
	delete(h.current, t.name)
}

// store takes note of what was stored.
func (h *history) store(p *process, s *machine.Stream, t *streamTruth, at position, entry *protocol.Entry) {
	if t.rebuild {
		t.rebuild, t.live, t.rolled.hidden = false, nil, s.State().Msgs
		for seq := s.State().FirstSeq; seq <= min(t.last, s.State().LastSeq); seq++ {
			if _, there := s.Message(seq); there && t.messages[seq] != nil {
				t.live = append(t.live, seq)
			}
		}
	}
	h.checks.onward(p, s, t)
	t.rolled.begin()
	for seq, last := t.last+1, s.State().LastSeq; seq <= last; seq++ {
		stored, there := s.Message(seq)
		if !there {
			t.rolled.gone++
			t.rolled.unseen = true
			continue // it went with the same entry
		}
		m := h.decode(p, s, &stored, entry)
		m.stored = at
		h.checks.stores(t, s, m)
		h.checks.lives(t, s, m)
		t.rolled.note(m)
		t.messages[seq] = m
		t.live = append(t.live, seq)
		t.order = append(t.order, m)
		t.bySubject[m.subject] = append(t.bySubject[m.subject], m)
	}
	h.checks.batchesWhole(t)
	t.last = s.State().LastSeq
}

// decode reads a message that an entry has stored.
func (h *history) decode(p *process, s *machine.Stream, stored *machine.Stored, entry *protocol.Entry) *message {
	at := stored.Location
	m := &message{
		seq: stored.Seq, stamp: stored.Stamp, at: h.checks.world.now,
		index: at.Index, term: entry.Term, lineage: entry.Lineage,
	}
	var content machine.Message
	var err error
	if at.Index == entry.Index {
		content, err = machine.DecodeMessage(entry.Data[at.Offset : at.Offset+at.Size])
	} else {
		m.lineage = lineageAt(p, at.Index)
		if mark, ok := p.member.Store().Mark(at.Index); ok {
			m.term = mark.Term
		}
		content, err = h.checks.readMessage(p, at)
	}
	if err != nil {
		h.checks.world.fail("%s cannot read message %d of %s: %v", p.host.name, stored.Seq, s.Name(), err)
	}
	m.subject, m.text, m.header = string(content.Subject), textOf(content.Payload), slices.Clone(content.Header)
	return m
}

// remove takes note of what is not there any more.
func (h *history) remove(p *process, topic *topic, s *machine.Stream, t *streamTruth, at position) {
	state := s.State()
	gone := func(seq uint64) bool {
		if seq >= state.FirstSeq {
			if _, there := s.Message(seq); there {
				return false
			}
		}
		m := t.messages[seq]
		m.removed = at
		h.checks.removes(p, topic, s, t, m)
		return true
	}
	front := 0
	for front < len(t.live) && t.live[front] < state.FirstSeq {
		gone(t.live[front])
		front++
	}
	t.live = t.live[front:]
	if uint64(len(t.live)) > state.Msgs || t.rolled.any() {
		t.live = slices.DeleteFunc(t.live, gone)
	}
	h.checks.replaces(p, s, t)
	h.checks.marked(s, t)
}

// founded forgets what a founding has lost, and calls lose for each message. Where it
// has lost the entry that removed a message, or a stream, that is there again.
func (h *history) founded(founder *memory, lose func(t *streamTruth, m *message)) {
	for _, t := range h.sorted() {
		t.rebuild = true
		if h.undone(founder, t.to) {
			t.to, h.current[t.name] = position{}, t
		}
		for _, seq := range slices.Sorted(maps.Keys(t.messages)) {
			m := t.messages[seq]
			switch {
			case !founder.holds(m):
				delete(t.messages, seq)
				lose(t, m)
			case h.undone(founder, m.removed):
				m.removed = position{}
				if m.ends > 0 && !slices.Contains(t.mortal, m) {
					t.mortal = append(t.mortal, m)
				}
			}
		}
		t.live = slices.DeleteFunc(t.live, func(seq uint64) bool { return t.messages[seq] == nil })
		t.last = 0
		for seq := range t.messages {
			t.last = max(t.last, seq)
		}
	}
}

// undone tells whether something was done at a position that is not in the log of a
// founder.
func (h *history) undone(founder *memory, at position) bool {
	if at == (position{}) {
		return false
	}
	mark, ok := founder.mark(at.index)
	return !ok || mark.Lineage != h.lineages[at.lineage-1]
}

// named returns the streams that ever had a name, the oldest first.
func (h *history) named(name string) []*streamTruth {
	return slices.DeleteFunc(h.sorted(), func(t *streamTruth) bool { return t.name != name })
}

// sorted returns all streams that ever were, the oldest first.
func (h *history) sorted() []*streamTruth {
	var all []*streamTruth
	for _, t := range h.streams {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *streamTruth) int {
		return cmp.Or(cmp.Compare(a.key.lineage.Epoch, b.key.lineage.Epoch), cmp.Compare(a.key.lineage.ID, b.key.lineage.ID), cmp.Compare(a.key.incarnation, b.key.incarnation))
	})
	return all
}

// keyOf names a stream as one member sees it.
func keyOf(p *process, incarnation machine.Incarnation) streamKey {
	return streamKey{lineageAt(p, uint64(incarnation)>>16), incarnation}
}

// lineageAt is the lineage of the entry at an index. What is not durable yet was
// written in the present one.
func lineageAt(p *process, index uint64) protocol.Lineage {
	if mark, ok := p.member.Store().Mark(index); ok {
		return mark.Lineage
	}
	return p.member.Identity().Lineage
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
