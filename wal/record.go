package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"holdfast/protocol"
)

// A store keeps two records about itself. The head changes with almost every
// commit and has a fixed, small size, so that bbolt keeps it in the page that it
// rewrites anyway. The checkpoint record changes with a checkpoint. Each ends
// with a CRC32C over the record's name and everything before.
const (
	headVersion       = 3
	headBytes         = 1 + 8 + 16 + 11*8 + 3*24 + 4
	checkpointVersion = 1
)

// head is the record of what changes with almost every commit.
type head struct {
	identity  protocol.Identity
	boot      uint64
	counter   uint64
	hardState protocol.HardState
	promise   protocol.Attempt
	last      uint64 // index of the last entry
	frames    uint64 // number of the last frame of the journal that this contains
	// transaction is that of the database which this was committed with. A page of an
	// earlier one in the place of the root is told by it. Zero: it was made without one.
	transaction uint64
	log         account
	marks       account
	pairs       account
}

// checkpointRecord is the record of what changes with a checkpoint, or never.
type checkpointRecord struct {
	owner         Owner
	replaced      protocol.Lineage
	granted       []protocol.Attempt // every attempt that the store promised (rule P4)
	index         uint64
	horizon       uint64 // horizon <= index
	configuration protocol.Configuration
	epoch         uint64
	foundings     []protocol.Founding
	stamp         int64
}

func appendLineage(dst []byte, l protocol.Lineage) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, l.Epoch)
	return binary.LittleEndian.AppendUint64(dst, uint64(l.ID))
}

func readLineage(r *protocol.Reader) protocol.Lineage {
	epoch := r.Uint64()
	return protocol.Lineage{Epoch: epoch, ID: protocol.AttemptID(r.Uint64())}
}

func appendAccount(dst []byte, a account) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, a.count)
	dst = binary.LittleEndian.AppendUint64(dst, a.sum)
	return binary.LittleEndian.AppendUint64(dst, a.bytes)
}

func readAccount(r *protocol.Reader) account {
	count, sum := r.Uint64(), r.Uint64()
	return account{count: count, sum: sum, bytes: r.Uint64()}
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func readString(r *protocol.Reader) string { return string(r.Bytes(r.Uvarint())) }

// appendSum closes a record.
func appendSum(dst []byte, name string) []byte {
	return binary.LittleEndian.AppendUint32(dst, recordSum(dst, name))
}

func recordSum(content []byte, name string) uint32 {
	return crc32.Update(crc32.Checksum([]byte(name), castagnoli), castagnoli, content)
}

// openRecord checks a record's checksum and version and returns a reader of the rest.
func openRecord(record []byte, name string, version byte) (protocol.Reader, error) {
	if len(record) < 5 {
		return protocol.Reader{}, fmt.Errorf("decode %s record: %w", name, protocol.ErrMalformed)
	}
	content := record[:len(record)-4]
	if recordSum(content, name) != binary.LittleEndian.Uint32(record[len(record)-4:]) {
		return protocol.Reader{}, fmt.Errorf("decode %s record: checksum mismatch", name)
	}
	if err := protocol.CheckVersion("it", content[0], version); err != nil {
		return protocol.Reader{}, fmt.Errorf("decode %s record: %w", name, err)
	}
	return protocol.Reader{Rest: content[1:]}, nil
}

func appendHead(dst []byte, h *head) []byte {
	dst = append(dst, headVersion)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.identity.Store))
	dst = appendLineage(dst, h.identity.Lineage)
	for _, n := range [...]uint64{
		h.boot, h.counter,
		h.hardState.Term, uint64(h.hardState.Vote), h.hardState.Commit, h.hardState.Release,
		h.promise.Epoch, uint64(h.promise.ID), h.last, h.frames, h.transaction,
	} {
		dst = binary.LittleEndian.AppendUint64(dst, n)
	}
	dst = appendAccount(dst, h.log)
	dst = appendAccount(dst, h.marks)
	dst = appendAccount(dst, h.pairs)
	return appendSum(dst, headKey)
}

func decodeHead(record []byte) (head, error) {
	r, err := openRecord(record, headKey, headVersion)
	if err != nil {
		return head{}, err
	}
	var h head
	h.identity.Store = protocol.StoreID(r.Uint64())
	h.identity.Lineage = readLineage(&r)
	h.boot, h.counter = r.Uint64(), r.Uint64()
	h.hardState.Term, h.hardState.Vote = r.Uint64(), protocol.StoreID(r.Uint64())
	h.hardState.Commit, h.hardState.Release = r.Uint64(), r.Uint64()
	h.promise.Epoch, h.promise.ID = r.Uint64(), protocol.AttemptID(r.Uint64())
	h.last, h.frames, h.transaction = r.Uint64(), r.Uint64(), r.Uint64()
	h.log, h.marks, h.pairs = readAccount(&r), readAccount(&r), readAccount(&r)
	return h, r.Done("head record")
}

