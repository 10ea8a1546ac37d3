package jetstream

import (
	"bytes"
	"encoding/json"
	"math"

	"github.com/nats-io/nats-server/v2/server"
)

// ingestSubject is the subject that says which fast-ingest batch a message belongs
// to, or nil if it belongs to none. When the message came through an import of
// another account, its own reply says nothing.
func ingestSubject(m *Message) []byte {
	const servicePrefix = "_R_."
	switch {
	case len(m.Reply) <= len(server.FastBatchSuffix):
		return nil
	case bytes.HasSuffix(m.Reply, []byte(server.FastBatchSuffix)):
		return m.Reply
	case !bytes.HasPrefix(m.Reply, []byte(servicePrefix)):
		return nil
	}
	info := headerValue(m.Header, server.ClientInfoHdr)
	var client server.ClientInfo
	if info == nil || json.Unmarshal(info, &client) != nil || !bytes.HasSuffix([]byte(client.Reply), []byte(server.FastBatchSuffix)) {
		return nil
	}
	return []byte(client.Reply)
}

// fastSubject is what a reply subject says:
// PREFIX.ID.FLOW.GAPS.NUMBER.OPERATION.$FI
type fastSubject struct {
	id        []byte
	seq       uint64
	flow      uint16
	gapOk     bool
	operation int64
}

// parseFastSubject reads a reply subject that ends in .$FI; false: it is malformed.
func parseFastSubject(subject []byte) (f fastSubject, ok bool) {
	rest := subject[:len(subject)-len(server.FastBatchSuffix)]
	token := func() []byte {
		dot := bytes.LastIndexByte(rest, '.')
		if dot < 0 {
			ok = false
			return nil
		}
		last := rest[dot+1:]
		rest = rest[:dot]
		return last
	}
	ok = true
	operation, number, gaps, flow := token(), token(), token(), token()
	if f.id = token(); !ok {
		return f, false
	}
	f.operation, f.gapOk = parseSmall(operation), string(gaps) == server.FastBatchGapOk
	if f.seq, ok = parseBatchSequence(number); !ok || f.seq == 0 || f.seq > math.MaxInt64 {
		return f, false
	}
	switch f.operation {
	case server.FastBatchOpStart:
		ok = f.seq == 1
	case server.FastBatchOpAppend, server.FastBatchOpCommitEob:
		ok = f.seq > 1
	case server.FastBatchOpCommit, server.FastBatchOpPing:
	default:
		ok = false
	}
	if wanted := parseSmall(flow); wanted <= 0 {
		f.flow = 10
	} else {
		f.flow = uint16(min(wanted, math.MaxUint16))
	}
	return f, ok && (f.gapOk || string(gaps) == server.FastBatchGapFail)
}

// parseSmall reads a decimal number; what is none is -1.
func parseSmall(digits []byte) int64 {
	if n, ok := parseBatchSequence(digits); ok {
		return int64(min(n, math.MaxInt64))
	}
	return -1
}
