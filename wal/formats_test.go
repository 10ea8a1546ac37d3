package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"
	"time"

	"holdfast/protocol"
)

// TestFormatsHaveTheirVersions has the bytes of each format that this package writes, by
// their checksum. Whoever changes one raises its version, keeps reading the one before,
// and notes the new checksum here.
func TestFormatsHaveTheirVersions(t *testing.T) {
	identity := protocol.Identity{Store: 1, Lineage: protocol.Lineage{Epoch: 2, ID: 3}}
	configuration := protocol.NewConfiguration(protocol.Voter{Name: "n1", Store: 4})
	foundings := []protocol.Founding{{Attempt: protocol.Attempt{Epoch: 5, ID: 6}, Index: 7, Voter: protocol.Voter{Name: "n2", Store: 8}}}
	sums := totals{marks: account{9, 10, 11}, pairs: account{12, 13, 14}, log: account{15, 16, 17}}
	hardState := protocol.HardState{Term: 18, Vote: 19, Commit: 20, Release: 21}
	checkpoint := checkpointRecord{
		owner: owner, replaced: protocol.Lineage{Epoch: 22, ID: 23}, granted: []protocol.Attempt{{Epoch: 24, ID: 25}},
		index: 26, horizon: 27, epoch: 28, stamp: 29, configuration: configuration, foundings: foundings,
	}
	entry := protocol.Entry{Index: 30, Term: 31, Lineage: identity.Lineage, Kind: protocol.KindBatch, Data: []byte("data")}
	write, _ := appendWrite(nil, &protocol.Write{HardState: &hardState, Entries: []protocol.Entry{entry}})
	chunk := appendRecord(beginChunk(nil), recordManifest, appendManifest(nil, &manifestContent{
		lineage: identity.Lineage, marks: 32, checkpoint: checkpoint,
		end: Extent{Last: 33, Configuration: configuration, Epoch: 34, Foundings: foundings},
	}))
	chunk = appendRecord(chunk, recordEnd, appendTotals(nil, sums))
	sealChunk(chunk, 35)
	mark := protocol.Mark{Index: 36, Term: 37, Lineage: identity.Lineage}
	piece := pieceKey{index: 38, sum: 39, header: header{kind: protocol.KindBatch, size: 40, term: 41, lineage: identity.Lineage, rest: 42}}
	var s summer
	store := appendMarkValue(markKey(nil, mark), mark)
	store = appendPieceKey(store, piece)
	for _, n := range []uint64{
		uint64(s.piece(38, 0, 41, identity.Lineage, piece.header, entry.Data)), uint64(s.piece(38, 1, 41, identity.Lineage, header{}, entry.Data)),
		uint64(s.pair([]byte("key"), entry.Data)), hashKey([]byte("key")), hashMark(mark), hashPair([]byte("key"), 52),
	} {
		store = binary.BigEndian.AppendUint64(store, n)
	}
	for _, format := range []struct {
		name    string
		version int
		written []byte
		want    string
	}{
		{"head record", headVersion, appendHead(nil, &head{
			identity: identity, boot: 43, counter: 44, hardState: hardState, promise: protocol.Attempt{Epoch: 45, ID: 46},
			last: 47, frames: 48, transaction: 53, log: sums.log, marks: sums.marks, pairs: sums.pairs,
		}), "3 3eecd6e2"},
		{"keys, values and sums of the store", headVersion, store, "3 aab7576e"},
		{"checkpoint record", checkpointVersion, appendCheckpointRecord(nil, &checkpoint), "1 8e0cef77"},
		{"what a frame writes", frameVersion, write, "2 581e82e8"},
		{"chunk of a copy", chunkVersion, chunk, "1 a1b39bb9"},
		{"current", pointerVersion, encodePointer(&pointer{owner: owner, serial: 49, current: true, identity: identity, replaced: checkpoint.replaced, aside: note{
			serial: 50, identity: identity, reason: "reason", time: time.Unix(51, 0),
		}}), "1 2669630e"},
		{"note", noteVersion, encodeNote(&note{serial: 50, identity: identity, reason: "reason", time: time.Unix(51, 0)}), "1 ffb1c51c"},
	} {
		sum := fmt.Sprintf("%d %08x", format.version, crc32.ChecksumIEEE(format.written))
		if sum != format.want {
			t.Errorf("%s: version and checksum are %q, they were %q", format.name, sum, format.want)
		}
	}
}
