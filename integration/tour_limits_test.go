package integration

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

var limitFeatures = []feature{
	{"limit of messages, discard old", limitMessagesOld},
	{"limit of messages, discard new", limitMessagesNew},
	{"limit of bytes, discard old", limitBytesOld},
	{"limit of bytes, discard new", limitBytesNew},
	{"limit of age", limitAge},
	{"limit per subject, discard old", limitSubjectOld},
	{"limit per subject, discard new", limitSubjectNew},
}

func limitMessagesOld(c *client) {
	s := c.create(jetstream.StreamConfig{MaxMsgs: 3})
	c.publish("a", numbered("m", 8)...)
	checkState(c.t, c.info(s), 3, 6, 8)
	_, err := s.GetMsg(c.ctx, 5)
	c.wantError(err, jetstream.ErrMsgNotFound, "get of a discarded message")
}

func limitMessagesNew(c *client) {
	s := c.create(jetstream.StreamConfig{MaxMsgs: 3, Discard: jetstream.DiscardNew})
	c.publish("a", "1", "2", "3")
	_, err := c.js.Publish(c.ctx, c.subject("a"), []byte("4"))
	c.wantErrorCode(err, 10077, "publish into a full stream")
	checkState(c.t, c.info(s), 3, 1, 3)
	if err := s.DeleteMsg(c.ctx, 2); err != nil {
		c.t.Fatal(err)
	}
	check(c.t, "sequence after room was made", c.publish("a", "4").Sequence, 4)
}

func limitBytesOld(c *client) {
	s := c.create(jetstream.StreamConfig{MaxBytes: 2000})
	payload := make([]byte, 400)
	for range 20 {
		if _, err := c.js.Publish(c.ctx, c.subject("a"), payload); err != nil {
			c.t.Fatal(err)
		}
	}
	state := c.info(s).State
	if state.Bytes > 2000 || state.Msgs != 4 || state.LastSeq != 20 {
		c.t.Errorf("stream has %d messages, %d bytes, last %d; want 4, at most 2000, 20", state.Msgs, state.Bytes, state.LastSeq)
	}
}

func limitBytesNew(c *client) {
	s := c.create(jetstream.StreamConfig{MaxBytes: 2000, Discard: jetstream.DiscardNew})
	payload := make([]byte, 400)
	for range 4 {
		if _, err := c.js.Publish(c.ctx, c.subject("a"), payload); err != nil {
			c.t.Fatal(err)
		}
	}
	_, err := c.js.Publish(c.ctx, c.subject("a"), payload)
	c.wantErrorCode(err, 10077, "publish over the bytes")
	if _, err := c.js.Publish(c.ctx, c.subject("a"), payload[:1]); err != nil {
		c.t.Errorf("publish of what still fits: %v", err)
	}
	check(c.t, "messages", c.info(s).State.Msgs, 5)
}

func limitAge(c *client) {
	s := c.create(jetstream.StreamConfig{MaxAge: time.Second})
	c.publish("a", "1", "2", "3")
	checkState(c.t, c.info(s), 3, 1, 3)
	// Nothing is published meanwhile: age works by itself.
	eventually(c.t, callLimit, "messages do not age", func() error {
		if state := c.info(s).State; state.Msgs != 0 || state.FirstSeq != 4 || state.LastSeq != 3 {
			return fmt.Errorf("stream has %d messages, first %d, last %d", state.Msgs, state.FirstSeq, state.LastSeq)
		}
		return nil
	})
	check(c.t, "sequence after ageing", c.publish("a", "4").Sequence, 4)
}

func limitSubjectOld(c *client) {
	s := c.create(jetstream.StreamConfig{MaxMsgsPerSubject: 2})
	for range 5 {
		c.publish("a", "x")
		c.publish("b", "x")
	}
	info := c.info(s, jetstream.WithSubjectFilter(">"))
	check(c.t, "messages of a", info.State.Subjects[c.subject("a")], 2)
	check(c.t, "messages of b", info.State.Subjects[c.subject("b")], 2)
	checkState(c.t, info, 4, 7, 10)
}

func limitSubjectNew(c *client) {
	s := c.create(jetstream.StreamConfig{MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true, MaxMsgs: 100})
	c.publish("a", "x")
	_, err := c.js.Publish(c.ctx, c.subject("a"), []byte("y"))
	c.wantErrorCode(err, 10077, "publish over the limit of the subject")
	c.publish("b", "x")
	checkState(c.t, c.info(s), 2, 1, 2)
}
