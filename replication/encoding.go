package replication

import (
	"encoding/binary"
	"fmt"
	"math"

	"holdfast/protocol"
)

// A message on the wire:
//
//	version   byte, messageVersion
//	type      byte
//	flags     byte, the flag constants
//	from, to  voter each: length of the name (uvarint), name, store (8 bytes)
//	lineage   epoch, ID (8 bytes each)
//	term, At.Index, At.Term, Index, Commit, Release, Round   uvarint each
//	At.Lineage  16 bytes, with flagAtLineage
//	entries   count (uvarint), then for each:
//	          kind, with entryLineage set if a lineage follows (byte), term
//	          (uvarint), lineage (16 bytes) if it is not the message's, length
//	          of the data (uvarint), data
//
// Fixed-size numbers are little-endian. The indices of the entries follow from
// At. The message ends where its frame ends; the frame carries a checksum.
const messageVersion = 1

const (
	flagReject    = 1 << 0
	flagTransfer  = 1 << 1
	flagAtOwn     = 1 << 2 // At.Lineage is the message's lineage
	flagAtLineage = 1 << 3 // At.Lineage follows; with neither flag it is blank
	flagsKnown    = 1<<4 - 1

	entryLineage = 0x80
)

// sharedData is from how many bytes on MessageParts does not copy the data of an
// entry.
const sharedData = 8 << 10

// bounds of what a message and an entry need beside names and data, with some
// room to spare: two voters and ten numbers; kind, term, lineage and length.
const (
	fixedBytes       = 2*(2+8) + 3 + 2*16 + 10*binary.MaxVarintLen64
	entryHeaderBytes = 1 + 16 + 2*binary.MaxVarintLen64
)

// MessageParts returns the wire format of a message in parts that belong one
// behind the other. Large data of entries is not copied: first and rest share
// memory with the message.
func MessageParts(m *Message) (first []byte, rest [][]byte) {
	size := fixedBytes + len(m.From.Name) + len(m.To.Name)
	for i := range m.Entries {
		size += entryHeaderBytes
		if n := len(m.Entries[i].Data); n < sharedData {
			size += n
		}
	}
	buffer := appendMessageHeader(make([]byte, 0, size), m)
	start := 0
	for i := range m.Entries {
		e := &m.Entries[i]
		buffer = appendEntryHeader(buffer, e, m.Lineage)
		if len(e.Data) < sharedData {
			buffer = append(buffer, e.Data...)
			continue
		}
		rest = append(rest, buffer[start:], e.Data)
		start = len(buffer)
	}
	if len(rest) == 0 {
		return buffer, nil
	}
	if start < len(buffer) {
		rest = append(rest, buffer[start:])
	}
	return rest[0], rest[1:]
}

// AppendMessage appends the message in its wire format to dst.
func AppendMessage(dst []byte, m *Message) []byte {
	dst = appendMessageHeader(dst, m)
	for i := range m.Entries {
		dst = append(appendEntryHeader(dst, &m.Entries[i], m.Lineage), m.Entries[i].Data...)
	}
	return dst
}

// appendMessageHeader appends what comes before the first entry.
func appendMessageHeader(dst []byte, m *Message) []byte {
	dst = append(dst, messageVersion, byte(m.Type), m.flags())
	dst = protocol.AppendVoter(dst, m.From)
	dst = protocol.AppendVoter(dst, m.To)
	dst = appendLineage(dst, m.Lineage)
	for _, n := range [...]uint64{m.Term, m.At.Index, m.At.Term, m.Index, m.Commit, m.Release, m.Round} {
		dst = binary.AppendUvarint(dst, n)
	}
	if m.flags()&flagAtLineage != 0 {
		dst = appendLineage(dst, m.At.Lineage)
	}
	return binary.AppendUvarint(dst, uint64(len(m.Entries)))
}

