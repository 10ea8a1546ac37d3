package integration

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var messageFeatures = []feature{
	{"message get", messageGet},
	{"message delete", messageDelete},
}

var publishFeatures = []feature{
	{"publish", publishSync},
	{"publish async", publishAsync},
	{"headers", headers},
	{"duplicate window", duplicateWindow},
	{"expected last sequence", expectedLastSequence},
	{"expected last sequence of a subject", expectedLastSubjectSequence},
	{"expected stream and message ID", expectedStreamAndID},
	{"publish without a stream", publishWithoutStream},
	{"publish too large", publishTooLarge},
}

func messageGet(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", "1", "2")
	c.publish("b.x", "3")
	c.publish("a", "4")

	m, err := s.GetMsg(c.ctx, 2)
	if err != nil {
		c.t.Fatal(err)
	}
	check(c.t, "subject", m.Subject, c.subject("a"))
	check(c.t, "sequence", m.Sequence, 2)
	check(c.t, "payload", string(m.Data), "2")
	if time.Since(m.Time).Abs() > time.Minute {
		c.t.Errorf("stored at %v, want about now", m.Time)
	}
	if m, err = s.GetLastMsgForSubject(c.ctx, c.subject("a")); err != nil {
		c.t.Fatal(err)
	}
	check(c.t, "last of a", m.Sequence, 4)
	if m, err = s.GetLastMsgForSubject(c.ctx, c.subject("b.>")); err != nil {
		c.t.Fatal(err)
	}
	check(c.t, "last of b.>", m.Sequence, 3)
	if m, err = s.GetMsg(c.ctx, 3, jetstream.WithGetMsgSubject(c.subject("a"))); err != nil {
		c.t.Fatal(err)
	}
	check(c.t, "next of a from 3", m.Sequence, 4)

	_, err = s.GetMsg(c.ctx, 5)
	c.wantError(err, jetstream.ErrMsgNotFound, "get after the end")
	_, err = s.GetLastMsgForSubject(c.ctx, c.subject("none"))
	c.wantError(err, jetstream.ErrMsgNotFound, "last of an unknown subject")
}

func messageDelete(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", numbered("m", 5)...)
	if err := s.DeleteMsg(c.ctx, 2); err != nil {
		c.t.Fatal(err)
	}
	if err := s.SecureDeleteMsg(c.ctx, 3); err != nil {
		c.t.Fatal(err)
	}
	for _, sequence := range []uint64{2, 3} {
		_, err := s.GetMsg(c.ctx, sequence)
		c.wantError(err, jetstream.ErrMsgNotFound, "get of a deleted message")
	}
	checkState(c.t, c.info(s), 3, 1, 5)
	if err := s.DeleteMsg(c.ctx, 1); err != nil {
		c.t.Fatal(err)
	}
	checkState(c.t, c.info(s), 2, 4, 5)
	for _, sequence := range []uint64{2, 77} { // deleted before, and before the first; after the end
		if err := s.DeleteMsg(c.ctx, sequence); !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) || !strings.Contains(err.Error(), "err_code=10057") {
			c.t.Errorf("delete of message %d: got error %v, want err_code=10057", sequence, err)
		}
	}
	// The last message too; its sequence is not used again.
	if err := s.DeleteMsg(c.ctx, 5); err != nil {
		c.t.Fatal(err)
	}
	checkState(c.t, c.info(s), 1, 4, 5)
	check(c.t, "sequence after deleting the last", c.publish("a", "x").Sequence, 6)
}

func publishSync(c *client) {
	c.create(jetstream.StreamConfig{})
	for i := range uint64(50) {
		ack := c.publish("a", "x")
		if ack.Stream != c.stream || ack.Sequence != i+1 || ack.Duplicate || ack.Domain != "" {
			c.t.Fatalf("PubAck %+v, want sequence %d of %s", ack, i+1, c.stream)
		}
	}
	// Any request that waits for an answer is a publish.
	answer, err := c.nc.Request(c.subject("a"), nil, callLimit)
	if err != nil {
		c.t.Fatal(err)
	}
	if want := fmt.Sprintf(`{"stream":%q,"seq":51}`, c.stream); string(answer.Data) != want && !strings.Contains(string(answer.Data), `"seq":51`) {
		c.t.Errorf("answer %s, want %s", answer.Data, want)
	}
	// And a message that nobody waits for is stored as well.
	if err := c.nc.Publish(c.subject("a"), []byte("fire and forget")); err != nil {
		c.t.Fatal(err)
	}
	eventually(c.t, callLimit, "message without a reply is not stored", func() error {
		m, err := c.legacy.GetMsg(c.stream, 52)
		if err == nil && string(m.Data) != "fire and forget" {
			c.t.Fatalf("message 52 is %q", m.Data)
		}
		return err
	})
}

