package machine

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// move returns a move of the messages that pick chooses, as of now.
func (w *world) move(pick func(m *Moved) bool) []byte {
	w.t.Helper()
	var b Batch
	b.BeginMove()
	for _, s := range w.machine.Streams() {
		s.index.each(func(seq uint64, r *record) bool {
			m := Moved{Stream: s.incarnation, Stored: s.describe(seq, r)}
			if pick(&m) {
				b.Move(&m, w.entries[m.Index][m.Offset:m.Offset+m.Size])
			}
			return true
		})
	}
	return bytes.Clone(b.Bytes())
}

// applyMove applies a move and returns how many messages it moved.
func (w *world) applyMove(data []byte) uint64 {
	w.t.Helper()
	w.index++
	w.entries[w.index] = data
	if err := w.machine.Apply(w.index, data, &w.results); err != nil {
		w.t.Fatal(err)
	}
	return w.results.Slots[0].Seq
}

// checkSegments compares what the machine knows of the log's segments with what
// the index says.
func checkSegments(t *testing.T, m *Machine) {
	t.Helper()
	m.buryAll()
	entries := &m.entries
	live := make(map[*segment]uint32)
	for _, s := range m.byID {
		s.index.each(func(seq uint64, r *record) bool {
			c := entries.chunk(r.entry)
			g := &c.segments[c.segmentOf(placeOf(r.entry))]
			live[g] += uint32(messageSize(len(s.subjects.list[r.subject].name), r.content))
			return true
		})
	}
	var settled [sixteenths + 1]usage
	for i, c := range entries.chunks {
		for k := range segmentsOf(c) {
			g := &c.segments[k]
			first := (entries.base+uint64(i))<<entryChunkBits | uint64(g.place)
			expect(t, fmt.Sprint("live bytes of the segment at ", first), g.live, live[g])
			if g.live > g.size {
				expect(t, "fraction", g.fraction(), sixteenths)
			}
			if first < entries.settled {
				u := &settled[g.fraction()]
				u.stored += int64(g.size)
				u.live += int64(g.live)
			}
			delete(live, g)
		}
	}
	expect(t, "segments", len(live), 0)
	expect(t, "usage", settled, entries.usage)
}

func segmentsOf(c *entryChunk) []segment {
	if c == nil {
		return nil
	}
	return c.segments
}

// TestMovesAgainstTwin moves messages all the time, some of them with moves that
// are proposed before other commands and applied behind them.
func TestMovesAgainstTwin(t *testing.T) {
	moved := uint64(0)
	for seed := uint64(1); seed <= 25; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			p := newPair(t, seed)
			var late []byte
			for step := range 150 {
				p.step()
				if late != nil {
					moved += p.applyMove(late)
					p.present[p.index], late = true, nil
				}
				if p.random.IntN(3) == 0 {
					data := p.move(func(*Moved) bool { return p.random.IntN(3) == 0 })
					if p.random.IntN(2) == 0 {
						late = data
					} else {
						moved += p.applyMove(data)
						p.present[p.index] = true
					}
				}
				p.compare(step)
				p.checkpointOn()
				if p.random.IntN(20) == 0 {
					p.crash()
				}
				checkSegments(t, p.machine)
			}
			p.checkpoint()
			p.checkPresence(p.restored.horizon)
		})
	}
	if moved < 1000 {
		t.Errorf("only %d messages were moved", moved)
	}
}

func TestMoveIsExact(t *testing.T) {
	w := newWorld(t)
	s := w.stream("A", func(c *server.StreamConfig) { c.AllowDirect = true })
	w.publishAll(s, "a.1", "a.2", "a.3")
	from := s.mustMessage(t, 2)
	move := w.move(func(m *Moved) bool { return m.Seq == 2 })
	var twice Batch
	twice.BeginMove()
	for range 2 {
		twice.Move(&Moved{Stream: s.incarnation, Stored: from}, w.entries[from.Index][from.Offset:from.Offset+from.Size])
	}
	stamp := w.machine.Stamp()
	expect(t, "moved", w.applyMove(twice.Bytes()), 1)
	expect(t, "stamp of the next entry", w.machine.Stamp(), stamp)
	to := s.mustMessage(t, 2)
	expect(t, "entry", to.Index, w.index)
	expect(t, "time", to.Stamp, from.Stamp)
	expect(t, "payload", string(w.read(to.Location).Payload), "payload of a.2")
	expect(t, "live in the old entry", w.machine.Live(from.Index), 2)
	expect(t, "live in the new entry", w.machine.Live(to.Index), 1)
	checkSegments(t, w.machine)

	expect(t, "moved that is not there any more", w.applyMove(move), 0)
	stale := w.move(func(m *Moved) bool { return true })
	w.batch.DeleteStream(s.incarnation)
	w.apply()
	s = w.stream("A")
	w.publishAll(s, "a.1", "a.2", "a.3")
	expect(t, "moved of a stream that was made anew", w.applyMove(stale), 0)
	checkSegments(t, w.machine)
}

