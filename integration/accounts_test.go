package integration

import (
	"bytes"
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// accounts is what a user of nats-server has in its configuration: two accounts
// with JetStream, of which B imports the API of A, one without, and the system
// account.
const accounts = `
accounts {
	A: {
		jetstream: enabled
		users: [{user: a, password: a}]
		exports: [
			{service: "$JS.API.>", response: stream}
			{service: "$JS.ACK.>"}
			{stream: "fromA.>"}
		]
	}
	B: {
		jetstream: enabled
		users: [{user: b, password: b}]
		imports: [
			{service: {account: A, subject: "$JS.API.>"}, to: "A.API.>"}
			{service: {account: A, subject: "$JS.ACK.>"}}
			{stream: {account: A, subject: "fromA.>"}}
		]
	}
	C: {users: [{user: c, password: c}]}
	SYS: {users: [{user: s, password: s}]}
}
system_account: SYS
`

// startAccounts starts a cluster of three with these accounts.
func startAccounts(t *testing.T) *cluster {
	c := newCluster(t, 3)
	c.include = accounts
	for _, n := range c.nodes {
		n.configure(t, c)
		n.start(t)
	}
	c.waitReady(t)
	return c
}

// in connects to a node as the user of an account.
func in(t *testing.T, n *node, account string) *client {
	t.Helper()
	return withConnection(t, n.connect(t, nats.UserInfo(account, account)))
}

// Two accounts have streams of the same name and subjects, and neither sees
// the other's, whichever node it uses and whoever leads.
func TestAccountsHaveTheirOwnStreams(t *testing.T) {
	t.Parallel()
	c := startAccounts(t)
	config := jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}, Replicas: 3}
	names := []string{"a", "b"}
	clients := make([]*client, len(names))
	streams := make([]jetstream.Stream, len(names))
	for i, name := range names {
		clients[i] = in(t, c.nodes[i+1], name)
		eventually(t, readyLimit, "the account is not ready", func() error {
			_, err := clients[i].js.AccountInfo(clients[i].ctx)
			return err
		})
		var err error
		if streams[i], err = clients[i].js.CreateStream(clients[i].ctx, config); err != nil {
			t.Fatalf("account %s: %v", name, err)
		}
	}
	underTest.settle()
	for i, count := range []int{1, 2} {
		for range count {
			if _, err := clients[i].js.Publish(clients[i].ctx, "orders.new", []byte(names[i])); err != nil {
				t.Fatalf("account %s: %v", names[i], err)
			}
		}
	}
	look := func() {
		t.Helper()
		for i, count := range []uint64{1, 2} {
			check(t, "messages in account "+names[i], clients[i].info(streams[i]).State.Msgs, count)
			m, err := streams[i].GetMsg(clients[i].ctx, 1)
			if err != nil {
				t.Fatal(err)
			}
			check(t, "message in account "+names[i], string(m.Data), names[i])
		}
	}
	look()
	info, err := clients[1].js.AccountInfo(clients[1].ctx)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "streams of b", info.Streams, 1)

	none := in(t, c.nodes[0], "c")
	if _, err := none.js.AccountInfo(none.ctx); !errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		t.Errorf("account without JetStream: %v, want %v", err, jetstream.ErrJetStreamNotEnabledForAccount)
	}
	if err := clients[1].js.DeleteStream(clients[1].ctx, "ORDERS"); err != nil {
		t.Fatal(err)
	}
	check(t, "messages in account a", clients[0].info(streams[0]).State.Msgs, 1)
}

// The API of one account is used from another, which imports it: pulls, acks and
// deliveries pass between them, and a stream of one sources from one of the other.
func TestAccountsImportTheAPI(t *testing.T) {
	t.Parallel()
	c := startAccounts(t)
	a, b := in(t, c.nodes[1], "a"), in(t, c.nodes[2], "b")
	eventually(t, readyLimit, "the accounts are not ready", func() error {
		_, err := a.js.AccountInfo(a.ctx)
		if err == nil {
			_, err = b.js.AccountInfo(b.ctx)
		}
		return err
	})
	if _, err := a.js.CreateStream(a.ctx, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	underTest.settle()
	for _, payload := range []string{"one", "two", "three"} {
		if _, err := a.js.Publish(a.ctx, "orders.new", []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	other, err := jetstream.NewWithAPIPrefix(b.nc, "A.API", jetstream.WithDefaultTimeout(callLimit))
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := other.CreateConsumer(b.ctx, "ORDERS", jetstream.ConsumerConfig{Durable: "C", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	underTest.settle()
	batch, err := consumer.Fetch(3, jetstream.FetchMaxWait(callLimit))
	got := b.drain(batch, err, 3)
	check(t, "subject", got[0].Subject(), "orders.new")
	for _, m := range got {
		if err := m.DoubleAck(b.ctx); err != nil {
			t.Fatalf("acknowledge from the other account: %v", err)
		}
	}
	info, err := consumer.Info(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "ack floor", info.AckFloor.Stream, 3)

	sourced, err := b.js.CreateStream(b.ctx, jetstream.StreamConfig{Name: "COPY", Sources: []*jetstream.StreamSource{
		{Name: "ORDERS", External: &jetstream.ExternalStream{APIPrefix: "A.API", DeliverPrefix: "fromA"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, readyLimit, "not sourced", func() error {
		if n := b.info(sourced).State.Msgs; n != 3 {
			return errors.New("not all messages are there")
		}
		return nil
	})
}

// The system account asks the leader to step down, and the accounts go on.
func TestTheSystemAccountMovesTheLeader(t *testing.T) {
	t.Parallel()
	c := startAccounts(t)
	leader := c.waitReady(t)
	sys := in(t, c.others(leader)[0], "s")
	eventually(t, readyLimit, "nobody steps down", func() error {
		m, err := sys.nc.Request("$JS.API.META.LEADER.STEPDOWN", nil, callLimit)
		if err == nil && !bytes.Contains(m.Data, []byte(`"success":true`)) {
			err = errors.New(string(m.Data))
		}
		return err
	})
	eventually(t, readyLimit, "the leader is the same", func() error {
		if c.waitReady(t) == leader {
			return errors.New(leader.name + " leads")
		}
		return nil
	})
	b := in(t, leader, "b")
	eventually(t, readyLimit, "no JetStream after the change", func() error {
		_, err := b.js.AccountInfo(b.ctx)
		return err
	})
}
