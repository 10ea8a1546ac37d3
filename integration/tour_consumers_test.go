package integration

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

var consumerFeatures = []feature{
	{"consumer create", consumerCreate},
	{"consumer create refused", consumerCreateRefused},
	{"consumer update", consumerUpdate},
	{"consumer info", consumerInfo},
	{"consumer list and names", consumerListing},
	{"consumer delete", consumerDelete},
	{"ephemeral consumer", ephemeralConsumer},
}

var deliverFeatures = []feature{
	{"deliver all", deliverAll},
	{"deliver new", deliverNew},
	{"deliver last", deliverLast},
	{"deliver last per subject", deliverLastPerSubject},
	{"deliver by start sequence", deliverByStartSequence},
	{"deliver by start time", deliverByStartTime},
	{"filter subject", filterSubject},
	{"filter subjects", filterSubjects},
}

func consumerCreate(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", "1", "2")
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d", Description: "mine"})
	info := consumer.CachedInfo()
	config := info.Config
	check(c.t, "name", info.Name, "d")
	check(c.t, "stream", info.Stream, c.stream)
	check(c.t, "durable", config.Durable, "d")
	check(c.t, "description", config.Description, "mine")
	check(c.t, "ack policy", config.AckPolicy, jetstream.AckExplicitPolicy)
	check(c.t, "ack wait", config.AckWait, 30*time.Second)
	check(c.t, "deliver policy", config.DeliverPolicy, jetstream.DeliverAllPolicy)
	check(c.t, "replay policy", config.ReplayPolicy, jetstream.ReplayInstantPolicy)
	check(c.t, "max deliver", config.MaxDeliver, -1)
	check(c.t, "max ack pending", config.MaxAckPending, 1000)
	check(c.t, "max waiting", config.MaxWaiting, 512)
	check(c.t, "pending", info.NumPending, 2)
	check(c.t, "inactive threshold", config.InactiveThreshold, 0)
	if time.Since(info.Created).Abs() > time.Minute {
		c.t.Errorf("created at %v, want about now", info.Created)
	}
	// The same again is no error.
	again := c.consumer(s, jetstream.ConsumerConfig{Durable: "d", Description: "mine"})
	check(c.t, "creation of the same consumer", again.CachedInfo().Created, info.Created)
	// A name without durability.
	named := c.consumer(s, jetstream.ConsumerConfig{Name: "named"})
	check(c.t, "name", named.CachedInfo().Name, "named")
	check(c.t, "durable", named.CachedInfo().Config.Durable, "")
	check(c.t, "inactive threshold", named.CachedInfo().Config.InactiveThreshold, 5*time.Second)
}

func consumerCreateRefused(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.consumer(s, jetstream.ConsumerConfig{Durable: "d"})
	create := func(config jetstream.ConsumerConfig) error {
		_, err := s.CreateConsumer(c.ctx, config)
		return err
	}
	c.wantError(create(jetstream.ConsumerConfig{Durable: "d", AckWait: time.Second}), jetstream.ErrConsumerExists, "another configuration")
	c.wantErrorCode(create(jetstream.ConsumerConfig{Durable: "e", DeliverPolicy: jetstream.DeliverByStartSequencePolicy}), 10094, "start sequence missing")
	c.wantErrorCode(create(jetstream.ConsumerConfig{Durable: "e", OptStartSeq: 1}), 10094, "start sequence without its policy")
	c.wantErrorCode(create(jetstream.ConsumerConfig{Durable: "e", FilterSubject: c.subject("a"), FilterSubjects: []string{c.subject("b")}}), 10136, "both kinds of filter")
	c.wantErrorCode(create(jetstream.ConsumerConfig{Durable: "e", FilterSubjects: []string{c.subject("a"), c.subject("*")}}), 10138, "overlapping filters")
	_, err := s.UpdateConsumer(c.ctx, jetstream.ConsumerConfig{Durable: "e"})
	c.wantError(err, jetstream.ErrConsumerDoesNotExist, "update of an unknown consumer")
	_, err = s.Consumer(c.ctx, "e")
	c.wantError(err, jetstream.ErrConsumerNotFound, "info of an unknown consumer")
	_, err = c.js.CreateConsumer(c.ctx, c.stream+"-none", jetstream.ConsumerConfig{Durable: "d"})
	c.wantError(err, jetstream.ErrStreamNotFound, "consumer of an unknown stream")

	// The stream can bound the number of its consumers.
	few := c.create(jetstream.StreamConfig{Name: c.stream + "-few", Subjects: []string{"few." + c.root}, MaxConsumers: 1})
	c.consumer(few, jetstream.ConsumerConfig{Durable: "one"})
	_, err = few.CreateConsumer(c.ctx, jetstream.ConsumerConfig{Durable: "two"})
	c.wantErrorCode(err, 10026, "one consumer too many")
}

