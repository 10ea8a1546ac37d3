package jetstream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server/archive"
)

// A backup is an S2 stream of archive entries, as nats-server writes it since
// 2.15: "state.json" with the state of the stream, "consumers/NAME" for each
// consumer, one entry for each message, and an empty one at the end. It comes in
// chunks that are cut anywhere, so both layers are taken apart as they come,
// without a reader that would have to wait.

const (
	// maxFrame bounds what one S2 frame may hold.
	maxFrame = 4 << 20
	// maxDescription bounds the entries that describe the stream or a consumer.
	maxDescription = 16 << 20
	// maxEntryName bounds the name of an entry.
	maxEntryName = 1 << 16
)

var (
	errCompressed  = errors.New("the backup is not an S2 stream, or damaged")
	errArchive     = errors.New("the backup is not an archive of a stream, or damaged")
	errOlderFormat = errors.New("the backup has the format of nats-server before 2.15, which cannot be read here; restore it into a nats-server 2.15 and back it up again")
)

// frames takes an S2 stream apart.
type frames struct {
	begun   bool   // the identifier of the stream was read
	pending []byte // not decoded yet
	decoded []byte // of the last frame
}

// next returns the content of the next frame, nil when it has not come whole.
// It is valid until the next call.
func (f *frames) next() ([]byte, error) {
	const (
		compressed   = 0x00
		uncompressed = 0x01
		skippable    = 0x80
		identifier   = 0xff
		headerSize   = 4
		sumSize      = 4
	)
	for len(f.pending) >= headerSize {
		kind := f.pending[0]
		size := int(f.pending[1]) | int(f.pending[2])<<8 | int(f.pending[3])<<16
		if f.begun = f.begun || kind == identifier; !f.begun || kind < skippable && size > s2.MaxEncodedLen(maxFrame)+sumSize {
			return nil, errCompressed
		}
		if len(f.pending) < headerSize+size {
			return nil, nil
		}
		body := f.pending[headerSize : headerSize+size]
		f.pending = f.pending[headerSize+size:]
		if kind >= skippable {
			continue // the identifier of the stream, padding, an index
		}
		if kind > uncompressed || size < sumSize {
			return nil, errCompressed
		}
		content := body[sumSize:]
		if kind == compressed {
			length, err := s2.DecodedLen(content)
			if err != nil || length > maxFrame {
				return nil, errCompressed
			}
			if f.decoded, err = s2.Decode(f.decoded[:0:cap(f.decoded)], content); err != nil {
				return nil, errCompressed
			}
			content = f.decoded
		}
		if len(content) > maxFrame || frameSum(content) != binary.LittleEndian.Uint32(body) {
			return nil, errCompressed
		}
		if len(content) > 0 {
			return content, nil
		}
	}
	return nil, nil
}

// whole reports whether a frame waits to be decoded.
func (f *frames) whole() bool {
	return len(f.pending) >= 4 && len(f.pending) >= 4+(int(f.pending[1])|int(f.pending[2])<<8|int(f.pending[3])<<16)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frameSum is the masked checksum of the S2 and Snappy framing format.
func frameSum(content []byte) uint32 {
	sum := crc32.Checksum(content, castagnoli)
	return (sum>>15 | sum<<17) + 0xa282ead8
}

// entry is one entry of a backup. Its slices alias the bytes it was read from.
type entry struct {
	name            []byte
	stamp           int64
	seq             uint64
	header, payload []byte
}

// isEnd reports whether this is the entry that ends a whole backup.
func (e *entry) isEnd() bool {
	return len(e.name) == 0 && e.stamp == 0 && e.seq == 0 && len(e.header) == 0 && len(e.payload) == 0
}

// entries takes an archive apart.
type entries struct {
	store   []byte // memory of pending, used again
	pending []byte
	begun   bool // the magic bytes were read
}

// next reads the next entry, whose content may have so many bytes; false when it
// has not come whole.
func (a *entries) next(e *entry, most int) (bool, error) {
	if !a.begun {
		if len(a.pending) < len(archive.MagicBytes) {
			return false, nil
		}
		if string(a.pending[:len(archive.MagicBytes)]) != archive.MagicBytes {
			return false, errOlderFormat
		}
		a.pending, a.begun = a.pending[len(archive.MagicBytes):], true
	}
	rest := a.pending
	ok := true
	number := func() uint64 {
		n, size := binary.Uvarint(rest)
		if ok = ok && size > 0; ok {
			rest = rest[size:]
		}
		return n
	}
	nameSize := number()
	stamp, size := binary.Varint(rest)
	if ok = ok && size > 0; ok {
		rest = rest[size:]
	}
	seq, headerSize, payloadSize := number(), number(), number()
	const longest = 5 * binary.MaxVarintLen64
	switch {
	case !ok && len(a.pending) >= longest, ok && nameSize > maxEntryName:
		return false, errArchive
	case !ok:
		return false, nil
	}
	limit := uint64(most)
	if seq == 0 {
		limit = maxDescription
	}
	if headerSize > limit || payloadSize > limit-headerSize {
		return false, fmt.Errorf("an entry of the backup (sequence %d) is larger than %d bytes", seq, limit)
	}
	if uint64(len(rest)) < nameSize+headerSize+payloadSize {
		return false, nil
	}
	take := func(n uint64) []byte {
		part := rest[:n]
		rest = rest[n:]
		return part
	}
	*e = entry{name: take(nameSize), stamp: stamp, seq: seq, header: take(headerSize), payload: take(payloadSize)}
	a.pending = rest
	return true, nil
}

// add appends what a frame held. Entries that were read before are not valid any
// more.
func (a *entries) add(content []byte) {
	a.store = append(append(a.store[:0], a.pending...), content...)
	a.pending = a.store
}
