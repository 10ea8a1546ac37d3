package machine

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// limitAccount sets limits that differ from the default as change says.
func (w *world) limitAccount(account string, change func(*AccountLimits)) {
	w.t.Helper()
	limits := DefaultLimits
	change(&limits)
	w.batch.SetAccount(account)
	w.batch.LimitAccount(&limits)
	w.batch.SetAccount(DefaultAccount)
	expectRefusal(w.t, "limits", w.one().Err, 0)
}

func expectRefusal(t testing.TB, what string, err *server.ApiError, code server.ErrorIdentifier) {
	t.Helper()
	got := uint16(0)
	if err != nil {
		got = err.ErrCode
	}
	if got != uint16(code) {
		t.Errorf("%s: %v, want %d", what, err, code)
	}
}

func (w *world) tryStream(account, name string, change ...func(*server.StreamConfig)) *server.ApiError {
	w.t.Helper()
	w.batch.SetAccount(account)
	defer w.batch.SetAccount(DefaultAccount)
	w.batch.CreateStream(w.normalStream(streamConfig(name, change...)))
	return w.one().Err
}

func TestStreamsOfALimitedAccount(t *testing.T) {
	w := newWorld(t)
	w.limitAccount("a", func(l *AccountLimits) { l.MaxStreams = 2 })
	w.streamIn("a", "A")
	w.streamIn("a", "B")
	expectRefusal(t, "a third stream", w.tryStream("a", "C"), server.JSMaximumStreamsLimitErr)
	expectRefusal(t, "the second one again", w.tryStream("a", "B"), 0)
	expectRefusal(t, "a stream of another account", w.tryStream("b", "C"), 0)
	w.batch.SetAccount("a")
	w.batch.BeginIntake(w.normalStream(streamConfig("C")), 0)
	w.batch.SetAccount(DefaultAccount)
	expectRefusal(t, "a restore", w.one().Err, server.JSMaximumStreamsLimitErr)

	w.limitAccount("a", func(l *AccountLimits) { l.MaxStreams = 1 }) // nothing goes
	expect(t, "streams", w.machine.Account("a").StreamCount(), 2)
	w.batch.DeleteStream(w.machine.Account("a").Stream("A").Incarnation())
	w.apply()
	expectRefusal(t, "a second stream", w.tryStream("a", "C"), server.JSMaximumStreamsLimitErr)
}

func TestBytesThatStreamsReserve(t *testing.T) {
	w := newWorld(t)
	w.limitAccount("a", func(l *AccountLimits) {
		l.MaxStore, l.MaxMemory, l.StoreMaxStreamBytes, l.MaxBytesRequired = 1000, 500, 900, true
	})
	sized := func(bytes int64, replicas int, storage server.StorageType) func(*server.StreamConfig) {
		return func(c *server.StreamConfig) { c.MaxBytes, c.Replicas, c.Storage = bytes, replicas, storage }
	}
	expectRefusal(t, "no limit of bytes", w.tryStream("a", "A", sized(0, 1, server.FileStorage)), server.JSStreamMaxBytesRequired)
	expectRefusal(t, "beyond the limit of a stream", w.tryStream("a", "A", sized(901, 1, server.FileStorage)), server.JSStreamMaxStreamBytesExceeded)
	expectRefusal(t, "three replicas", w.tryStream("a", "A", sized(400, 3, server.FileStorage)), server.JSStorageResourcesExceededErr)
	s := w.streamIn("a", "A", sized(200, 3, server.FileStorage))
	expectRefusal(t, "more than what is left", w.tryStream("a", "B", sized(401, 1, server.FileStorage)), server.JSStorageResourcesExceededErr)
	expectRefusal(t, "more memory than there is", w.tryStream("a", "B", sized(501, 1, server.MemoryStorage)), server.JSMemoryResourcesExceededErr)
	w.streamIn("a", "B", sized(400, 1, server.FileStorage))
	w.streamIn("a", "M", sized(500, 1, server.MemoryStorage))
	memory, store := w.machine.Account("a").Reserved()
	expect(t, "reserved", [2]uint64{memory, store}, [2]uint64{500, 600})

	update := func(bytes int64) *server.ApiError {
		config := *s.Config()
		config.MaxBytes = bytes
		w.batch.SetAccount("a")
		w.batch.UpdateStream(w.normalStream(&config))
		w.batch.SetAccount(DefaultAccount)
		return w.one().Err
	}
	expectRefusal(t, "an update to more", update(201), server.JSStorageResourcesExceededErr)
	expectRefusal(t, "an update to less", update(100), 0)
	expectRefusal(t, "an update to none", update(0), server.JSStreamMaxBytesRequired)
}