func consumerUpdate(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", "1", "2")
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d"})
	c.acknowledge(c.fetch(consumer, 1)...)
	updated, err := s.UpdateConsumer(c.ctx, jetstream.ConsumerConfig{Durable: "d", AckWait: time.Minute, Description: "changed"})
	if err != nil {
		c.t.Fatal(err)
	}
	info := c.consumerInfo(updated)
	check(c.t, "ack wait", info.Config.AckWait, time.Minute)
	check(c.t, "description", info.Config.Description, "changed")
	check(c.t, "ack floor", info.AckFloor.Stream, 1)
	check(c.t, "next message", string(c.fetch(updated, 1)[0].Data()), "2")
	_, err = s.UpdateConsumer(c.ctx, jetstream.ConsumerConfig{Durable: "d", DeliverPolicy: jetstream.DeliverNewPolicy})
	c.wantErrorCode(err, 10012, "update of the deliver policy")
}

func consumerInfo(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", numbered("m", 6)...)
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d"})
	messages := c.fetch(consumer, 4)
	c.acknowledge(messages[0], messages[2])
	info := c.consumerInfo(consumer)
	check(c.t, "delivered consumer sequence", info.Delivered.Consumer, 4)
	check(c.t, "delivered stream sequence", info.Delivered.Stream, 4)
	check(c.t, "ack floor consumer sequence", info.AckFloor.Consumer, 1)
	check(c.t, "ack floor stream sequence", info.AckFloor.Stream, 1)
	check(c.t, "awaiting acks", info.NumAckPending, 2)
	check(c.t, "pending", info.NumPending, 2)
	check(c.t, "redelivered", info.NumRedelivered, 0)
	check(c.t, "waiting pulls", info.NumWaiting, 0)
	if info.Delivered.Last == nil || info.AckFloor.Last == nil {
		c.t.Error("info has no times of the last delivery and ack")
	}
	m := c.metadata(messages[3])
	check(c.t, "stream in metadata", m.Stream, c.stream)
	check(c.t, "consumer in metadata", m.Consumer, "d")
	check(c.t, "stream sequence in metadata", m.Sequence.Stream, 4)
	check(c.t, "consumer sequence in metadata", m.Sequence.Consumer, 4)
	check(c.t, "deliveries in metadata", m.NumDelivered, 1)
	check(c.t, "pending in metadata", m.NumPending, 2)
	stored, err := s.GetMsg(c.ctx, 4)
	if err != nil {
		c.t.Fatal(err)
	}
	if !stored.Time.Equal(m.Timestamp) {
		c.t.Errorf("message time is %v in the delivery, %v in the stream", m.Timestamp, stored.Time)
	}
	// A pull that waits is counted.
	c.acknowledge(messages[1], messages[3])
	c.acknowledge(c.fetch(consumer, 2)...)
	batch, err := consumer.Fetch(1, jetstream.FetchMaxWait(callLimit))
	if err != nil {
		c.t.Fatal(err)
	}
	eventually(c.t, callLimit, "waiting pull is not counted", func() error {
		if n := c.consumerInfo(consumer).NumWaiting; n != 1 {
			return fmt.Errorf("%d waiting", n)
		}
		return nil
	})
	c.publish("a", "late")
	if m := <-batch.Messages(); m == nil || string(m.Data()) != "late" {
		c.t.Errorf("waiting pull got %v, want the late message", m)
	}
}

