package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What stays for the whole run.
const (
	longStream  = "LONG"
	longBucket  = "long"
	longObjects = "long"
)

// newJobs are everything that clients do.
func newJobs() []*job {
	return []*job{
		{name: "streams", round: (*churn).streamRound},
		{name: "mirrors", round: (*churn).mirrorRound},
		{name: "pull consumers", round: (*churn).consumerRound},
		{name: "abandoned consumers", round: (*churn).abandonRound},
		{name: "push consumers", round: (*churn).pushRound},
		{name: "connections", round: (*churn).connectionRound},
		{name: "publishes", round: (*churn).publishRound},
		{name: "keys", round: (*churn).keyRound},
		{name: "buckets", round: (*churn).bucketRound},
		{name: "objects", round: (*churn).objectRound},
	}
}

func jobNames() (names []string) {
	for _, j := range newJobs() {
		names = append(names, j.name)
	}
	return names
}

const (
	// roundMessages is how many messages a round publishes.
	roundMessages = 20
	objectSize    = 200_000
)

var body = bytes.Repeat([]byte("holdfast"), 32)

// publishSome publishes and waits for all answers.
func publishSome(ctx context.Context, js jetstream.JetStream, subject string, options func(i int) []jetstream.PublishOpt) error {
	var futures []jetstream.PubAckFuture
	for i := range roundMessages {
		var o []jetstream.PublishOpt
		if options != nil {
			o = options(i)
		}
		f, err := js.PublishAsync(fmt.Sprintf("%s.%d", subject, i), body, o...)
		if err != nil {
			return err
		}
		futures = append(futures, f)
	}
	var errs error
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			errs = errors.Join(errs, err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errs
}

// streamRound creates a stream of one of the three kinds of retention, fills it,
// consumes half of it and deletes it.
func (c *churn) streamRound(ctx context.Context, on *client) (err error) {
	name := c.name("S")
	retention := jetstream.RetentionPolicy(c.number.Load() % 3)
	defer func() {
		if !c.leak {
			err = errors.Join(err, insist(ctx, func(ctx context.Context) error { return on.js.DeleteStream(ctx, name) }))
		}
	}()
	s, err := on.js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}, Replicas: clusterSize, Retention: retention})
	if err != nil {
		return err
	}
	consumer, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "d", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		return err
	}
	once := func(i int) []jetstream.PublishOpt {
		return []jetstream.PublishOpt{jetstream.WithMsgID(fmt.Sprintf("%s-%d", name, i))}
	}
	if err := publishSome(ctx, on.js, name, once); err != nil {
		return err
	}
	return fetchSome(consumer, roundMessages/2)
}

// fetchSome fetches and acknowledges messages; of every fourth it is said that it
// shall come again.
func fetchSome(consumer jetstream.Consumer, count int) error {
	batch, err := consumer.Fetch(count, jetstream.FetchMaxWait(time.Second))
	if err != nil {
		return err
	}
	i := 0
	for m := range batch.Messages() {
		if i++; i%4 == 0 {
			err = m.Nak()
		} else {
			err = m.Ack()
		}
		if err != nil {
			return err
		}
	}
	return batch.Error()
}

// mirrorRound lets a stream mirror another, or have it as its source.
func (c *churn) mirrorRound(ctx context.Context, on *client) (err error) {
	name := c.name("M")
	defer func() {
		err = errors.Join(err, insist(ctx, func(ctx context.Context) error { return on.js.DeleteStream(ctx, name) }))
	}()
	config := jetstream.StreamConfig{Name: name, Replicas: clusterSize, MaxMsgs: roundMessages}
	if c.number.Load()%2 == 0 {
		config.Mirror = &jetstream.StreamSource{Name: longStream}
	} else {
		config.Sources = []*jetstream.StreamSource{{Name: longStream, FilterSubject: longStream + ".*.1"}}
	}
	s, err := on.js.CreateStream(ctx, config)
	if err != nil {
		return err
	}
	wait(ctx, 10*pace)
	_, err = s.Info(ctx)
	return err
}

// consumerRound creates, uses and deletes a consumer of the stream that stays.
func (c *churn) consumerRound(ctx context.Context, on *client) (err error) {
	name := c.name("c")
	defer func() {
		err = errors.Join(err, insist(ctx, func(ctx context.Context) error { return on.js.DeleteConsumer(ctx, longStream, name) }))
	}()
	consumer, err := on.js.CreateConsumer(ctx, longStream, jetstream.ConsumerConfig{Durable: name, AckPolicy: jetstream.AckExplicitPolicy,
		DeliverPolicy: jetstream.DeliverLastPolicy, FilterSubjects: []string{longStream + ".*.1", longStream + ".*.2"}})
	if err != nil {
		return err
	}
	return fetchSome(consumer, 4)
}

