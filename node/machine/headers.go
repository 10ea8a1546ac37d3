package machine

import (
	"bytes"
	"math"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// publishHeaders are the headers that decide what becomes of a publish. The
// slices alias the header block; a header that is missing is nil. Of a header
// that occurs twice, the first counts.
type publishHeaders struct {
	id              []byte
	stream          []byte
	lastID          []byte
	lastSeq         []byte
	lastSubjectSeq  []byte
	lastSubject     []byte
	rollup          []byte
	ttl             []byte
	source          []byte
	increment       []byte
	atomicBatch     []byte
	rollupOfSubject bool // rollup is "sub"; otherwise, if set, it is "all"

	schedule       []byte
	scheduleTTL    []byte
	scheduleRollup []byte
	scheduleTarget []byte
	scheduleSource []byte
	scheduleNext   []byte
	scheduler      []byte
}

var (
	crlf       = []byte("\r\n")
	natsPrefix = []byte("Nats-")
)

// noHeaders are those of a message without a header block. Nobody writes to it.
var noHeaders publishHeaders

// read reads a header block. It does not allocate.
func (h *publishHeaders) read(block []byte) {
	*h = publishHeaders{}
	h.parse(block)
	h.rollupOfSubject = len(h.rollup) > 0 && bytes.EqualFold(h.rollup, []byte(server.JSMsgRollupSubject))
}

func (h *publishHeaders) parse(block []byte) {
	for {
		end := bytes.Index(block, crlf)
		if end < 0 {
			return
		}
		block = block[end+2:]
		if !bytes.HasPrefix(block, natsPrefix) {
			continue
		}
		line := block
		if end := bytes.Index(block, crlf); end >= 0 {
			line = block[:end]
		}
		key, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		if field := h.field(key); field != nil && *field == nil {
			*field = bytes.TrimLeft(value, " ")
		}
	}
}

func (h *publishHeaders) field(key []byte) *[]byte {
	switch string(key) {
	case server.JSMsgId:
		return &h.id
	case server.JSExpectedStream:
		return &h.stream
	case server.JSExpectedLastMsgId:
		return &h.lastID
	case server.JSExpectedLastSeq:
		return &h.lastSeq
	case server.JSExpectedLastSubjSeq:
		return &h.lastSubjectSeq
	case server.JSExpectedLastSubjSeqSubj:
		return &h.lastSubject
	case server.JSMsgRollup:
		return &h.rollup
	case server.JSMessageTTL:
		return &h.ttl
	case server.JSStreamSource:
		return &h.source
	case server.JSMessageIncr:
		return &h.increment
	case server.JSBatchId:
		return &h.atomicBatch
	case server.JSSchedulePattern:
		return &h.schedule
	case server.JSScheduleTTL:
		return &h.scheduleTTL
	case server.JSScheduleRollup:
		return &h.scheduleRollup
	case server.JSScheduleTarget:
		return &h.scheduleTarget
	case server.JSScheduleSource:
		return &h.scheduleSource
	case server.JSScheduleNext:
		return &h.scheduleNext
	case server.JSScheduler:
		return &h.scheduler
	}
	return nil
}

// parseSequence reads a decimal number the way the NATS server does: what is
// none becomes a number that no sequence equals.
func parseSequence(digits []byte) uint64 {
	var n uint64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return math.MaxUint64
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}

// validTTL reports whether a Nats-TTL header is well formed: "never", a
// duration of a second or more, or a number of seconds (ADR-43). Zero is "no
// time to live".
func validTTL(value []byte) (zero, ok bool) {
	text := string(value)
	if strings.EqualFold(text, "never") {
		return false, true
	}
	if d, err := time.ParseDuration(text); err == nil {
		return false, d >= time.Second
	}
	n := parseSequence(value)
	return n == 0, n <= math.MaxInt64
}
