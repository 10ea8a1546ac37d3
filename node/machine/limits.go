package machine

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/protocol"
)

// The limits of an account come from the configuration of a node, but what they
// refuse is decided when an entry is applied, alike on every node. So they are a
// part of the state: whoever begins to lead writes its limits into the log, if
// they are others, ahead of everything else that it proposes. Limits that are
// lowered take nothing away that is there: what would add to it is refused.

// AccountLimits is how much an account may use.
type AccountLimits struct {
	// Limits that are not above 0 do not limit; of MaxMemory and MaxStore, those
	// below 0. MaxAckPending is of no meaning here: see Limits.
	server.JetStreamAccountLimits
	// DefaultMaxConsumers is how many consumers a stream may have if neither it
	// nor the account says so. Not above 0: no limit.
	DefaultMaxConsumers int `json:"default_max_consumers"`
}

// DefaultLimits are those of an account of which nothing is said.
var DefaultLimits = AccountLimits{
	JetStreamAccountLimits: server.JetStreamAccountLimits{
		MaxMemory: -1, MaxStore: -1, MaxStreams: -1, MaxConsumers: -1, MaxAckPending: -1, MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1,
	},
	DefaultMaxConsumers: server.JSDefaultMaxConsumersPerStream,
}

// LimitAccount sets the limits of the batch's account.
func (b *Batch) LimitAccount(limits *AccountLimits) int {
	return b.add(opLimitAccount, append(appendText(nil, b.account), encodeJSON(limits)...))
}

// Limits are those that are in force.
func (a *Account) Limits() AccountLimits { return a.limits }

// limit applies a command that sets the limits.
func (a *Account) limit(encoded []byte, result *Result) {
	limits := DefaultLimits
	if err := json.Unmarshal(encoded, &limits); err != nil {
		result.Err = server.NewJSInvalidJSONError(err)
		return
	}
	m := a.machine
	if a.limitedBy != 0 {
		m.changes.drop(objectKey(keyLimits, a.limitedBy))
	}
	a.limits, a.limitedBy = limits, newIncarnation(m.index, m.slot)
	if !slices.Contains(m.changes.accounts, a) {
		m.changes.accounts = append(m.changes.accounts, a)
	}
}

// appendLimits is the value of an account in the durable state.
func (a *Account) appendLimits(dst []byte) []byte {
	return append(appendText(dst, a.name), encodeJSON(a.limits)...)
}

func (m *Machine) restoreLimits(p protocol.Pair) error {
	r := protocol.Reader{Rest: p.Value}
	a := m.namedAccount(&r)
	if a == nil || p.Key[0] != keyLimits || len(p.Key) != 9 || a.limitedBy != 0 {
		r.Fail()
		return r.Done("limits of an account")
	}
	a.limitedBy = Incarnation(binary.BigEndian.Uint64(p.Key[1:]))
	if a.limitedBy == 0 || a.limitedBy.Index() > m.applied || json.Unmarshal(rest(&r), &a.limits) != nil {
		r.Fail()
	}
	return r.Done("limits of an account")
}

// limitedAccounts are those whose limits were set, in the order of their names.
func (m *Machine) limitedAccounts() []*Account {
	var all []*Account
	for _, a := range m.accounts {
		if a.limitedBy != 0 {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b *Account) int { return strings.Compare(a.name, b.name) })
	return all
}

// accountUsage counts the bytes of the streams of an account, by how many replicas they
// were asked to have and by where they were asked to be kept.
type accountUsage [server.StreamMaxReplicas]struct{ memory, store uint64 }

// of is where a stream of that configuration is counted.
func (u *accountUsage) of(config *server.StreamConfig) *uint64 {
	at := &u[min(replicasOf(config), server.StreamMaxReplicas)-1]
	if config.Storage == server.MemoryStorage {
		return &at.memory
	}
	return &at.store
}

func replicasOf(config *server.StreamConfig) int { return max(config.Replicas, 1) }

// Usage is how many bytes the messages of the account take, with every replica
// that their streams were asked to have.
func (a *Account) Usage() (memory, store uint64) {
	for i := range a.usage {
		memory += uint64(i+1) * a.usage[i].memory
		store += uint64(i+1) * a.usage[i].store
	}
	return memory, store
}

// Stored is how many bytes of that a member has.
func (a *Account) Stored() (memory, store uint64) {
	for i := range a.usage {
		memory, store = memory+a.usage[i].memory, store+a.usage[i].store
	}
	return memory, store
}

