package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// callLimit bounds one request of a test.
const callLimit = 10 * time.Second

// connect opens an ordinary client connection to this node and no other.
func (n *node) connect(t testing.TB, options ...nats.Option) *nats.Conn {
	t.Helper()
	return connect(t, n.clientURL(), append([]nats.Option{nats.IgnoreDiscoveredServers()}, options...)...)
}

// connectAll opens one client connection that may use every node, beginning
// with the first that is given.
func connectAll(t testing.TB, nodes ...*node) *nats.Conn {
	t.Helper()
	urls := make([]string, len(nodes))
	for i, n := range nodes {
		urls[i] = n.clientURL()
	}
	return connect(t, strings.Join(urls, ","), nats.DontRandomize())
}

func connect(t testing.TB, url string, options ...nats.Option) *nats.Conn {
	t.Helper()
	options = append([]nats.Option{nats.Name(t.Name()), nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond)}, options...)
	nc, err := nats.Connect(url, options...)
	if err != nil {
		t.Fatalf("connect to %s: %v", url, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// client is what one test uses to talk to one node: both of nats.go's
// JetStream interfaces, and names that no other test uses.
type client struct {
	t      *testing.T
	nc     *nats.Conn
	js     jetstream.JetStream
	legacy nats.JetStreamContext
	ctx    context.Context
	stream string // name for the test's stream
	root   string // its subjects are root.>
}

// newClient connects a test to a node.
func newClient(t *testing.T, n *node) *client {
	t.Helper()
	return withConnection(t, n.connect(t))
}

func withConnection(t *testing.T, nc *nats.Conn) *client {
	t.Helper()
	c := &client{t: t, nc: nc, ctx: t.Context()}
	var err error
	if c.js, err = jetstream.New(nc, jetstream.WithDefaultTimeout(callLimit)); err != nil {
		t.Fatal(err)
	}
	if c.legacy, err = nc.JetStream(nats.MaxWait(callLimit)); err != nil {
		t.Fatal(err)
	}
	word := randomWord()
	c.stream, c.root = "S"+word, "s"+word
	return c
}

// subject is one of the test's subjects.
func (c *client) subject(tail string) string { return c.root + "." + tail }

// create makes the test's stream; the configuration's name and subjects are
// filled in when they are empty.
func (c *client) create(config jetstream.StreamConfig) jetstream.Stream {
	c.t.Helper()
	if config.Name == "" {
		config.Name = c.stream
	}
	if config.Subjects == nil {
		config.Subjects = []string{c.subject(">")}
	}
	s, err := c.js.CreateStream(c.ctx, config)
	if err != nil {
		c.t.Fatalf("create stream: %v", err)
	}
	underTest.settle()
	return s
}

// publish stores messages under one subject and returns the last one's PubAck.
func (c *client) publish(tail string, payloads ...string) *jetstream.PubAck {
	c.t.Helper()
	var last *jetstream.PubAck
	for _, payload := range payloads {
		ack, err := c.js.Publish(c.ctx, c.subject(tail), []byte(payload))
		if err != nil {
			c.t.Fatalf("publish %q: %v", payload, err)
		}
		last = ack
	}
	return last
}

// publishedAll waits until every asynchronous publish has an answer.
func (c *client) publishedAll() {
	c.t.Helper()
	select {
	case <-c.js.PublishAsyncComplete():
	case <-time.After(callLimit):
		c.t.Fatalf("%d publishes have no answer", c.js.PublishAsyncPending())
	}
}

// info asks for the stream's info.
func (c *client) info(s jetstream.Stream, options ...jetstream.StreamInfoOpt) *jetstream.StreamInfo {
	c.t.Helper()
	info, err := s.Info(c.ctx, options...)
	if err != nil {
		c.t.Fatalf("stream info: %v", err)
	}
	return info
}

// consumer makes a consumer of the stream.
func (c *client) consumer(s jetstream.Stream, config jetstream.ConsumerConfig) jetstream.Consumer {
	c.t.Helper()
	consumer, err := s.CreateConsumer(c.ctx, config)
	if err != nil {
		c.t.Fatalf("create consumer: %v", err)
	}
	underTest.settle()
	return consumer
}

// consumerInfo asks for the consumer's info.
func (c *client) consumerInfo(consumer jetstream.Consumer) *jetstream.ConsumerInfo {
	c.t.Helper()
	info, err := consumer.Info(c.ctx)
	if err != nil {
		c.t.Fatalf("consumer info: %v", err)
	}
	return info
}

// fetch takes exactly count messages.
func (c *client) fetch(consumer jetstream.Consumer, count int) []jetstream.Msg {
	c.t.Helper()
	batch, err := consumer.Fetch(count, jetstream.FetchMaxWait(callLimit))
	return c.drain(batch, err, count)
}

// fetchNothing expects that the consumer has no message to give now.
func (c *client) fetchNothing(consumer jetstream.Consumer) {
	c.t.Helper()
	c.fetchNow(consumer, 10, 0)
}

// fetchNow asks for so many messages and expects that there are count now. It
// returns when the server hears that nobody waits any more: nats.go tells its
// caller that a batch is over before it ends the subscription, and a message
// that becomes ready in between goes to nobody.
func (c *client) fetchNow(consumer jetstream.Consumer, ask, count int) []jetstream.Msg {
	c.t.Helper()
	before := c.nc.NumSubscriptions()
	batch, err := consumer.FetchNoWait(ask)
	messages := c.drain(batch, err, count)
	eventually(c.t, callLimit, "the subscription of a batch does not end", func() error {
		if now := c.nc.NumSubscriptions(); now > before {
			return fmt.Errorf("%d subscriptions, %d before", now, before)
		}
		return nil
	})
	return messages
}

// drain reads a batch to its end and expects count messages.
func (c *client) drain(batch jetstream.MessageBatch, err error, count int) []jetstream.Msg {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("fetch: %v", err)
	}
	var messages []jetstream.Msg
	for m := range batch.Messages() {
		messages = append(messages, m)
	}
	if err := batch.Error(); err != nil {
		c.t.Fatalf("fetch: %v", err)
	}
	if len(messages) != count {
		c.t.Fatalf("fetched %d messages %q, want %d", len(messages), payloads(messages), count)
	}
	return messages
}

// acknowledge acks messages and waits until the server knows.
func (c *client) acknowledge(messages ...jetstream.Msg) {
	c.t.Helper()
	for _, m := range messages {
		if err := m.DoubleAck(c.ctx); err != nil {
			c.t.Fatalf("acknowledge %q: %v", m.Data(), err)
		}
	}
}

// metadata reads what the ack subject of a delivery says.
func (c *client) metadata(m jetstream.Msg) *jetstream.MsgMetadata {
	c.t.Helper()
	metadata, err := m.Metadata()
	if err != nil {
		c.t.Fatalf("metadata: %v", err)
	}
	return metadata
}

// api sends a raw request to the JetStream API and returns the raw answer.
func (c *client) api(subject, body string) string {
	c.t.Helper()
	answer, err := c.nc.Request("$JS.API."+subject, []byte(body), callLimit)
	if err != nil {
		c.t.Fatalf("request $JS.API.%s: %v", subject, err)
	}
	return string(answer.Data)
}

// wantErrorCode expects an error of the JetStream API with this error code.
func (c *client) wantErrorCode(err error, code int, what string) {
	c.t.Helper()
	var api *jetstream.APIError
	if !errors.As(err, &api) || int(api.ErrorCode) != code {
		c.t.Errorf("%s: got error %v, want err_code %d", what, err, code)
	}
}

// wantError expects exactly this error.
func (c *client) wantError(err, want error, what string) {
	c.t.Helper()
	if !errors.Is(err, want) {
		c.t.Errorf("%s: got error %v, want %v", what, err, want)
	}
}

// payloads are the bodies of messages, in order.
func payloads(messages []jetstream.Msg) []string {
	words := make([]string, len(messages))
	for i, m := range messages {
		words[i] = string(m.Data())
	}
	return words
}

// numbered makes payloads prefix1 … prefixN.
func numbered(prefix string, count int) []string {
	words := make([]string, count)
	for i := range words {
		words[i] = fmt.Sprintf("%s%d", prefix, i+1)
	}
	return words
}

// check compares one value with what is wanted.
func check[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}