func publishAsync(c *client) {
	s := c.create(jetstream.StreamConfig{})
	const count = 1000
	futures := make([]jetstream.PubAckFuture, count)
	for i := range futures {
		future, err := c.js.PublishAsync(c.subject("a"), fmt.Appendf(nil, "m%d", i+1))
		if err != nil {
			c.t.Fatal(err)
		}
		futures[i] = future
	}
	c.publishedAll()
	for i, future := range futures {
		select {
		case ack := <-future.Ok():
			// One publisher's messages stay in the order it sent them in.
			if ack.Sequence != uint64(i+1) {
				c.t.Fatalf("publish %d got sequence %d", i+1, ack.Sequence)
			}
		case err := <-future.Err():
			c.t.Fatalf("publish %d: %v", i+1, err)
		}
	}
	for _, i := range []uint64{1, 500, count} {
		m, err := s.GetMsg(c.ctx, i)
		if err != nil {
			c.t.Fatal(err)
		}
		check(c.t, "payload", string(m.Data), fmt.Sprintf("m%d", i))
	}
}

func headers(c *client) {
	s := c.create(jetstream.StreamConfig{})
	sent := nats.NewMsg(c.subject("a"))
	sent.Header.Add("Trace", "one")
	sent.Header.Add("Trace", "two")
	sent.Header.Set("Empty", "")
	sent.Data = []byte("body")
	if _, err := c.js.PublishMsg(c.ctx, sent); err != nil {
		c.t.Fatal(err)
	}
	stored, err := s.GetMsg(c.ctx, 1)
	if err != nil {
		c.t.Fatal(err)
	}
	delivered := c.fetch(c.consumer(s, jetstream.ConsumerConfig{}), 1)[0]
	for where, header := range map[string]nats.Header{"stored": stored.Header, "delivered": delivered.Headers()} {
		if !slices.Equal(header.Values("Trace"), []string{"one", "two"}) || !slices.Equal(header.Values("Empty"), []string{""}) {
			c.t.Errorf("%s header is %v, want %v", where, header, sent.Header)
		}
	}
	check(c.t, "payload", string(delivered.Data()), "body")
	check(c.t, "subject", delivered.Subject(), c.subject("a"))
	// A header without a body.
	empty := nats.NewMsg(c.subject("b"))
	empty.Header.Set("Only", "header")
	if _, err := c.js.PublishMsg(c.ctx, empty); err != nil {
		c.t.Fatal(err)
	}
	if stored, err = s.GetMsg(c.ctx, 2); err != nil {
		c.t.Fatal(err)
	}
	check(c.t, "header without body", stored.Header.Get("Only"), "header")
	check(c.t, "length of no body", len(stored.Data), 0)
}

func duplicateWindow(c *client) {
	s := c.create(jetstream.StreamConfig{Duplicates: time.Second})
	send := func(id string) *jetstream.PubAck {
		c.t.Helper()
		ack, err := c.js.Publish(c.ctx, c.subject("a"), []byte("x"), jetstream.WithMsgID(id))
		if err != nil {
			c.t.Fatal(err)
		}
		return ack
	}
	first, second := send("1"), send("1")
	check(c.t, "first is a duplicate", first.Duplicate, false)
	check(c.t, "second is a duplicate", second.Duplicate, true)
	check(c.t, "sequence of the duplicate", second.Sequence, first.Sequence)
	check(c.t, "another ID is a duplicate", send("2").Duplicate, false)
	checkState(c.t, c.info(s), 2, 1, 2)
	// Outside of the window the ID is new.
	eventually(c.t, callLimit, "duplicate window does not end", func() error {
		if send("1").Duplicate {
			return fmt.Errorf("still a duplicate")
		}
		return nil
	})
	checkState(c.t, c.info(s), 3, 1, 3)
}

func expectedLastSequence(c *client) {
	c.create(jetstream.StreamConfig{})
	send := func(option jetstream.PublishOpt) error {
		_, err := c.js.Publish(c.ctx, c.subject("a"), []byte("x"), option)
		return err
	}
	if err := send(jetstream.WithExpectLastSequence(0)); err != nil {
		c.t.Errorf("expected 0 on an empty stream: %v", err)
	}
	c.wantErrorCode(send(jetstream.WithExpectLastSequence(0)), 10071, "expected 0 on a stream with a message")
	c.wantErrorCode(send(jetstream.WithExpectLastSequence(7)), 10071, "expected too much")
	if err := send(jetstream.WithExpectLastSequence(1)); err != nil {
		c.t.Errorf("expected 1 at 1: %v", err)
	}
}