func (s *Stream) mustMessage(t *testing.T, seq uint64) Stored {
	t.Helper()
	m, ok := s.Message(seq)
	expect(t, fmt.Sprint("message ", seq), ok, true)
	return m
}

// rewrite does a whole rewrite, if one is due, and returns what was written.
func (w *world) rewrite(slack int64) (bytes int) {
	w.t.Helper()
	r := w.machine.BeginRewrite(slack, 0)
	for done := r == nil; !done; {
		var found []Moved
		found, done = w.machine.Sparse(r, nil, 4000, 3*blockRows)
		if len(found) == 0 {
			continue
		}
		var b Batch
		b.BeginMove()
		for i := range found {
			m := &found[i]
			b.Move(m, w.entries[m.Index][m.Offset:m.Offset+m.Size])
		}
		bytes += b.Len()
		expect(w.t, "moved", w.applyMove(b.Bytes()), uint64(len(found)))
	}
	return bytes
}

// TestRewriteBoundsTheLog has a stream whose messages stay and one whose messages
// go, in the same entries.
func TestRewriteBoundsTheLog(t *testing.T) {
	w := newWorld(t)
	stays, goes := w.stream("A"), w.stream("B", func(c *server.StreamConfig) { c.MaxMsgs = 500 })
	payload := bytes.Repeat([]byte("x"), 100)
	stored, written, rewritten := 0, 0, 0
	counted := uint64(0) // entries that are in stored
	for round := range 400 {
		for range 20 {
			w.batch.Publish(stays.incarnation, []byte("a.1"), nil, payload)
			w.batch.Publish(goes.incarnation, []byte("b.1"), nil, payload)
			w.batch.Publish(goes.incarnation, []byte("b.1"), nil, payload)
		}
		w.apply()
		written += len(w.entries[w.index])
		if round%10 < 9 {
			continue
		}
		rewritten += w.rewrite(4000)
		for ; counted < w.index; counted++ {
			stored += len(w.entries[counted+1])
		}
		w.machine.Checkpoint()
		for _, dead := range w.machine.Dead(w.index) {
			stored -= len(w.entries[dead])
		}
		live := int(stays.bytes + goes.bytes)
		if limit := live*rewriteAbove/100 + 4000 + 3*(written/(round+1)*10); stored > limit {
			t.Fatalf("round %d: %d bytes in the log, %d live", round, stored, live)
		}
		checkSegments(t, w.machine)
	}
	if rewritten == 0 || rewritten > written {
		t.Errorf("%d bytes were written, %d again", written, rewritten)
	}
	expect(t, "a rewrite when nothing has died since", w.rewrite(4000), 0)
}

// TestSqueezedBlocksAreSmall overwrites keys, so that of every block a few messages
// stay.
func TestSqueezedBlocksAreSmall(t *testing.T) {
	w := newWorld(t)
	w.machine = New(Options{})
	s := w.stream("A", func(c *server.StreamConfig) { c.MaxMsgsPer = 1 })
	durable := make(map[string]int)
	for i := range 64 * blockMessages {
		w.batch.Publish(s.incarnation, fmt.Appendf(nil, "a.%d", i*i%1009*1000+i%1009), nil, nil)
		if i%16 == 0 { // stays
			w.batch.Publish(s.incarnation, fmt.Appendf(nil, "a.stays.%d", i), nil, nil)
		}
		if i%500 == 0 {
			w.apply()
		}
	}
	w.apply()
	before := s.blockBytes()
	for range 2 {
		puts, deletes := w.machine.Checkpoint()
		for _, put := range puts {
			durable[string(put.Key)] = len(put.Value)
		}
		for _, key := range deletes {
			delete(durable, string(key))
		}
	}
	if after := s.blockBytes(); after > before/4 {
		t.Errorf("blocks have %d bytes, before %d", after, before)
	}
	for seq, ok := s.index.next(1); ok; seq, ok = s.index.next(seq + 1) {
		expect(t, "subject", string(w.read(s.mustMessage(t, seq).Location).Subject), s.subjectOf(seq))
	}
}

func (s *Stream) blockBytes() (total int) {
	for _, b := range s.index.blocks {
		total += len(b.page)
	}
	return total
}

func (s *Stream) subjectOf(seq uint64) string {
	r, _ := s.index.get(seq)
	return s.subjects.list[r.subject].name
}
