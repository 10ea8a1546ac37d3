package machine

import (
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/protocol"
)

type Options struct{}
type Machine struct{}

// New returns an empty machine.
func New(Options) *Machine { return &Machine{} }

// Restore returns the machine that a series of checkpoints describes.
func Restore(opt Options, applied, horizon uint64, stamp int64, pairs func(yield func(key, value []byte) error) error) (*Machine, error) {
	return nil, nil
}

// Apply applies the entry at index. An error means data that cannot be decoded: damage.
func (m *Machine) Apply(index uint64, data []byte, out *Results) error { return nil }

// Skip notes an entry of another kind at index.
func (m *Machine) Skip(index uint64) {}

func (m *Machine) Applied() uint64                        { return 0 }
func (m *Machine) Stamp() int64                           { return 0 }
func (m *Machine) Stream(name string) *Stream             { return nil }
func (m *Machine) StreamOf(inc Incarnation) *Stream       { return nil }
func (m *Machine) Match(subject []byte) *Stream           { return nil }
func (m *Machine) Streams() []*Stream                     { return nil }
func (m *Machine) Consumer(stream, name string) *Consumer { return nil }
func (m *Machine) ConsumerOf(inc Incarnation) *Consumer   { return nil }

// NextExpiry is the stamp at which a tick becomes useful, 0 for none.
func (m *Machine) NextExpiry() int64                                    { return 0 }
func (m *Machine) Checkpoint() (puts []protocol.Pair, deletes [][]byte) { return nil, nil }
func (m *Machine) Dead(horizon uint64) []uint64                         { return nil }

// Live reports whether the entry at index holds a live message.
func (m *Machine) Live(index uint64) bool { return false }
func (m *Machine) Digest() uint64         { return 0 }

type Stream struct{}

func (s *Stream) Incarnation() Incarnation     { return 0 }
func (s *Stream) Name() string                 { return "" }
func (s *Stream) Config() *server.StreamConfig { return nil }
func (s *Stream) Created() time.Time           { return time.Time{} }

// State is the stream's state; Subjects and Deleted are not filled in.
func (s *Stream) State() server.StreamState                      { return server.StreamState{} }
func (s *Stream) Deleted() []uint64                              { return nil }
func (s *Stream) Message(seq uint64) (Stored, bool)              { return Stored{}, false }
func (s *Stream) Last(subject string) (Stored, bool)             { return Stored{}, false } // subject may have wildcards
func (s *Stream) Next(from uint64, filter string) (Stored, bool) { return Stored{}, false }
func (s *Stream) Subjects(filter string) []SubjectCount          { return nil }
func (s *Stream) Consumers() []*Consumer                         { return nil }
func (s *Stream) Consumer(name string) *Consumer                 { return nil }

// SubjectCount is a subject of a stream with the number of its messages.
type SubjectCount struct {
	Subject     string
	Messages    uint64
	First, Last uint64 // sequences
}

type Consumer struct{}

func (c *Consumer) Incarnation() Incarnation       { return 0 }
func (c *Consumer) Stream() *Stream                { return nil }
func (c *Consumer) Name() string                   { return "" }
func (c *Consumer) Config() *server.ConsumerConfig { return nil }
func (c *Consumer) Created() time.Time             { return time.Time{} }
func (c *Consumer) State() ConsumerState           { return ConsumerState{} }

// Ready is how many messages a Deliver at that stamp would hand out.
func (c *Consumer) Ready(now int64) int { return 0 }

// NextSize is the size (subject, header and payload) of the message that a Deliver at that stamp would hand out first; 0: none.
func (c *Consumer) NextSize(now int64) int { return 0 }

// NextDue is the stamp at which a redelivery becomes due, 0 for none.
func (c *Consumer) NextDue() int64 { return 0 }

// ConsumerState holds the numbers of server.ConsumerInfo.
type ConsumerState struct {
	Delivered      server.SequenceInfo
	AckFloor       server.SequenceInfo
	NumAckPending  int
	NumRedelivered int
	NumPending     uint64
}

// Limits are what the configuration of the node allows.
type Limits struct {
	MaxAckPending   int           // 0: no limit
	MaxRequestBatch int           // 0: no limit
	Duplicates      time.Duration // largest duplicate window; 0: no limit
}

// NormalizeStream returns a copy of config with the defaults filled in, or why it is invalid.
func NormalizeStream(config *server.StreamConfig, limits Limits, pedantic bool) (*server.StreamConfig, *server.ApiError) {
	return nil, nil
}

// NormalizeConsumer does the same for a consumer of a stream.
func NormalizeConsumer(config *server.ConsumerConfig, stream *server.StreamConfig, limits Limits, pedantic bool) (*server.ConsumerConfig, *server.ApiError) {
	return nil, nil
}