func consumerListing(c *client) {
	s := c.create(jetstream.StreamConfig{})
	want := []string{"a", "b", "c"}
	for _, name := range want {
		c.consumer(s, jetstream.ConsumerConfig{Durable: name})
	}
	var got []string
	names := s.ConsumerNames(c.ctx)
	for name := range names.Name() {
		got = append(got, name)
	}
	if slices.Sort(got); names.Err() != nil || !slices.Equal(got, want) {
		c.t.Errorf("names %q (%v), want %q", got, names.Err(), want)
	}
	got = nil
	list := s.ListConsumers(c.ctx)
	for info := range list.Info() {
		got = append(got, info.Name)
	}
	if slices.Sort(got); list.Err() != nil || !slices.Equal(got, want) {
		c.t.Errorf("list %q (%v), want %q", got, list.Err(), want)
	}
	check(c.t, "consumers of the stream", c.info(s).State.Consumers, 3)
}

func consumerDelete(c *client) {
	s := c.create(jetstream.StreamConfig{})
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d"})
	// A pull that waits hears of the end.
	batch, err := consumer.Fetch(1, jetstream.FetchMaxWait(callLimit))
	if err != nil {
		c.t.Fatal(err)
	}
	eventually(c.t, callLimit, "pull does not wait", func() error {
		if n := c.consumerInfo(consumer).NumWaiting; n != 1 {
			return fmt.Errorf("%d waiting", n)
		}
		return nil
	})
	if err := s.DeleteConsumer(c.ctx, "d"); err != nil {
		c.t.Fatal(err)
	}
	for range batch.Messages() {
		c.t.Error("deleted consumer delivers")
	}
	c.wantError(batch.Error(), jetstream.ErrConsumerDeleted, "waiting pull")
	_, err = consumer.Info(c.ctx)
	c.wantError(err, jetstream.ErrConsumerNotFound, "info after the delete")
	c.wantError(s.DeleteConsumer(c.ctx, "d"), jetstream.ErrConsumerNotFound, "the second delete")
}

func ephemeralConsumer(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", "1", "2")
	const threshold = time.Second
	created := time.Now()
	consumer := c.consumer(s, jetstream.ConsumerConfig{InactiveThreshold: threshold})
	name := consumer.CachedInfo().Name
	if name == "" {
		c.t.Fatal("ephemeral consumer has no name")
	}
	// Use keeps it, rest ends it. It may have ended if this machine paused for as long.
	for used := created; ; {
		before := time.Now()
		err := c.fetchNothingOrAck(consumer)
		if err != nil && time.Since(used) < threshold {
			c.t.Fatalf("a consumer in use: %v", err)
		}
		if err != nil || before.Sub(created) > 3*threshold/2 {
			break
		}
		used = before
		time.Sleep(2 * threshold / 5)
	}
	eventually(c.t, callLimit, "unused consumer stays", func() error {
		for other := range s.ConsumerNames(c.ctx).Name() {
			if other == name {
				return errors.New("still there")
			}
		}
		return nil
	})
}

// fetchNothingOrAck asks once, for the sake of asking.
func (c *client) fetchNothingOrAck(consumer jetstream.Consumer) error {
	c.t.Helper()
	batch, err := consumer.FetchNoWait(1)
	if err != nil {
		c.t.Fatal(err)
	}
	for m := range batch.Messages() {
		c.acknowledge(m)
	}
	return batch.Error()
}

