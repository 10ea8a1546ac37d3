package machine

import (
	"encoding/binary"
	"hash"
	"hash/fnv"
)

// digester feeds values to a hash.
type digester struct {
	hash.Hash64
	buffer []byte
}

func (d *digester) numbers(all ...uint64) {
	for _, n := range all {
		d.buffer = binary.LittleEndian.AppendUint64(d.buffer, n)
	}
	d.flush(4096)
}

func (d *digester) text(text string) {
	d.numbers(uint64(len(text)))
	d.buffer = append(d.buffer, text...)
	d.flush(4096)
}

func (d *digester) flush(from int) {
	if len(d.buffer) >= from {
		_, _ = d.Write(d.buffer)
		d.buffer = d.buffer[:0]
	}
}

// Digest is a hash over the whole replicated state. Machines that applied the
// same entries have the same, whether they applied all of them or were
// restored in between. It reads every message of the index: it is for tests
// and for comparing nodes, not for the path of a publish.
func (m *Machine) Digest() uint64 {
	d := &digester{Hash64: fnv.New64a()}
	d.numbers(m.applied, uint64(m.stamp))
	for _, a := range m.limitedAccounts() {
		d.numbers(uint64(a.limitedBy))
		d.text(string(a.appendLimits(nil)))
	}
	for _, s := range m.Streams() {
		s.digest(d)
		for _, c := range s.Consumers() {
			d.numbers(uint64(c.incarnation), uint64(c.created))
			d.text(string(c.encoded))
			d.text(string(c.appendState(nil)))
			d.numbers(c.waiting())
		}
	}
	d.flush(1)
	return d.Sum64()
}

func (s *Stream) digest(d *digester) {
	d.numbers(uint64(s.incarnation), uint64(s.created), s.msgs, s.bytes)
	d.text(s.account.name)
	d.text(string(s.encoded))
	d.text(string(s.appendState(nil)))
	s.index.each(func(seq uint64, r *record) bool {
		at := s.locate(r)
		d.numbers(seq, uint64(r.stamp), uint64(r.slot), at.Index, uint64(at.Offset), uint64(at.Size))
		d.text(s.subjects.list[r.subject].name)
		b := s.index.locate(seq)
		d.numbers(uint64(b.ttlAt(int(seq - b.first))))
		return true
	})
	for _, sub := range s.Subjects("") {
		d.text(sub.Subject)
		d.numbers(sub.Messages)
	}
	for _, one := range s.orderedSchedules() {
		d.numbers(one.seq, uint64(one.due))
	}
	for _, p := range s.dedup.pages {
		d.text(string(p.append(nil)))
	}
}