func expectedLastSubjectSequence(c *client) {
	c.create(jetstream.StreamConfig{})
	c.publish("a", "1")
	c.publish("b", "2")
	send := func(tail string, option jetstream.PublishOpt) error {
		_, err := c.js.Publish(c.ctx, c.subject(tail), []byte("x"), option)
		return err
	}
	c.wantErrorCode(send("a", jetstream.WithExpectLastSequencePerSubject(2)), 10071, "expected another subject's sequence")
	if err := send("a", jetstream.WithExpectLastSequencePerSubject(1)); err != nil { // becomes 3
		c.t.Errorf("expected the right sequence: %v", err)
	}
	if err := send("new", jetstream.WithExpectLastSequencePerSubject(0)); err != nil { // becomes 4
		c.t.Errorf("expected 0 on a new subject: %v", err)
	}
	c.wantErrorCode(send("new", jetstream.WithExpectLastSequencePerSubject(0)), 10071, "expected 0 on a known subject")
	if err := send("x.1", jetstream.WithExpectLastSequenceForSubject(3, c.subject("a"))); err != nil {
		c.t.Errorf("expected the right sequence of another subject: %v", err)
	}
	c.wantErrorCode(send("x.2", jetstream.WithExpectLastSequenceForSubject(2, c.subject("a"))), 10071, "expected an old sequence of another subject")
}

func expectedStreamAndID(c *client) {
	c.create(jetstream.StreamConfig{})
	send := func(options ...jetstream.PublishOpt) error {
		_, err := c.js.Publish(c.ctx, c.subject("a"), []byte("x"), options...)
		return err
	}
	if err := send(jetstream.WithExpectStream(c.stream), jetstream.WithMsgID("one")); err != nil {
		c.t.Errorf("expected the right stream: %v", err)
	}
	c.wantErrorCode(send(jetstream.WithExpectStream("other")), 10060, "expected another stream")
	if err := send(jetstream.WithExpectLastMsgID("one"), jetstream.WithMsgID("two")); err != nil {
		c.t.Errorf("expected the right last ID: %v", err)
	}
	c.wantErrorCode(send(jetstream.WithExpectLastMsgID("one")), 10070, "expected an old ID")
}

func publishWithoutStream(c *client) {
	_, err := c.js.Publish(c.ctx, c.subject("nobody"), nil, jetstream.WithRetryAttempts(0))
	c.wantError(err, jetstream.ErrNoStreamResponse, "publish without a stream")
	future, err := c.js.PublishAsync(c.subject("nobody"), nil, jetstream.WithRetryAttempts(1), jetstream.WithRetryWait(10*time.Millisecond))
	if err != nil {
		c.t.Fatal(err)
	}
	select {
	case ack := <-future.Ok():
		c.t.Errorf("async publish without a stream got %+v", ack)
	case err := <-future.Err():
		c.wantError(err, jetstream.ErrNoStreamResponse, "async publish without a stream")
	case <-time.After(callLimit):
		c.t.Error("async publish without a stream gets no answer")
	}
}

func publishTooLarge(c *client) {
	s := c.create(jetstream.StreamConfig{MaxMsgSize: 100})
	_, err := c.js.Publish(c.ctx, c.subject("a"), make([]byte, 101))
	c.wantErrorCode(err, 10054, "publish over the stream's limit")
	large := nats.NewMsg(c.subject("a"))
	large.Header.Set("Filler", strings.Repeat("x", 100))
	_, err = c.js.PublishMsg(c.ctx, large)
	c.wantErrorCode(err, 10054, "header over the stream's limit")
	if _, err = c.js.Publish(c.ctx, c.subject("a"), make([]byte, 100)); err != nil {
		c.t.Errorf("publish at the stream's limit: %v", err)
	}
	_, err = c.js.Publish(c.ctx, c.subject("a"), make([]byte, c.nc.MaxPayload()+1))
	c.wantError(err, nats.ErrMaxPayload, "publish over the server's limit")
	// The server's limit itself goes through, to the last byte.
	whole := c.create(jetstream.StreamConfig{Name: c.stream + "-whole", Subjects: []string{"whole." + c.root}})
	if _, err = c.js.Publish(c.ctx, "whole."+c.root, make([]byte, c.nc.MaxPayload())); err != nil {
		c.t.Errorf("publish at the server's limit: %v", err)
	}
	message := c.fetch(c.consumer(whole, jetstream.ConsumerConfig{}), 1)[0]
	check(c.t, "length of the largest message", int64(len(message.Data())), c.nc.MaxPayload())
	checkState(c.t, c.info(s), 1, 1, 1)
}