// abandonRound leaves a consumer, and a request to it, to the server.
func (c *churn) abandonRound(ctx context.Context, on *client) error {
	consumer, err := on.js.CreateConsumer(ctx, longStream, jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy,
		InactiveThreshold: abandonTime, DeliverPolicy: jetstream.DeliverNewPolicy, FilterSubject: longStream + ".nobody"})
	if err != nil {
		return err
	}
	_, err = consumer.Fetch(10, jetstream.FetchMaxWait(abandonTime))
	wait(ctx, 5*pace)
	return err
}

// pushRound subscribes to the stream that stays by an ordered push consumer.
func (c *churn) pushRound(ctx context.Context, on *client) (err error) {
	js, err := on.conn.JetStream(nats.MaxWait(callTime))
	if err != nil {
		return err
	}
	s, err := js.SubscribeSync(longStream+".>", nats.OrderedConsumer(), nats.BindStream(longStream), nats.IdleHeartbeat(time.Second))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Unsubscribe()) }()
	for range 5 {
		call, cancel := context.WithTimeout(ctx, callTime)
		_, err := s.NextMsgWithContext(call)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// connectionRound connects, subscribes, asks for something and breaks off.
func (c *churn) connectionRound(ctx context.Context, on *client) error {
	nc, err := nats.Connect(on.node.URL(), nats.IgnoreDiscoveredServers(), nats.NoReconnect())
	if err != nil {
		return err
	}
	if c.leak {
		c.mu.Lock()
		c.leaked = append(c.leaked, nc)
		c.mu.Unlock()
	} else {
		defer nc.Close()
	}
	if _, err := nc.SubscribeSync(c.name("inbox.")); err != nil {
		return err
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(callTime))
	if err != nil {
		return err
	}
	_, err = js.AccountInfo(ctx)
	return err
}

// publishRound publishes to the stream that stays, deletes one of its messages and
// reads another. That a message is gone already is no error.
func (c *churn) publishRound(ctx context.Context, on *client) error {
	subject := c.name(longStream + ".")
	if err := publishSome(ctx, on.js, subject, nil); err != nil {
		return err
	}
	s, err := on.js.Stream(ctx, longStream)
	if err != nil {
		return err
	}
	m, err := s.GetLastMsgForSubject(ctx, subject+".1")
	if err == nil {
		err = s.DeleteMsg(ctx, m.Sequence)
	}
	var api *jetstream.APIError
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.As(err, &api) && api.Code < 500 {
		return nil
	}
	return err
}

// keyRound writes, reads, watches and deletes keys that were never there before.
func (c *churn) keyRound(ctx context.Context, on *client) error {
	kv, err := on.js.KeyValue(ctx, longBucket)
	if err != nil {
		return err
	}
	key := c.name("k")
	watch, err := kv.Watch(ctx, key)
	if err != nil {
		return err
	}
	for range 3 {
		if _, err := kv.Put(ctx, key, body); err != nil {
			return errors.Join(err, watch.Stop())
		}
	}
	_, getErr := kv.Get(ctx, key)
	return errors.Join(getErr, watch.Stop(), kv.Purge(ctx, key))
}

// bucketRound creates a bucket, uses it and deletes it.
func (c *churn) bucketRound(ctx context.Context, on *client) (err error) {
	name := c.name("b")
	defer func() {
		err = errors.Join(err, insist(ctx, func(ctx context.Context) error { return on.js.DeleteKeyValue(ctx, name) }))
	}()
	kv, err := on.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: name, Replicas: clusterSize})
	if err != nil {
		return err
	}
	revision, err := kv.Create(ctx, "key", body)
	if err == nil {
		_, err = kv.Update(ctx, "key", body, revision)
	}
	return err
}

// objectRound puts, gets and deletes an object.
func (c *churn) objectRound(ctx context.Context, on *client) error {
	objects, err := on.js.ObjectStore(ctx, longObjects)
	if err != nil {
		return err
	}
	name := c.name("o")
	if _, err := objects.PutBytes(ctx, name, bytes.Repeat(body, objectSize/len(body))); err != nil {
		return err
	}
	if _, err := objects.GetBytes(ctx, name); err != nil {
		return err
	}
	return objects.Delete(ctx, name)
}
