package transport

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"holdfast/protocol"
)

// Every connection opens, both ways, with a preamble that stays the same in
// all versions of the protocol: six bytes that name it and the version as two
// big-endian bytes. One frame follows: a hello, a welcome or a refusal.
const (
	preamble      = "HFMESH"
	version       = 3
	preambleBytes = len(preamble) + 2

	maxClusterBytes = 255
	maxDetailBytes  = 1 << 10
	// maxOpening bounds the body of the first frame.
	maxOpening = MaxStatus + 1<<10
)

var errNotMesh = errors.New("not a mesh connection (wrong first bytes)")

// versionError reports another version of the protocol at the other end.
type versionError struct{ theirs uint16 }

func (e versionError) Error() string {
	return fmt.Sprintf("the other end speaks mesh protocol %d, this one %d: run the same release of holdfast on every node", e.theirs, version)
}

// hello is the body of a hello and of a welcome.
type hello struct {
	cluster     string
	from, to    string // member names
	members     digest
	incarnation uint64
	// attempt counts a process's dials to a member, from 1; the higher one is
	// the newer connection. A welcome repeats that of the hello.
	attempt  uint64
	presence Presence
}

// digest names a member list.
type digest [sha256.Size]byte

// digestOf is the same for the same names and addresses in any order.
func digestOf(members []Member) digest {
	sorted := slices.Clone(members)
	slices.SortFunc(sorted, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	var text []byte
	for _, m := range sorted {
		text = appendText(text, m.Name)
		text = appendText(text, m.Address)
	}
	return sha256.Sum256(text)
}

func appendText(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendHello(dst []byte, h hello) []byte {
	dst = appendText(dst, h.cluster)
	dst = appendText(dst, h.from)
	dst = appendText(dst, h.to)
	dst = append(dst, h.members[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, h.incarnation)
	dst = binary.LittleEndian.AppendUint64(dst, h.attempt)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.presence.Store))
	dst = binary.LittleEndian.AppendUint64(dst, h.presence.Boot)
	return append(dst, h.presence.Status...)
}

// decodeHello reads the body of a hello or a welcome; the status shares memory
// with it.
func decodeHello(body []byte) (hello, error) {
	r := protocol.Reader{Rest: body}
	h := hello{
		cluster: takeText(&r, maxClusterBytes),
		from:    takeText(&r, protocol.MaxNameBytes),
		to:      takeText(&r, protocol.MaxNameBytes),
	}
	copy(h.members[:], r.Bytes(uint64(len(h.members))))
	h.incarnation = r.Uint64()
	h.attempt = r.Uint64()
	h.presence.Store = protocol.StoreID(r.Uint64())
	h.presence.Boot = r.Uint64()
	if h.incarnation == 0 || len(r.Rest) > MaxStatus {
		r.Fail()
	}
	h.presence.Status = r.Bytes(uint64(len(r.Rest)))
	return h, r.Done("hello")
}

func takeText(r *protocol.Reader, limit uint64) string {
	size := r.Uvarint()
	if size > limit {
		r.Fail()
		return ""
	}
	return string(r.Bytes(size))
}

// appendOpening appends the preamble and the first frame of a connection.
func appendOpening(dst []byte, kind byte, body []byte) []byte {
	dst = append(dst, preamble...)
	dst = binary.BigEndian.AppendUint16(dst, version)
	return appendFrame(dst, frame{kind: kind, body: body})
}

// readOpening reads the preamble and the first frame of a connection. Of
// another version it reads the preamble alone and returns a versionError.
func readOpening(stream *bufio.Reader) (frame, error) {
	var start [preambleBytes]byte
	if _, err := io.ReadFull(stream, start[:]); err != nil {
		return frame{}, err
	}
	if string(start[:len(preamble)]) != preamble {
		return frame{}, errNotMesh
	}
	theirs := binary.BigEndian.Uint16(start[len(preamble):])
	if theirs != version {
		return frame{}, versionError{theirs: theirs}
	}
	r := frameReader{stream: stream, limit: maxOpening}
	return r.next()
}