func appendCheckpointRecord(dst []byte, c *checkpointRecord) []byte {
	dst = append(dst, checkpointVersion)
	dst = appendString(dst, c.owner.Cluster)
	dst = appendString(dst, c.owner.Member)
	dst = appendLineage(dst, c.replaced)
	dst = appendGranted(dst, c.granted)
	dst = appendCheckpointState(dst, c)
	return appendSum(dst, checkpointKey)
}

func decodeCheckpointRecord(record []byte) (checkpointRecord, error) {
	r, err := openRecord(record, checkpointKey, checkpointVersion)
	if err != nil {
		return checkpointRecord{}, err
	}
	var c checkpointRecord
	c.owner.Cluster = readString(&r)
	c.owner.Member = readString(&r)
	c.replaced = readLineage(&r)
	c.granted = readGranted(&r)
	readCheckpointState(&r, &c)
	return c, r.Done("checkpoint record")
}

// appendCheckpointState appends the part that a copy for another node has too.
func appendCheckpointState(dst []byte, c *checkpointRecord) []byte {
	for _, n := range [...]uint64{c.index, c.horizon, c.epoch, uint64(c.stamp)} {
		dst = binary.LittleEndian.AppendUint64(dst, n)
	}
	dst = protocol.AppendConfiguration(dst, c.configuration)
	return appendFoundings(dst, c.foundings)
}

func appendFoundings(dst []byte, foundings []protocol.Founding) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(foundings)))
	for _, f := range foundings {
		dst = binary.LittleEndian.AppendUint64(dst, f.Index)
		dst = protocol.AppendFounding(dst, f)
	}
	return dst
}

func readCheckpointState(r *protocol.Reader, c *checkpointRecord) {
	c.index, c.horizon, c.epoch, c.stamp = r.Uint64(), r.Uint64(), r.Uint64(), int64(r.Uint64())
	c.configuration = r.Configuration()
	c.foundings = readFoundings(r)
	if c.horizon > c.index {
		r.Fail()
	}
}

func readFoundings(r *protocol.Reader) (foundings []protocol.Founding) {
	const smallestFounding = 8 + protocol.MinFoundingBytes
	count := r.Uvarint()
	if count > uint64(len(r.Rest)/smallestFounding) {
		r.Fail()
		return nil
	}
	for range count {
		foundings = append(foundings, r.Founding(r.Uint64()))
	}
	return foundings
}

// maxGranted bounds the attempts that a store remembers; the oldest are given
// up first. A grant that is forgotten costs an operator's word, never data.
const maxGranted = 1024

func appendGranted(dst []byte, granted []protocol.Attempt) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(granted)))
	for _, a := range granted {
		dst = binary.LittleEndian.AppendUint64(dst, a.Epoch)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(a.ID))
	}
	return dst
}

func readGranted(r *protocol.Reader) (granted []protocol.Attempt) {
	count := r.Uvarint()
	if count > maxGranted || count > uint64(len(r.Rest)/16) {
		r.Fail()
		return nil
	}
	for range count {
		granted = append(granted, protocol.Attempt{Epoch: r.Uint64(), ID: protocol.AttemptID(r.Uint64())})
	}
	return granted
}

// A mark is a key (index, big-endian) and a value (term, lineage, checksum).
const markValueBytes = 8 + 16 + 4

func markKey(dst []byte, m protocol.Mark) []byte {
	return binary.BigEndian.AppendUint64(dst, m.Index)
}

func appendMarkValue(dst []byte, m protocol.Mark) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, m.Term)
	dst = appendLineage(dst, m.Lineage)
	return binary.LittleEndian.AppendUint32(dst, markSum(m.Index, dst[start:]))
}

func markSum(index uint64, content []byte) uint32 {
	key := binary.BigEndian.AppendUint64(nil, index)
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, content)
}

func decodeMark(key, value []byte) (protocol.Mark, error) {
	if len(key) != 8 || len(value) != markValueBytes {
		return protocol.Mark{}, fmt.Errorf("decode mark: %w", protocol.ErrMalformed)
	}
	m := protocol.Mark{Index: binary.BigEndian.Uint64(key)}
	content := value[:markValueBytes-4]
	if markSum(m.Index, content) != binary.LittleEndian.Uint32(value[markValueBytes-4:]) {
		return protocol.Mark{}, fmt.Errorf("decode mark at %d: checksum mismatch", m.Index)
	}
	r := protocol.Reader{Rest: content}
	m.Term = r.Uint64()
	m.Lineage = readLineage(&r)
	return m, nil
}

// hashMark is what the account of the marks adds up.
func hashMark(m protocol.Mark) uint64 {
	b := markKey(make([]byte, 0, 8+markValueBytes), m)
	return hashKey(appendMarkValue(b, m))
}

// hashPair is what the account of the pairs adds up: the key with the checksum
// that is stored before the value.
func hashPair(key []byte, sum uint32) uint64 {
	b := append(make([]byte, 0, 64), key...)
	return hashKey(binary.LittleEndian.AppendUint32(b, sum))
}