func (m *Message) flags() byte {
	flags := byte(0)
	if m.Reject {
		flags |= flagReject
	}
	if m.Transfer {
		flags |= flagTransfer
	}
	switch {
	case m.At.Lineage.Blank():
	case m.At.Lineage == m.Lineage:
		flags |= flagAtOwn
	default:
		flags |= flagAtLineage
	}
	return flags
}

func appendLineage(dst []byte, l protocol.Lineage) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, l.Epoch)
	return binary.LittleEndian.AppendUint64(dst, uint64(l.ID))
}

// appendEntryHeader appends what comes before the data of an entry.
func appendEntryHeader(dst []byte, e *protocol.Entry, usual protocol.Lineage) []byte {
	if e.Lineage == usual {
		dst = append(dst, byte(e.Kind))
		dst = binary.AppendUvarint(dst, e.Term)
	} else {
		dst = append(dst, byte(e.Kind)|entryLineage)
		dst = binary.AppendUvarint(dst, e.Term)
		dst = appendLineage(dst, e.Lineage)
	}
	return binary.AppendUvarint(dst, uint64(len(e.Data)))
}

// DecodeMessage reads a message from its wire format. The data of its entries
// shares memory with the input. Errors wrap protocol.ErrMalformed.
func DecodeMessage(data []byte) (Message, error) {
	r := protocol.Reader{Rest: data}
	if version := r.Byte(); version != messageVersion {
		return Message{}, fmt.Errorf("replication message of version %d, this program speaks %d: run the same release of holdfast on every node: %w", version, messageVersion, protocol.ErrMalformed)
	}
	m := Message{Type: MessageType(r.Byte())}
	flags := r.Byte()
	if !m.Type.valid() || flags&^flagsKnown != 0 {
		r.Fail()
	}
	m.Reject, m.Transfer = flags&flagReject != 0, flags&flagTransfer != 0
	m.From, m.To = r.Voter(), r.Voter()
	m.Lineage = readLineage(&r)
	for _, n := range [...]*uint64{&m.Term, &m.At.Index, &m.At.Term, &m.Index, &m.Commit, &m.Release, &m.Round} {
		*n = r.Uvarint()
	}
	switch flags & (flagAtOwn | flagAtLineage) {
	case flagAtOwn:
		m.At.Lineage = m.Lineage
	case flagAtLineage:
		m.At.Lineage = readLineage(&r)
	case flagAtOwn | flagAtLineage:
		r.Fail()
	}
	m.Entries = readEntries(&r, &m)
	if err := r.Done("replication message"); err != nil {
		return Message{}, err
	}
	return m, nil
}

func readLineage(r *protocol.Reader) protocol.Lineage {
	return protocol.Lineage{Epoch: r.Uint64(), ID: protocol.AttemptID(r.Uint64())}
}

const (
	// minEntryBytes is the size of the smallest entry on the wire.
	minEntryBytes = 3
	// firstEntries bounds what is allocated on the word of a count alone.
	firstEntries = 256
)

func readEntries(r *protocol.Reader, m *Message) []protocol.Entry {
	count := r.Uvarint()
	if count > uint64(len(r.Rest))/minEntryBytes || m.At.Index > math.MaxUint64-count-1 {
		r.Fail()
	}
	if count == 0 || r.Failed() {
		return nil
	}
	entries := make([]protocol.Entry, 0, min(count, firstEntries))
	for i := range count {
		e := readEntry(r, m.Lineage)
		e.Index = m.At.Index + 1 + i
		if r.Failed() {
			return nil
		}
		entries = append(entries, e)
	}
	return entries
}

func readEntry(r *protocol.Reader, usual protocol.Lineage) protocol.Entry {
	kind := r.Byte()
	e := protocol.Entry{Kind: protocol.Kind(kind &^ entryLineage), Lineage: usual, Term: r.Uvarint()}
	if kind&entryLineage != 0 {
		e.Lineage = readLineage(r)
	}
	if e.Kind < protocol.KindNoop || e.Kind > protocol.KindBatch {
		r.Fail()
	}
	if size := r.Uvarint(); size > 0 {
		e.Data = r.Bytes(size)
	}
	return e
}
