package machine

import (
	"encoding/binary"
	"hash/crc32"
)

// The kinds of keys of the durable state. A key is the kind, the incarnation
// of the stream or consumer, and for pages a number; in the order of keys,
// everything comes after what it refers to.
const (
	keyStream        = 1 // stamp of creation, account, configuration
	keyStreamState   = 2
	keyNames         = 3 // a page of subjects, by number
	keyBlock         = 4 // columns of a block, by its first sequence
	keyAlive         = 5 // liveness of a block; missing when all of it lives
	keyDedup         = 6 // a page of message IDs, by number
	keySchedule      = 7 // when a schedule is due, by its sequence
	keyConsumer      = 8 // stream, stamp of creation, configuration
	keyConsumerState = 9
	keyConsumerCount = 10 // Consumer.count apart, as it changes with every message
	keyEntries       = 11 // sizes of segments of the log, by number of the chunk
	keyLimits        = 12 // limits of an account, by incarnation of the command that set them
)

const (
	// namesPerPage is how many subjects a page has.
	namesPerPage = 256
	// valueVersion is the last byte but four of every value.
	valueVersion = 4
	// valueTrailer is the version and a CRC32C over key, body and version.
	valueTrailer = 5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// changes lists what the durable state lacks.
type changes struct {
	streams   []*Stream
	consumers []*Consumer
	accounts  []*Account // with other limits
	deletes   [][]byte   // keys that were handed out and are of no use any more
}

// drop notes that a key that was handed out is of no use any more.
func (c *changes) drop(key []byte) { c.deletes = append(c.deletes, key) }

type streamChanges struct {
	listed     bool // among changes.streams
	config     bool
	saved      bool // configuration and state were handed out
	blocks     []*block
	schedules  []uint64 // sequences; those that are none any more are passed over
	names      idSet    // pages of subjects
	namesSaved int      // pages 0 to namesSaved-1 were handed out
}

type consumerChanges struct {
	listed bool // among changes.consumers
	config bool
	state  bool
	count  bool
	saved  bool // all of its keys were handed out
}

// touch notes that the stream's state changed.
func (s *Stream) touch() {
	if !s.changed.listed {
		s.changed.listed = true
		s.machine.changes.streams = append(s.machine.changes.streams, s)
	}
}

// touchBlock is to be called before the block changes.
func (s *Stream) touchBlock(b *block) {
	if b.listed != s.machine.round {
		if s.waits(b) {
			s.captureBlock(b)
		}
		b.listed = s.machine.round
		s.changed.blocks = append(s.changed.blocks, b)
	}
	s.touch()
}

// forgetBlock notes that a block has nothing live any more.
func (s *Stream) forgetBlock(b *block) {
	if b.pageSaved {
		s.machine.changes.drop(pageKey(keyBlock, s.incarnation, b.first))
	}
	if b.aliveSaved {
		s.machine.changes.drop(pageKey(keyAlive, s.incarnation, b.first))
	}
}

// forgetNames notes that no subject of the stream is in use any more.
func (s *Stream) forgetNames() {
	for page := range s.changed.namesSaved {
		s.machine.changes.drop(pageKey(keyNames, s.incarnation, uint64(page)))
	}
	s.changed.names, s.changed.namesSaved = nil, 0
}

// forgetSaved notes that the stream is deleted. Its messages are gone already.
func (s *Stream) forgetSaved() {
	for _, p := range s.dedup.pages {
		if p.saved {
			s.machine.changes.drop(pageKey(keyDedup, s.incarnation, p.number))
		}
	}
	s.dedup = dedupWindow{}
	s.forgetSchedules()
	if s.changed.saved {
		s.machine.changes.drop(objectKey(keyStream, s.incarnation))
		s.machine.changes.drop(objectKey(keyStreamState, s.incarnation))
	}
}

// touch notes that the consumer's state changed, its count perhaps as well.
func (c *Consumer) touch() {
	c.touchCount()
	c.changed.state = true
}

// touchCount notes that only the count changed.
func (c *Consumer) touchCount() {
	c.changed.count = true
	if !c.changed.listed {
		c.changed.listed = true
		c.stream.machine.changes.consumers = append(c.stream.machine.changes.consumers, c)
	}
}

// forgetSaved notes that the consumer is deleted.
func (c *Consumer) forgetSaved() {
	if c.changed.saved {
		c.stream.machine.changes.drop(objectKey(keyConsumer, c.incarnation))
		c.stream.machine.changes.drop(objectKey(keyConsumerState, c.incarnation))
		c.stream.machine.changes.drop(objectKey(keyConsumerCount, c.incarnation))
	}
}

func objectKey(kind byte, inc Incarnation) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, uint64(inc))
}

func pageKey(kind byte, inc Incarnation, number uint64) []byte {
	return binary.BigEndian.AppendUint64(objectKey(kind, inc), number)
}

// appendTrailer makes a body a value.
func appendTrailer(key, body []byte) []byte {
	body = append(body, valueVersion)
	return binary.LittleEndian.AppendUint32(body, valueSum(key, body))
}

func valueSum(key, versioned []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, versioned)
}
