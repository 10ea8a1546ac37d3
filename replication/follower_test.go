package replication

import (
	"fmt"
	"slices"
	"testing"

	"holdfast/protocol"
)

func termsOf(entries []protocol.Entry) []uint64 {
	terms := make([]uint64, len(entries))
	for i := range entries {
		terms[i] = entries[i].Term
	}
	return terms
}

// TestAppend: a follower takes entries where its log agrees, removes only what
// contradicts them, and commits no further than it agrees (Raft, section 5.3).
func TestAppend(t *testing.T) {
	for _, c := range []struct {
		own     []uint64
		at      protocol.Mark
		entries []uint64 // terms of those sent
		commit  uint64   // of the leader
		want    []uint64
		match   uint64 // acknowledged; 0: rejected
		known   uint64 // commit index afterwards
	}{
		{[]uint64{1}, at(1, 1), []uint64{2, 2}, 1, []uint64{1, 2, 2}, 3, 1},
		{[]uint64{1, 1}, at(1, 2), nil, 2, []uint64{1, 1}, 2, 2},
		{[]uint64{1, 1, 1}, at(1, 2), nil, 9, []uint64{1, 1, 1}, 2, 2},
		{[]uint64{1, 1, 1}, at(1, 1), []uint64{1}, 9, []uint64{1, 1, 1}, 2, 2},
		{[]uint64{1, 1, 1}, at(1, 1), []uint64{2}, 9, []uint64{1, 2}, 2, 2},
		{[]uint64{1, 1, 1}, at(1, 1), []uint64{1, 2}, 1, []uint64{1, 1, 2}, 3, 1},
		{[]uint64{1, 2, 2}, at(3, 3), []uint64{3}, 9, []uint64{1, 2, 2}, 0, 0},
		{[]uint64{1}, at(1, 2), []uint64{3}, 9, []uint64{1}, 0, 0},
		{[]uint64{1, 1}, protocol.Mark{Index: 2, Term: 1, Lineage: protocol.Lineage{Epoch: 1, ID: 2}}, []uint64{3}, 9, []uint64{1, 1}, 0, 0},
		{[]uint64{1, 1}, protocol.Mark{}, []uint64{1, 1, 3}, 3, []uint64{1, 1, 3}, 3, 3},
	} {
		t.Run(fmt.Sprint(c.own, c.at.Index, c.entries), func(t *testing.T) {
			s := newSolo(t, voters("a", "b", "c"), 3, c.own...)
			s.state.Term = 2
			entries := logOf(append(make([]uint64, c.at.Index+1), c.entries...)...)[c.at.Index+1:]
			for i := range entries {
				entries[i].Index--
			}
			if c.at.Index == 0 && len(entries) > 0 {
				entries[0] = s.disk.entries[0]
			}
			m := only(t, s.step(Message{Type: Append, From: voter("b"), Term: 3, At: c.at, Entries: entries, Commit: c.commit}))
			if m.Type != AppendReply || m.Reject != (c.match == 0) || !m.Reject && m.Index != c.match {
				t.Errorf("answers %v", &m)
			}
			if terms := termsOf(s.disk.entries); !slices.Equal(terms, c.want) || s.state.Commit != c.known {
				t.Errorf("terms %v, commit %d", terms, s.state.Commit)
			}
		})
	}
}

// TestFigure7: a leader brings every log of figure 7 of the Raft paper into
// agreement with its own, in at most one exchange for each term that differs.
func TestFigure7(t *testing.T) {
	leader := []uint64{1, 1, 1, 4, 4, 5, 5, 6, 6, 6}
	for name, log := range map[string][]uint64{
		"a": {1, 1, 1, 4, 4, 5, 5, 6, 6},
		"b": {1, 1, 1, 4},
		"c": {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6},
		"d": {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7},
		"e": {1, 1, 1, 4, 4, 4, 4},
		"f": {1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSolo(t, voters("a", "b", "c"), 3, leader...)
			s.state.Term = 7
			s.elected()
			f := newSolo(t, voters("a", "b", "c"), 3, log...)
			f.self, f.disk.voter = voter("b"), voter("b")
			probes := s.probeOf("b")
			rejections := 0
			for len(probes) > 0 {
				var replies []Message
				for _, m := range probes {
					f.Step(m)
					replies = append(replies, f.flush()...)
				}
				probes = nil
				for _, m := range replies {
					if m.Reject {
						rejections++
					}
					for _, sent := range s.step(m) {
						if sent.To == voter("b") && sent.Type == Append {
							probes = append(probes, sent)
						}
					}
				}
			}
			if !slices.Equal(termsOf(f.disk.entries), termsOf(s.disk.entries)) {
				t.Errorf("log %v", termsOf(f.disk.entries))
			}
			if rejections > 2 {
				t.Errorf("%d rejections", rejections)
			}
		})
	}
}

// probeOf makes the leader probe a follower again, and returns what it sends.
func (s *solo) probeOf(name string) []Message {
	s.PeerUp(voter(name))
	return slices.DeleteFunc(s.flush(), func(m Message) bool { return m.To != voter(name) })
}

// TestAcknowledgementsJoin: several appends taken in together are acknowledged
// once, after the write.
func TestAcknowledgementsJoin(t *testing.T) {
	s := newSolo(t, voters("a", "b", "c"), 3, 1)
	log := logOf(1, 2, 2, 2)
	for i := range 3 {
		s.Step(Message{Type: Append, From: voter("b"), To: s.self, Lineage: testLineage, Term: 2, At: positionOf(&log[i]), Entries: log[i+1 : i+2]})
	}
	var e Effects
	s.Take(&e)
	if len(e.Messages) > 0 || len(e.AfterWrite) != 1 || e.AfterWrite[0].Index != 4 || len(e.Entries) != 3 {
		t.Errorf("%+v", e)
	}
}

// TestReleaseWaitsForApplied: at most one portion is handed out at a time.
func TestReleaseWaitsForApplied(t *testing.T) {
	s := newSolo(t, voters("a", "b", "c"), 3, 1, 1, 1)
	s.options.MaxReleaseBytes = 1
	for i := range s.disk.entries {
		s.disk.entries[i].Data = []byte("x")
	}
	s.Step(Message{Type: Append, From: voter("b"), To: s.self, Lineage: testLineage, Term: 2, At: at(1, 3), Commit: 3, Release: 3})
	var e Effects
	for index := uint64(1); index <= 3; index++ {
		if s.Take(&e); len(e.Released) != 1 || e.Released[0].Index != index {
			t.Fatalf("%+v", e.Released)
		}
		if s.Take(&e); len(e.Released) > 0 {
			t.Fatal("more before the last was applied")
		}
		s.Applied(index)
	}
}
