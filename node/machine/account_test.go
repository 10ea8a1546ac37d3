package machine

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// streamIn creates a stream in an account.
func (w *world) streamIn(account, name string, change ...func(*server.StreamConfig)) *Stream {
	w.t.Helper()
	w.batch.SetAccount(account)
	defer w.batch.SetAccount(DefaultAccount)
	return w.stream(name, change...)
}

func TestAccountsHaveNothingToDoWithEachOther(t *testing.T) {
	w := newWorld(t)
	ours, theirs := w.stream("A"), w.streamIn("other", "A")
	if ours == theirs || ours.Account().Name() != DefaultAccount || theirs.Account().Name() != "other" {
		t.Fatal("one stream for two accounts")
	}
	w.publishAll(theirs, "a.1", "a.2")
	expect(t, "messages", theirs.State().Msgs, 2)
	expect(t, "messages of the namesake", ours.State().Msgs, 0)
	expect(t, "match", w.machine.Account("other").Match([]byte("a.x")), theirs)
	expect(t, "match", w.machine.Match([]byte("a.x")), ours)
	expect(t, "streams", len(w.machine.Streams()), 2)
	expect(t, "streams of one", len(w.machine.Account("other").Streams()), 1)

	w.batch.SetAccount("other")
	w.batch.UpdateStream(w.normalStream(streamConfig("A", func(c *server.StreamConfig) { c.Subjects = []string{"b"} })))
	expect(t, "update", w.one().Err, nil)
	w.batch.UpdateStream(w.normalStream(streamConfig("B")))
	expect(t, "update of none", w.one().Err.ErrCode, uint16(server.JSStreamNotFoundErr))
	w.batch.SetAccount(DefaultAccount)
	expect(t, "match after the update", w.machine.Account("other").Match([]byte("a.x")), nil)
	expect(t, "match of the namesake", w.machine.Match([]byte("a.x")), ours)

	puts, _ := w.machine.Checkpoint()
	again, err := Restore(Options{BlockMessages: 8}, w.index, 0, w.machine.Stamp(), func(yield func(key, value []byte) error) error {
		for _, p := range puts {
			if err := yield(p.Key, p.Value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "digest after restore", again.Digest(), w.machine.Digest())
	expect(t, "match after restore", again.Account("other").Match([]byte("b")).Incarnation(), theirs.Incarnation())

	w.batch.DeleteStream(theirs.Incarnation())
	w.apply()
	expect(t, "deleted", w.machine.Account("other").Stream("A"), nil)
	expect(t, "the namesake", w.machine.Stream("A"), ours)
}

func TestAccountNamesAreBounded(t *testing.T) {
	w := newWorld(t)
	w.batch.SetAccount(string(make([]byte, maxAccountName+1)))
	w.batch.CreateStream(w.normalStream(streamConfig("A")))
	if err := w.machine.Apply(1, w.batch.Bytes(), &w.results); err == nil {
		t.Error("applied")
	}
}

// The mirrors of a stream are known without a look at all streams.
func TestMirrorsOf(t *testing.T) {
	w := newWorld(t)
	w.stream("O")
	mirror := func(c *server.StreamConfig) { c.Subjects, c.Mirror = nil, &server.StreamSource{Name: "O"} }
	for _, name := range []string{"M2", "M1", "M3"} {
		w.stream(name, mirror)
	}
	expect(t, "mirrors", fmt.Sprint(w.machine.Account(DefaultAccount).MirrorsOf("O")), "[M1 M2 M3]")
	if err := w.updateStream("M1", func(c *server.StreamConfig) { c.Mirror, c.Subjects = nil, []string{"m"} }); err != nil {
		t.Fatal(err)
	}
	w.batch.DeleteStream(w.machine.Stream("M3").Incarnation())
	w.apply()
	expect(t, "mirrors that are left", fmt.Sprint(w.machine.Account(DefaultAccount).MirrorsOf("O")), "[M2]")
	durable := make(map[string][]byte)
	puts, _ := w.machine.Checkpoint()
	for _, p := range puts {
		durable[string(p.Key)] = p.Value
	}
	expect(t, "after a restore", fmt.Sprint(restored(t, w.machine, durable).Account(DefaultAccount).MirrorsOf("O")), "[M2]")
	w.batch.DeleteStream(w.machine.Stream("M2").Incarnation())
	w.apply()
	expect(t, "none", len(w.machine.Account(DefaultAccount).MirrorsOf("O")), 0)
}
