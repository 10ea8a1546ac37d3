package machine

import (
	"bytes"
	"math"
	"time"
)

// A message may have a time to live of its own (header Nats-TTL, ADR-43), in
// whole seconds from its stamp on. The index keeps it as a number in a column of
// its own: 0 for none, ttlNever, or the seconds plus ttlNever.
//
// A stream that leaves delete markers (SubjectDeleteMarkerTTL) does not age out
// anything by itself: who leads proposes what is due, see marker.go.
const ttlNever = 1

// maxTTLSeconds is what the column has room for, 136 years.
const maxTTLSeconds = math.MaxUint32 - ttlNever

// parseTTL reads a Nats-TTL header, which is well formed as validTTL says.
func parseTTL(value []byte) uint32 {
	if len(value) == 0 {
		return 0
	}
	if bytes.EqualFold(value, []byte("never")) {
		return ttlNever
	}
	var seconds uint64
	if d, err := time.ParseDuration(string(value)); err == nil {
		seconds = uint64(d / time.Second)
	} else {
		seconds = parseSequence(value)
	}
	if seconds == 0 {
		return 0
	}
	return uint32(min(seconds, maxTTLSeconds)) + ttlNever
}

// TTLSeconds reads a Nats-TTL header: the seconds, below 0 for never, and 0 for
// none or what is no time to live.
func TTLSeconds(value []byte) int64 {
	if _, ok := validTTL(value); !ok {
		return 0
	}
	switch ttl := parseTTL(value); ttl {
	case 0:
		return 0
	case ttlNever:
		return -1
	default:
		return int64(ttl - ttlNever)
	}
}

// timeToLive is what the index keeps of a message's header. With delete markers
// a message lives at least as long as the marker before it would.
func (s *Stream) timeToLive(h *publishHeaders) uint32 {
	ttl := parseTTL(h.ttl)
	if least := uint32(s.config.SubjectDeleteMarkerTTL / time.Second); ttl > ttlNever && least > 0 && s.config.MaxMsgsPer != 1 {
		ttl = max(ttl, least+ttlNever)
	}
	return ttl
}

// ttlEnd is the stamp at which a message stamped so ends.
func ttlEnd(stamp int64, ttl uint32) int64 {
	return later(stamp, int64(ttl-ttlNever)*int64(time.Second))
}

// hasTTLs reports whether a message of the block may have a time to live.
func (b *block) hasTTLs() bool {
	if b.rows != nil {
		return len(b.rows.ttl) > 0
	}
	c := &b.cols[columnTTL]
	return c.base != 0 || c.width != 0
}

func (b *block) ttlAt(i int) uint32 {
	if o := b.rows; o != nil {
		if len(o.ttl) == 0 {
			return 0
		}
		return o.ttl[i]
	}
	return uint32(b.cols[columnTTL].get(b.page, b.row(i)))
}

// setTTL notes the time to live of the message that was just added.
func (b *block) setTTL(ttl uint32) {
	o := b.rows
	if len(o.ttl) == 0 {
		if cap(o.ttl) < b.count {
			o.ttl = make([]uint32, 0, blockMessages)
		}
		o.ttl = o.ttl[:b.count]
		clear(o.ttl)
	}
	o.ttl[b.count-1] = ttl
}

// earliestEnd is the stamp at which the first live message ends, 0 for none.
func (b *block) earliestEnd() int64 {
	earliest := int64(0)
	if !b.hasTTLs() {
		return 0
	}
	for i := b.nextAlive(0); i >= 0; i = b.nextAlive(i + 1) {
		if ttl := b.ttlAt(i); ttl > ttlNever {
			r := b.at(i)
			if end := ttlEnd(r.stamp+int64(r.slot), ttl); earliest == 0 || end < earliest {
				earliest = end
			}
		}
	}
	return earliest
}

// ttlQueue orders the blocks of a stream by when the first of their messages
// ends. A place is current while its due is the block's; as messages go, it may
// be too early, never too late.
type ttlQueue = dueQueue[ttlPlace]

type ttlPlace struct {
	due   int64
	block *block
}

func (a ttlPlace) before(b ttlPlace) bool {
	return a.due < b.due || a.due == b.due && a.block.first < b.block.first
}

// noteTTL takes a message with a time to live into account that was just added
// to the block.
func (s *Stream) noteTTL(b *block, stamp int64, ttl uint32) {
	b.setTTL(ttl)
	if ttl == ttlNever {
		s.immortals = true
		return
	}
	if !s.config.AllowMsgTTL {
		return
	}
	if end := ttlEnd(stamp, ttl); b.ttlDue == 0 || end < b.ttlDue {
		b.ttlDue = end
		s.ttls.push(ttlPlace{due: end, block: b})
		if due := &s.expiryDue[expireTTLs]; !s.leavesMarkers() && (*due == 0 || end < *due) {
			*due = end
			s.machine.expiry.push(expiryPlace{due: end, kind: expireTTLs, stream: s})
		}
	}
}

// collectTTLs makes the queue anew from the index.
func (s *Stream) collectTTLs() {
	s.ttls = nil
	for _, b := range s.index.blocks {
		b.ttlDue = 0
		if !b.hasTTLs() {
			continue
		}
		for i := b.nextAlive(0); i >= 0 && !s.immortals; i = b.nextAlive(i + 1) {
			s.immortals = b.ttlAt(i) == ttlNever
		}
		if b.ttlDue = b.earliestEnd(); b.ttlDue != 0 && s.config.AllowMsgTTL {
			s.ttls.push(ttlPlace{due: b.ttlDue, block: b})
		}
	}
}

// nextTTL returns the block whose message ends first, with the exact stamp of
// that; nil for none.
func (s *Stream) nextTTL() (*block, int64) {
	for len(s.ttls) > 0 {
		p := s.ttls[0]
		if p.block.live == 0 || p.block.ttlDue != p.due {
			s.ttls.pop()
			continue
		}
		exact := p.block.earliestEnd()
		if exact == p.due {
			return p.block, exact
		}
		s.ttls.pop()
		if p.block.ttlDue = exact; exact != 0 {
			s.ttls.push(ttlPlace{due: exact, block: p.block})
		}
	}
	s.ttls = nil
	return nil, 0
}

// expireTTLs removes messages that end at or before now, at most budget of them,
// and returns what is left of the budget.
func (s *Stream) expireTTLs(now int64, budget int) int {
	for b, due := s.nextTTL(); b != nil && due <= now && budget > 0; b, due = s.nextTTL() {
		for i := b.nextAlive(0); i >= 0 && budget > 0; i = b.nextAlive(i + 1) {
			ttl := b.ttlAt(i)
			if ttl <= ttlNever {
				continue
			}
			if r := b.at(i); ttlEnd(r.stamp+int64(r.slot), ttl) <= now {
				s.remove(b.first + uint64(i))
				budget--
				if b.live == 0 {
					break
				}
			}
		}
	}
	return budget
}

// oldestMortal returns the first message that MaxAge ends: others never end.
func (s *Stream) oldestMortal() (uint64, bool) {
	if !s.immortals {
		return s.first, s.msgs > 0
	}
	for seq, ok := s.index.next(max(s.mortalFrom, s.first)); ok; seq, ok = s.index.next(seq + 1) {
		b := s.index.locate(seq)
		if b.ttlAt(int(seq-b.first)) != ttlNever {
			s.mortalFrom = seq
			return seq, true
		}
	}
	s.mortalFrom = s.last + 1
	return 0, false
}
