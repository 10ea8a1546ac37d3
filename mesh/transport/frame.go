package transport

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
)

// A frame on the wire, little-endian:
//
//	length of the body  4 bytes
//	kind                1 byte
//	CRC32C              4 bytes, over the five bytes before it and the body
//	body
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

	// Bodies below gatheredBody are copied together; larger ones are handed to
	// the kernel where they are (plain connections only).
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
}

func (f frame) size() int { return headerBytes + len(f.body) }

// appendHeader appends the header of a frame to dst.
func appendHeader(dst []byte, f frame) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(f.body)))
	dst = append(dst, f.kind)
	sum := crc32.Update(0, castagnoli, dst[start:])
	return binary.LittleEndian.AppendUint32(dst, crc32.Update(sum, castagnoli, f.body))
}

// appendFrame appends a whole frame to dst.
func appendFrame(dst []byte, f frame) []byte {
	return append(appendHeader(dst, f), f.body...)
}

// frameReader takes frames off a stream.
type frameReader struct {
	stream *bufio.Reader
	limit  int    // bytes of a body
	slab   []byte // rest of the block that small bodies are cut from
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
	if crc32.Update(sum, castagnoli, body) != want {
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

// frameWriter writes batches of frames with few system calls.
type frameWriter struct {
	conn net.Conn
	// vectored: conn is a plain TCP connection, to which memory of several
	// places can be handed in one system call.
	vectored bool
	// Invariant: what is to be written is vectors followed by gather[open:].
	gather  []byte // never grows beyond its capacity: vectors point into it
	open    int
	vectors net.Buffers
}

func newFrameWriter(conn net.Conn) *frameWriter {
	_, vectored := conn.(*net.TCPConn)
	return &frameWriter{conn: conn, vectored: vectored, gather: make([]byte, 0, gatherBytes)}
}

// write writes the frames in their order; when it returns, none of their
// memory is referred to.
func (w *frameWriter) write(batch []frame) error {
	for _, f := range batch {
		if err := w.add(f); err != nil {
			return err
		}
	}
	return w.flush()
}

func (w *frameWriter) add(f frame) error {
	direct := w.vectored && len(f.body) >= gatheredBody
	need := headerBytes
	if !direct && len(f.body) < gatheredBody {
		need += len(f.body)
	}
	if len(w.gather)+need > cap(w.gather) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.gather = appendHeader(w.gather, f)
	if direct {
		w.vectors = append(w.vectors, w.gather[w.open:], f.body)
		w.open = len(w.gather)
		return nil
	}
	for rest := f.body; len(rest) > 0; {
		n := min(len(rest), cap(w.gather)-len(w.gather))
		w.gather = append(w.gather, rest[:n]...)
		if rest = rest[n:]; len(rest) > 0 {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *frameWriter) flush() error {
	var err error
	if len(w.vectors) == 0 {
		if len(w.gather) > 0 {
			_, err = w.conn.Write(w.gather)
		}
	} else {
		if w.open < len(w.gather) {
			w.vectors = append(w.vectors, w.gather[w.open:])
		}
		pending := w.vectors
		_, err = pending.WriteTo(w.conn)
		clear(w.vectors)
		w.vectors = w.vectors[:0]
	}
	w.gather, w.open = w.gather[:0], 0
	return err
}