// Reserved is how many bytes the account's streams may take together, as far as
// they have such a limit. Replicas do not count (reservedStorage of the NATS
// server).
func (a *Account) Reserved() (memory, store uint64) {
	for _, s := range a.streams {
		if s.config.Storage == server.MemoryStorage {
			memory += uint64(max(s.config.MaxBytes, 0))
		} else {
			store += uint64(max(s.config.MaxBytes, 0))
		}
	}
	return memory, store
}

// reservation is what so many bytes of a stream count (accountReservation of the
// NATS server).
func reservation(config *server.StreamConfig, bytes int64) int64 {
	replicas := int64(replicasOf(config))
	if bytes > math.MaxInt64/replicas {
		return math.MaxInt64
	}
	return replicas * bytes
}

// admitUsage decides whether the account has room for a message, behind those of
// its batch that were checked before (wouldExceedLimits of the NATS server).
func (s *Stream) admitUsage(message *Message, content uint32, batch *batchCheck) *server.ApiError {
	limits := &s.account.limits
	limit := limits.MaxStore
	if s.config.Storage == server.MemoryStorage {
		limit = limits.MaxMemory
	}
	if limit < 0 {
		return nil
	}
	used, store := s.account.Usage()
	if s.config.Storage != server.MemoryStorage {
		used = store
	}
	more := s.size(len(message.Subject), content)
	if batch != nil {
		more += batch.bytes
	}
	if used+more*uint64(replicasOf(s.config)) > uint64(limit) {
		return server.NewJSAccountResourcesExceededError()
	}
	return nil
}

// checkStreamBytes refuses a configuration whose limit of bytes is not what the
// account requires (the end of checkStreamCfg of the NATS server).
func (a *Account) checkStreamBytes(config *server.StreamConfig) *server.ApiError {
	limit := a.limits.StoreMaxStreamBytes
	if config.Storage == server.MemoryStorage {
		limit = a.limits.MemoryMaxStreamBytes
	}
	switch {
	case a.limits.MaxBytesRequired && config.MaxBytes <= 0:
		return server.NewJSStreamMaxBytesRequiredError()
	case limit > 0 && config.MaxBytes > limit:
		return server.NewJSStreamMaxStreamBytesExceededError()
	}
	return nil
}

// admitStream decides whether the account has room for a new stream
// (jsClusteredStreamLimitsCheck of the NATS server).
func (a *Account) admitStream(config *server.StreamConfig) *server.ApiError {
	if limit := a.limits.MaxStreams; limit > 0 && len(a.streams)+len(a.intakes) >= limit {
		return server.NewJSMaximumStreamsLimitError()
	}
	bytes := config.MaxBytes
	if bytes < 0 {
		bytes = 1
	}
	return a.admitReservation(config, bytes)
}

// admitReservation decides whether the streams of the account may all become as
// large as their limits of bytes say, this one as large as bytes (checkLimits of
// the NATS server).
func (a *Account) admitReservation(config *server.StreamConfig, bytes int64) *server.ApiError {
	if limit := a.limits.MaxConsumers; config.MaxConsumers > 0 && limit > 0 && config.MaxConsumers > limit {
		return server.NewJSMaximumConsumersLimitError()
	}
	limit, refusal := a.limits.MaxStore, server.NewJSStorageResourcesExceededError
	if config.Storage == server.MemoryStorage {
		limit, refusal = a.limits.MaxMemory, server.NewJSMemoryResourcesExceededError
	}
	if limit < 0 {
		return nil
	}
	reserved := int64(0)
	for _, s := range a.streams {
		if s.config.Name != config.Name && s.config.Storage == config.Storage && s.config.MaxBytes > 0 {
			reserved = addSaturated(reserved, reservation(s.config, s.config.MaxBytes))
		}
	}
	if addSaturated(reserved, reservation(config, bytes)) > limit {
		return refusal()
	}
	return nil
}

func addSaturated(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// maxConsumers is how many consumers the stream may have; 0: no limit. What a
// backup brings back is not limited.
func (s *Stream) maxConsumers() int {
	if s.intake {
		return 0
	}
	limits := &s.account.limits
	most := max(s.config.MaxConsumers, 0)
	if limit := limits.MaxConsumers; limit > 0 && (most == 0 || limit < most) {
		most = limit
	}
	if most == 0 {
		most = max(limits.DefaultMaxConsumers, 0)
	}
	return most
}