// delivered creates a consumer and returns what it would deliver, all of it.
func (c *client) delivered(s jetstream.Stream, config jetstream.ConsumerConfig, count int) []string {
	c.t.Helper()
	consumer := c.consumer(s, config)
	check(c.t, "pending of a new consumer", consumer.CachedInfo().NumPending, uint64(count))
	if count == 0 {
		c.fetchNothing(consumer)
		return nil
	}
	messages := c.fetch(consumer, count)
	c.fetchNothing(consumer)
	return payloads(messages)
}

func (c *client) wantDelivered(s jetstream.Stream, config jetstream.ConsumerConfig, want ...string) {
	c.t.Helper()
	if got := c.delivered(s, config, len(want)); !slices.Equal(got, want) {
		c.t.Errorf("delivered %q, want %q", got, want)
	}
}

func deliverAll(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", "1", "2", "3")
	c.wantDelivered(s, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}, "1", "2", "3")
}

func deliverNew(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", "1", "2")
	consumer := c.consumer(s, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy})
	c.fetchNothing(consumer)
	c.publish("a", "3", "4")
	if got := payloads(c.fetch(consumer, 2)); !slices.Equal(got, []string{"3", "4"}) {
		c.t.Errorf("delivered %q, want only what came after the consumer", got)
	}
}

func deliverLast(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", "1", "2", "3")
	c.wantDelivered(s, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverLastPolicy}, "3")
}

func deliverLastPerSubject(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", "a1", "a2")
	c.publish("b", "b1", "b2")
	c.publish("a", "a3")
	c.publish("c", "c1")
	c.wantDelivered(s, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, FilterSubject: c.subject("*")}, "b2", "a3", "c1")
}

func deliverByStartSequence(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", numbered("m", 5)...)
	c.wantDelivered(s, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: 4}, "m4", "m5")
	if err := s.DeleteMsg(c.ctx, 4); err != nil {
		c.t.Fatal(err)
	}
	c.wantDelivered(s, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: 4}, "m5")
}

func deliverByStartTime(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", "1", "2")
	time.Sleep(50 * time.Millisecond)
	c.publish("a", "3")
	third, err := s.GetMsg(c.ctx, 3)
	if err != nil {
		c.t.Fatal(err)
	}
	start := third.Time.Add(-10 * time.Millisecond)
	c.wantDelivered(s, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &start}, "3")
	early := start.Add(-time.Hour)
	c.wantDelivered(s, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &early}, "1", "2", "3")
}

func filterSubject(c *client) {
	s := c.create(jetstream.StreamConfig{})
	for i := range 3 {
		c.publish("a.x", fmt.Sprintf("ax%d", i))
		c.publish("a.y", fmt.Sprintf("ay%d", i))
		c.publish("b", fmt.Sprintf("b%d", i))
	}
	c.wantDelivered(s, jetstream.ConsumerConfig{FilterSubject: c.subject("b")}, "b0", "b1", "b2")
	c.wantDelivered(s, jetstream.ConsumerConfig{FilterSubject: c.subject("a.*")}, "ax0", "ay0", "ax1", "ay1", "ax2", "ay2")
	c.wantDelivered(s, jetstream.ConsumerConfig{FilterSubject: c.subject("none")})
}

func filterSubjects(c *client) {
	s := c.create(jetstream.StreamConfig{})
	for i := range 2 {
		c.publish("a", fmt.Sprintf("a%d", i))
		c.publish("b", fmt.Sprintf("b%d", i))
		c.publish("c", fmt.Sprintf("c%d", i))
	}
	consumer := c.consumer(s, jetstream.ConsumerConfig{FilterSubjects: []string{c.subject("a"), c.subject("c")}})
	if got := payloads(c.fetch(consumer, 4)); !slices.Equal(got, []string{"a0", "c0", "a1", "c1"}) {
		c.t.Errorf("delivered %q", got)
	}
	c.publish("b", "b2")
	c.fetchNothing(consumer)
	c.publish("c", "c2")
	check(c.t, "next", string(c.fetch(consumer, 1)[0].Data()), "c2")
}
