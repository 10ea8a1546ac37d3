package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	pushSubject = "deliver.push"
	pushGroup   = "crew"
	// batchSize is how many messages a client asks for at once.
	batchSize = 20
)

// readInOrder adds a reader of the whole ledger through one node: by a push or by a
// pull consumer of the client library that keeps the order by itself, and is begun
// again where it was when it gives up.
func (l *load) readInOrder(nc *nats.Conn, js jetstream.JetStream, n *node, push bool) {
	r := &reader{ordered: true, name: "ordered-pull-" + n.Name}
	read := func() error { return l.orderedPull(js, r) }
	if push {
		r.name = "ordered-push-" + n.Name
		read = func() error { return l.orderedPush(nc, r) }
	}
	l.ledger.readers = append(l.ledger.readers, r)
	l.consumers.Go(func() {
		for {
			err := read()
			if !rest(l.reading, errors.Join(err, errEnded)) {
				return
			}
		}
	})
}

// errEnded: a reader has to begin again.
var errEnded = errors.New("ended")

func (l *load) orderedPull(js jetstream.JetStream, r *reader) error {
	call, cancel := context.WithTimeout(l.reading, callTime)
	defer cancel()
	consumer, err := js.OrderedConsumer(call, ledgerStream, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.last() + 1})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(batchSize*5), jetstream.PullExpiry(2*time.Second), jetstream.PullHeartbeat(500*time.Millisecond))
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(l.reading))
		if err != nil {
			return err
		}
		metadata, err := m.Metadata()
		if err != nil {
			return err
		}
		r.add(delivery{seq: metadata.Sequence.Stream, id: idOf(m.Data()), came: l.now()})
	}
}

func (l *load) orderedPush(nc *nats.Conn, r *reader) error {
	js, err := nc.JetStream(nats.MaxWait(callTime))
	if err != nil {
		return err
	}
	s, err := js.SubscribeSync("ledger.>", nats.OrderedConsumer(), nats.BindStream(ledgerStream), nats.StartSequence(r.last()+1), nats.IdleHeartbeat(500*time.Millisecond))
	if err != nil {
		return err
	}
	defer s.Unsubscribe()
	var consumer string
	var before uint64 // the last message of the consumer before this one
	for {
		m, err := nextOf(l.reading, s)
		if err != nil {
			return err
		}
		metadata, err := m.Metadata()
		if err != nil {
			return err
		}
		if metadata.Consumer != consumer {
			consumer, before = metadata.Consumer, r.last()
		}
		// A message that comes just when a heartbeat is missed comes again: nats.go
		// (1.55, resetOrderedConsumer) chooses where the next consumer begins, and
		// lets go of its lock before the old one is cut off.
		if seq := metadata.Sequence.Stream; seq > before {
			r.add(delivery{seq: seq, id: idOf(m.Data), came: l.now()})
		}
	}
}

// silentTime is how long a subscription may bring nothing before it is made anew:
// the client library does not always notice that its consumer is gone.
const silentTime = 10 * time.Second

func nextOf(ctx context.Context, s *nats.Subscription) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, silentTime)
	defer cancel()
	return s.NextMsgWithContext(ctx)
}

// pull adds a client to a durable consumer: it asks for some messages, and for more
// when the server has confirmed the acknowledgements of all of them, or has let it
// wait for too long.
func (l *load) pull(js jetstream.JetStream, r *reader, stream, durable string) {
	l.consumers.Go(func() {
		var consumer jetstream.Consumer
		for {
			var err error
			if consumer == nil {
				call, cancel := context.WithTimeout(l.reading, callTime)
				consumer, err = js.Consumer(call, stream, durable)
				cancel()
			}
			if err == nil {
				err = l.fetch(consumer, r)
			} else {
				consumer = nil
			}
			if !rest(l.reading, err) {
				return
			}
		}
	})
}

func (l *load) fetch(consumer jetstream.Consumer, r *reader) error {
	asked := l.now()
	batch, err := consumer.Fetch(batchSize, jetstream.FetchMaxWait(time.Second))
	if err != nil {
		return err
	}
	var acks sync.WaitGroup
	defer acks.Wait()
	for m := range batch.Messages() {
		d := delivery{id: idOf(m.Data()), asked: asked, came: l.now()}
		metadata, err := m.Metadata()
		if err != nil {
			return err
		}
		d.seq = metadata.Sequence.Stream
		acks.Go(func() {
			call, cancel := context.WithTimeout(context.Background(), callTime)
			defer cancel()
			if m.DoubleAck(call) == nil {
				d.confirmed = l.now()
			}
			r.add(d)
		})
	}
	return batch.Error()
}

// push adds a client of a node to the queue group of the push consumer.
func (l *load) push(nc *nats.Conn, r *reader) error {
	_, err := nc.QueueSubscribe(pushSubject, pushGroup, func(m *nats.Msg) {
		metadata, err := m.Metadata()
		if err != nil {
			return // not a delivery
		}
		r.add(delivery{seq: metadata.Sequence.Stream, id: idOf(m.Data), came: l.now()})
		_ = m.Ack() // when it does not arrive, the message comes again
	})
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", pushSubject, err)
	}
	return nil
}

// drained returns nil when every consumer has got everything that there is.
func (l *load) drained(ctx context.Context, js jetstream.JetStream) error {
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	s, err := js.Stream(call, ledgerStream)
	if err != nil {
		return err
	}
	last := s.CachedInfo().State.LastSeq
	for _, r := range l.ledger.readers {
		if r.ordered && r.last() < last {
			return fmt.Errorf("reader %s got messages up to %d of %d", r.name, r.last(), last)
		}
	}
	for _, one := range []struct{ stream, consumer string }{{ledgerStream, pullName}, {ledgerStream, pushName}, {workStream, workName}} {
		var info *jetstream.ConsumerInfo
		if one.consumer == pushName {
			var c jetstream.PushConsumer
			if c, err = js.PushConsumer(call, one.stream, one.consumer); err == nil {
				info = c.CachedInfo()
			}
		} else {
			var c jetstream.Consumer
			if c, err = js.Consumer(call, one.stream, one.consumer); err == nil {
				info = c.CachedInfo()
			}
		}
		if err != nil {
			return fmt.Errorf("consumer %s: %w", one.consumer, err)
		}
		if info.NumPending > 0 || info.NumAckPending > 0 {
			return fmt.Errorf("consumer %s has %d messages to deliver and %d without an acknowledgement", one.consumer, info.NumPending, info.NumAckPending)
		}
	}
	return nil
}
