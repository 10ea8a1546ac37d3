package machine

import "github.com/nats-io/nats-server/v2/server"

// Location says where in the log the bytes of a message are.
type Location struct {
	Index  uint64 // of the entry
	Offset uint32 // of the publish command in the entry's data
	Size   uint32 // of the whole command; DecodeMessage takes these bytes
}

// Stored is a message of a stream, without its bytes.
type Stored struct {
	Seq   uint64
	Stamp int64 // nanoseconds since 1970; rises with Seq
	Location
}

// Delivery is one message handed out to a consumer.
type Delivery struct {
	StreamSeq   uint64
	ConsumerSeq uint64
	Deliveries  uint64 // 1 the first time
	Pending     uint64 // messages that match and were not handed out yet, after this one
	Unacked     int    // messages that were handed out and not answered, before this delivery
	Stamp       int64  // of the message, nanoseconds since 1970
	Location
}

// Result is the outcome of one command. Which fields are set depends on the
// command; Stream and Consumer are those the command was about, if they exist.
type Result struct {
	Err        *server.ApiError
	Stream     *Stream
	Consumer   *Consumer
	Seq        uint64 // publish: the sequence; purge and end: the number of messages removed; reset: where it goes on
	Last       uint64 // purge in steps: the stream's last sequence
	Duplicate  bool   // publish: Seq is that of the earlier message with this ID
	Unmet      bool   // publish: its preface does not hold; purge that keeps some: others are still going (rollup.go). Nothing happened
	Over       bool   // publish: the fast-ingest batch that it belongs to is over, nothing happened
	Created    bool   // create: it did not exist before
	Deliveries []Delivery
}

// EventKind says what happened.
type EventKind uint8

const (
	EventStored          EventKind = 1 // Stream got messages in this entry: once per stream and entry
	EventStreamCreated   EventKind = 2
	EventStreamUpdated   EventKind = 3
	EventStreamDeleted   EventKind = 4 // after an EventConsumerDeleted for each of its consumers
	EventConsumerCreated EventKind = 5
	EventConsumerUpdated EventKind = 6
	EventConsumerDeleted EventKind = 7
	EventMaxDeliveries   EventKind = 8 // Consumer gave Seq up after Deliveries tries
	EventStale           EventKind = 9 // Count commands named what is gone; Text says what
	// EventTerminated: Seq left Stream while Consumer, which had been given it,
	// had not answered. It will not be delivered again.
	EventTerminated EventKind = 10
	// EventRepublish: Stream, which republishes, stored Seq at Location. The last
	// message of its subject was Previous, 0 for none.
	EventRepublish EventKind = 40
	// EventConsumerPaused: the time until which Consumer is paused changed.
	EventConsumerPaused EventKind = 11
	// EventMirrorReady: Stream, a mirror, is close enough to its origin's end to
	// answer direct reads for it from now on.
	EventMirrorReady EventKind = 20
)

// Event is something that an entry brought about, besides its results. Stream
// and Consumer of a deletion can still be asked for their name and
// configuration.
type Event struct {
	Kind        EventKind
	Slot        int // of the command; -1 when the passing of time was the cause
	Stream      *Stream
	Consumer    *Consumer
	Seq         uint64
	ConsumerSeq uint64
	Deliveries  uint64
	Previous    uint64
	Stamp       int64 // of the message, nanoseconds since 1970
	Location    Location
	Count       int
	Text        string
}

// Results is what Apply reports about one entry. Apply reuses its memory: what
// a call before reported is gone, Deliveries included.
type Results struct {
	Index  uint64
	Stamp  int64    // of the entry, as it counts
	Slots  []Result // one per command
	Events []Event

	deliveries []Delivery
}

func (r *Results) reset(index uint64, stamp int64) {
	r.Index, r.Stamp = index, stamp
	r.Slots, r.Events, r.deliveries = r.Slots[:0], r.Events[:0], r.deliveries[:0]
}
