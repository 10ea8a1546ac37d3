package bus

import (
	"sync"
	"sync/atomic"
)

// blockSize is the size of a read buffer: large enough that one read drains
// what the server writes at once (64 KiB) several times, small enough that a
// chunk kept for a while does not pin much.
const blockSize = 256 << 10

// Message is one message that the server delivered to the link. Its fields
// alias the memory of the chunk that holds it and are valid until the chunk
// is released.
type Message struct {
	Subject []byte // the subject it was published to
	Reply   []byte // nil: the publisher asked for no answer
	Header  []byte // "NATS/1.0\r\n…\r\n\r\n", whole; nil: none
	Payload []byte // not nil, may be empty
}

// Chunk is a run of messages in the order in which the server sent them.
//
// Whoever gets it owns it until Release. A chunk without messages carries
// only a fence.
type Chunk struct {
	Messages []Message
	// Fence is the number of the highest fence (see Link.Fence) that the
	// server has answered before the end of this chunk; 0: none. Everything
	// that the server sent before its answer is in this or an earlier chunk.
	Fence uint64

	block *block // nil: no messages, or released
	link  *Link
	bytes int64 // of the block, counted as unread until Release
}

// block is a read buffer shared by the reader and the chunks cut out of it.
type block struct {
	buf  []byte
	refs atomic.Int32 // the reader's, and one for each unreleased chunk
}

var (
	blocks = sync.Pool{New: func() any { return &block{buf: make([]byte, blockSize)} }}
	chunks = sync.Pool{New: func() any { return new(Chunk) }}
)

// newBlock returns a block of at least size bytes with one reference.
func newBlock(size int) *block {
	if size > blockSize {
		b := &block{buf: make([]byte, size)}
		b.refs.Store(1)
		return b
	}
	b := blocks.Get().(*block)
	b.refs.Store(1)
	return b
}

// release gives up one reference. A block larger than usual is left to the
// garbage collector, so that one large message does not stay in the pool.
func (b *block) release() {
	if b.refs.Add(-1) == 0 && len(b.buf) == blockSize {
		blocks.Put(b)
	}
}

// newChunk returns an empty chunk that pins nothing yet.
func newChunk(l *Link) *Chunk {
	c := chunks.Get().(*Chunk)
	c.link = l
	return c
}

// pin makes the chunk a holder of the memory that its messages alias.
func (c *Chunk) pin(b *block, bytes int) {
	b.refs.Add(1)
	c.block, c.bytes = b, int64(bytes)
	c.link.unread.Add(c.bytes)
}

// Release gives the chunk and its memory back. The chunk and everything that
// aliases its messages must not be touched afterwards. It may be called from
// any goroutine, once.
func (c *Chunk) Release() {
	if c.link == nil {
		panic("bus: a chunk was released twice")
	}
	if c.block != nil {
		c.link.unread.Add(-c.bytes)
		c.block.release()
	}
	clear(c.Messages)
	*c = Chunk{Messages: c.Messages[:0]}
	chunks.Put(c)
}
