package transport

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A frame on the wire, little-endian:
//
//	length of the body  4 bytes
//	kind                1 byte
//	CRC32C              4 bytes, over the five bytes before it and the body
//	body
//
// TLS authenticates what it carries: behind the opening of such a connection, the
// checksum does not cover the body.
const headerBytes = 9

// Kinds above MaxKind belong to the transport.
const (
	kindHello   byte = 0xF0 // dialler's first frame
	kindWelcome byte = 0xF1 // acceptor's answer: its own hello
	kindRefused byte = 0xF2 // acceptor's answer: reason, name and text
	kindBeat    byte = 0xF3 // "I am alive", no body
	kindAsk     byte = 0xF4 // asks for an answer with the same body
	kindAnswer  byte = 0xF5
)

const (
	// Bodies up to sharedBody are cut from blocks of slabBytes, so that small
	// frames do not cost an allocation each.
	sharedBody = 4 << 10
	slabBytes  = 64 << 10
	// Larger bodies are allocated at once up to trustedBody; beyond that memory
	// grows only with what has really arrived.
	trustedBody = 1 << 20

	// Parts of bodies below gatheredBody are copied together; larger ones are
	// handed to the kernel, or to TLS, where they are.
	gatheredBody = 8 << 10
	gatherBytes  = 256 << 10
)

var (
	errChecksum = errors.New("frame damaged on the way: wrong checksum")
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
)

type frame struct {
	kind byte
	body []byte
	rest [][]byte // of the body, to be sent behind it
}

// bodyBytes is the length of the whole body.
func (f frame) bodyBytes() int {
	n := len(f.body)
	for _, part := range f.rest {
		n += len(part)
	}
	return n
}

func (f frame) size() int { return headerBytes + f.bodyBytes() }

// appendHeader appends the header of a frame to dst; covered: the checksum is
// over the body as well.
func appendHeader(dst []byte, f frame, covered bool) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(f.bodyBytes()))
	dst = append(dst, f.kind)
	sum := crc32.Update(0, castagnoli, dst[start:])
	if covered {
		sum = crc32.Update(sum, castagnoli, f.body)
		for _, part := range f.rest {
			sum = crc32.Update(sum, castagnoli, part)
		}
	}
	return binary.LittleEndian.AppendUint32(dst, sum)
}

// appendFrame appends a whole frame to dst, with a checksum over all of it.
func appendFrame(dst []byte, f frame) []byte {
	dst = append(appendHeader(dst, f, true), f.body...)
	for _, part := range f.rest {
		dst = append(dst, part...)
	}
	return dst
}

// frameReader takes frames off a stream.
type frameReader struct {
	stream *bufio.Reader
	limit  int    // bytes of a body
	slab   []byte // rest of the block that small bodies are cut from
	// authentic: the stream is what the other end wrote. Checksums are over headers only.
	authentic bool
}

// next returns the next frame; its body belongs to the caller. At the end of
// the stream between two frames the error is io.EOF.
func (r *frameReader) next() (frame, error) {
	header, err := r.stream.Peek(headerBytes)
	if err != nil {
		if errors.Is(err, io.EOF) && len(header) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	size := binary.LittleEndian.Uint32(header)
	kind := header[4]
	want := binary.LittleEndian.Uint32(header[5:])
	sum := crc32.Update(0, castagnoli, header[:5])
	if uint64(size) > uint64(r.limit) {
		return frame{}, fmt.Errorf("read frame: %d bytes, at most %d are allowed", size, r.limit)
	}
	_, _ = r.stream.Discard(headerBytes) // cannot fail: just peeked
	body, err := r.body(int(size))
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	if !r.authentic {
		sum = crc32.Update(sum, castagnoli, body)
	}
	if sum != want {
		return frame{}, errChecksum
	}
	return frame{kind: kind, body: body}, nil
}

// body reads size bytes.
func (r *frameReader) body(size int) ([]byte, error) {
	var body []byte
	switch {
	case size <= sharedBody:
		if len(r.slab) < size {
			r.slab = make([]byte, slabBytes)
		}
		body, r.slab = r.slab[:size:size], r.slab[size:]
	case size <= trustedBody:
		body = make([]byte, size)
	default:
		return r.largeBody(size)
	}
	_, err := io.ReadFull(r.stream, body)
	return body, err
}

// largeBody reads size bytes into memory that at most doubles what has arrived.
func (r *frameReader) largeBody(size int) ([]byte, error) {
	body := make([]byte, trustedBody)
	filled := 0
	for {
		n, err := io.ReadFull(r.stream, body[filled:])
		if err != nil {
			return nil, err
		}
		if filled += n; filled == size {
			return body, nil
		}
		grown := make([]byte, min(2*len(body), size))
		copy(grown, body)
		body = grown
	}
}