func TestMessagesOfALimitedAccount(t *testing.T) {
	w := newWorld(t)
	one, three := w.streamIn("a", "A"), w.streamIn("a", "B", func(c *server.StreamConfig) { c.Replicas, c.AllowAtomicPublish = 3, true })
	w.publish(one, "a.1")
	size := one.State().Bytes
	w.limitAccount("a", func(l *AccountLimits) { l.MaxStore = int64(5 * size) })
	expectRefusal(t, "room for three replicas", w.publish(three, "b.1").Err, 0)
	_, store := w.machine.Account("a").Usage()
	expect(t, "usage", store, 4*size)
	expectRefusal(t, "three replicas once more", w.publish(three, "b.2").Err, server.JSAccountResourcesExceededErr)
	expectRefusal(t, "what just fits", w.publish(one, "a.2").Err, 0)
	expectRefusal(t, "one too many", w.publish(one, "a.3").Err, server.JSAccountResourcesExceededErr)

	memory := w.streamIn("a", "M", func(c *server.StreamConfig) { c.Storage = server.MemoryStorage })
	expectRefusal(t, "memory is another limit", w.publish(memory, "m.1").Err, 0)
	w.batch.PurgeStream(three.Incarnation(), server.JSApiStreamPurgeRequest{})
	w.apply()
	// A batch has room as a whole or not at all.
	w.batch.BeginAtomic(three.Incarnation())
	for range 2 {
		w.batch.Publish(three.Incarnation(), []byte("b.3"), nil, []byte("payload of b.3"))
	}
	w.batch.EndAtomic()
	expectRefusal(t, "a batch", w.apply().Slots[0].Err, server.JSAccountResourcesExceededErr)
	expect(t, "messages", three.State().Msgs, 0)
	expectRefusal(t, "after the purge", w.publish(three, "b.4").Err, 0)

	// Bytes follow a change of replicas, and leave with the stream.
	config := *three.Config()
	config.Replicas = 1
	w.batch.SetAccount("a")
	w.batch.UpdateStream(w.normalStream(&config))
	w.batch.SetAccount(DefaultAccount)
	expectRefusal(t, "fewer replicas", w.one().Err, 0)
	_, store = w.machine.Account("a").Usage()
	expect(t, "usage with fewer replicas", store, 3*size)
	w.batch.DeleteStream(three.Incarnation())
	w.apply()
	used, store := w.machine.Account("a").Usage()
	expect(t, "usage without the stream", store, 2*size)
	expect(t, "usage of memory", used, memory.State().Bytes)
}

// A source and a mirror wait for room as well: who takes the message in tries
// again.
func TestMessagesOfOtherStreamsNeedRoom(t *testing.T) {
	w := newWorld(t)
	s := w.streamIn("a", "M", func(c *server.StreamConfig) { c.Subjects, c.Mirror = nil, &server.StreamSource{Name: "O"} })
	w.limitAccount("a", func(l *AccountLimits) { l.MaxStore = 1 })
	take := func() *server.ApiError {
		w.batch.StoreFrom(s.Incarnation(), &Origin{Seq: 1, Stamp: epoch}, []byte("o.1"), nil, []byte("x"))
		return w.apply().Slots[1].Err
	}
	expectRefusal(t, "without room", take(), server.JSAccountResourcesExceededErr)
	w.limitAccount("a", func(l *AccountLimits) { l.MaxStore = 100 })
	expectRefusal(t, "with room", take(), 0)
	expect(t, "messages", s.State().Msgs, 1)
}

func TestConsumersOfALimitedAccount(t *testing.T) {
	w := newWorld(t)
	w.limitAccount("a", func(l *AccountLimits) { l.MaxConsumers, l.DefaultMaxConsumers = 2, 1 })
	s := w.streamIn("a", "A")
	expectRefusal(t, "a stream with more consumers", w.tryStream("a", "B", func(c *server.StreamConfig) { c.MaxConsumers = 3 }), server.JSMaximumConsumersLimitErr)
	try := func(s *Stream, name string) *server.ApiError {
		return w.tryConsumer(s, server.ActionCreateOrUpdate, server.ConsumerConfig{Durable: name}).Err
	}
	expectRefusal(t, "one consumer", try(s, "1"), 0)
	expectRefusal(t, "another one", try(s, "2"), 0)
	expectRefusal(t, "one too many", try(s, "3"), server.JSMaximumConsumersLimitErr)
	expectRefusal(t, "one that is there", try(s, "1"), 0)

	w.limitAccount("b", func(l *AccountLimits) { l.DefaultMaxConsumers = 1 })
	other := w.streamIn("b", "B")
	expectRefusal(t, "by default", try(other, "1"), 0)
	expectRefusal(t, "beyond the default", try(other, "2"), server.JSMaximumConsumersLimitErr)
	w.limitAccount("b", func(l *AccountLimits) { l.DefaultMaxConsumers = -1 })
	expectRefusal(t, "without a default", try(other, "2"), 0)
	w.limitAccount("b", func(l *AccountLimits) { *l = DefaultLimits })
	expect(t, "consumers by JetStream's default", other.maxConsumers(), server.JSDefaultMaxConsumersPerStream)
}

// Limits are in the durable state: the last ones of an account, once.
func TestLimitsAreRestored(t *testing.T) {
	w := newWorld(t)
	pairs := make(map[string][]byte)
	save := func() {
		puts, deletes := w.machine.Checkpoint()
		for _, key := range deletes {
			delete(pairs, string(key))
		}
		for _, p := range puts {
			pairs[string(p.Key)] = p.Value
		}
	}
	w.limitAccount("a", func(l *AccountLimits) { l.MaxStore = 1000 })
	save()
	w.limitAccount("b", func(l *AccountLimits) { l.MaxStreams = 1 })
	w.limitAccount("a", func(l *AccountLimits) { l.MaxStore = 2000 })
	s := w.streamIn("a", "A")
	w.publish(s, "a.1")
	save()
	again, err := Restore(Options{BlockMessages: 8}, w.index, 0, w.machine.Stamp(), func(yield func(key, value []byte) error) error {
		for key, value := range pairs {
			if err := yield([]byte(key), value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "digest", again.Digest(), w.machine.Digest())
	expect(t, "limit", again.Account("a").Limits().MaxStore, 2000)
	expect(t, "limit of another account", again.Account("b").Limits().MaxStreams, 1)
	_, store := again.Account("a").Usage()
	expect(t, "usage", store, s.State().Bytes)
	w.limitAccount("b", func(l *AccountLimits) { *l = DefaultLimits })
	if again.Digest() == w.machine.Digest() {
		t.Error("limits are not part of the state's digest")
	}
}
