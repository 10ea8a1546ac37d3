package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// callTime bounds one request of a client.
	callTime = 2 * time.Second
	// pace is the pause of a client between two operations: this is about what is
	// lost, not about speed.
	pace = 15 * time.Millisecond
	// ackWait is how long a consumer waits for an acknowledgement.
	ackWait = 4 * time.Second
	// window is how many publishes an asynchronous publisher has outstanding.
	window = 64
)

// load is the clients, on every node, and what happened to them.
type load struct {
	cluster *cluster
	now     func() time.Duration // since the run began

	ledger, work history
	registry     *registry

	conns []*nats.Conn // two for each node, see newLoad
	// publishing and reading end those who do; reading goes on after publishing.
	publishing, reading    context.Context
	endPublishing, endRead context.CancelFunc
	publishers, consumers  sync.WaitGroup
}

const (
	ledgerStream = "LEDGER"
	workStream   = "WORK"
)

// newLoad connects clients to every node, each to that node and no other: one
// connection for what is sent, one for what is received.
func newLoad(c *cluster, now func() time.Duration) (*load, error) {
	l := &load{cluster: c, now: now, ledger: history{stream: ledgerStream}, work: history{stream: workStream}}
	for _, n := range c.nodes {
		for range 2 {
			nc, err := connect(n)
			if err != nil {
				l.close()
				return nil, err
			}
			l.conns = append(l.conns, nc)
		}
	}
	l.publishing, l.endPublishing = context.WithCancel(context.Background())
	l.reading, l.endRead = context.WithCancel(context.Background())
	return l, nil
}

// connect returns a connection to a node that comes back whenever the node does.
func connect(n *node) (*nats.Conn, error) {
	nc, err := nats.Connect(n.URL(), nats.IgnoreDiscoveredServers(), nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.ReconnectJitter(0, 0), nats.Timeout(time.Second),
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // each call tells of its own
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", n.Name, err)
	}
	return nc, nil
}

// close ends everybody.
func (l *load) close() {
	if l.endRead != nil {
		l.endPublishing()
		l.endRead()
	}
	l.publishers.Wait()
	l.consumers.Wait()
	for _, nc := range l.conns {
		nc.Close()
	}
}

// start creates streams and consumers and starts the clients.
func (l *load) start(ctx context.Context) error {
	for deadline := time.Now().Add(wholeTime); ; {
		err := l.create(ctx)
		if err == nil {
			break
		}
		// nats-server says that it is well before it knows all of its peers.
		if time.Now().After(deadline) || !wait(ctx, 500*time.Millisecond) {
			return err
		}
	}
	for i, n := range l.cluster.nodes {
		out, in := l.conns[2*i], l.conns[2*i+1]
		js, err := jetstream.New(out, jetstream.WithPublishAsyncMaxPending(window), jetstream.WithPublishAsyncTimeout(callTime))
		if err != nil {
			return err
		}
		readJS, err := jetstream.New(in, jetstream.WithDefaultTimeout(callTime))
		if err != nil {
			return err
		}
		l.publishSync(js, "plain-"+n.Name, false)
		l.publishSync(js, "once-"+n.Name, true)
		l.publishAsync(js, "async-"+n.Name)
		l.produce(js, "job-"+n.Name)
		l.readInOrder(in, readJS, n, i%2 == 0)
		l.pull(readJS, l.reader(&l.ledger, pullName), ledgerStream, pullName)
		l.pull(readJS, l.reader(&l.work, workName), workStream, workName)
		if err := l.push(in, l.reader(&l.ledger, pushName)); err != nil {
			return err
		}
		if err := l.registry.start(l, js, n); err != nil {
			return err
		}
	}
	return nil
}

const (
	pullName = "pull"
	pushName = "push"
	workName = "workers"
)

// reader returns the consumer of that name, for which clients of several nodes work.
func (l *load) reader(h *history, name string) *reader {
	for _, r := range h.readers {
		if r.name == name {
			return r
		}
	}
	r := &reader{name: name, askedFor: name != pushName}
	h.readers = append(h.readers, r)
	return r
}

// create makes what the load uses, replicated on all nodes.
func (l *load) create(ctx context.Context) error {
	js, err := jetstream.New(l.conns[0], jetstream.WithDefaultTimeout(10*time.Second))
	if err != nil {
		return err
	}
	replicas := len(l.cluster.nodes)
	for _, config := range []jetstream.StreamConfig{
		{Name: ledgerStream, Subjects: []string{"ledger.>"}, Replicas: replicas},
		{Name: workStream, Subjects: []string{"work.>"}, Replicas: replicas, Retention: jetstream.WorkQueuePolicy},
	} {
		if _, err := js.CreateStream(ctx, config); err != nil {
			return fmt.Errorf("create stream %s: %w", config.Name, err)
		}
	}
	for _, one := range []struct {
		stream string
		config jetstream.ConsumerConfig
	}{
		{ledgerStream, jetstream.ConsumerConfig{Durable: pullName}},
		{workStream, jetstream.ConsumerConfig{Durable: workName}},
	} {
		one.config.AckPolicy, one.config.AckWait = jetstream.AckExplicitPolicy, ackWait
		if _, err := js.CreateConsumer(ctx, one.stream, one.config); err != nil {
			return fmt.Errorf("create consumer %s: %w", one.config.Durable, err)
		}
	}
	_, err = js.CreatePushConsumer(ctx, ledgerStream, jetstream.ConsumerConfig{Durable: pushName, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: ackWait, MaxAckPending: 500, DeliverSubject: pushSubject, DeliverGroup: pushGroup})
	if err != nil {
		return fmt.Errorf("create consumer %s: %w", pushName, err)
	}
	l.registry, err = newRegistry(ctx, js, replicas)
	return err
}

// rest pauses a client, longer after an error, and returns false when it is to end.
func rest(ctx context.Context, err error) bool {
	if err != nil {
		return wait(ctx, 4*pace)
	}
	return wait(ctx, pace)
}

// publishSync adds a publisher to the ledger that waits for each answer. With once
// it sends each message under an ID until it is acknowledged.
func (l *load) publishSync(js jetstream.JetStream, name string, once bool) {
	p := &publisher{name: name, inOrder: true, once: once}
	l.ledger.publishers = append(l.ledger.publishers, p)
	l.publishers.Go(func() { l.send(js, p, "ledger."+name) })
}

// produce adds a publisher of jobs.
func (l *load) produce(js jetstream.JetStream, name string) {
	p := &publisher{name: name, inOrder: true, once: true}
	l.work.publishers = append(l.work.publishers, p)
	l.publishers.Go(func() { l.send(js, p, "work."+name) })
}

func (l *load) send(js jetstream.JetStream, p *publisher, subject string) {
	for i := 0; ; i++ {
		s := sent{id: fmt.Sprintf("%s-%d", p.name, i), began: l.now()}
		var options []jetstream.PublishOpt
		if p.once {
			options = append(options, jetstream.WithMsgID(s.id))
		}
		var err error
		for {
			call, cancel := context.WithTimeout(context.Background(), callTime)
			var ack *jetstream.PubAck
			ack, err = js.Publish(call, subject, payload(s.id), options...)
			cancel()
			if err == nil {
				s.seq, s.ended = ack.Sequence, l.now()
			}
			if err == nil || !p.once || !rest(l.publishing, err) {
				break
			}
		}
		p.add(s)
		if !rest(l.publishing, err) {
			return
		}
	}
}

// publishAsync adds a publisher that does not wait for answers. Its messages may
// change places when they are sent again by the client.
func (l *load) publishAsync(js jetstream.JetStream, name string) {
	p := &publisher{name: name}
	l.ledger.publishers = append(l.ledger.publishers, p)
	l.publishers.Go(func() {
		var answers sync.WaitGroup
		defer answers.Wait()
		for i := 0; ; i++ {
			s := sent{id: fmt.Sprintf("%s-%d", name, i), began: l.now()}
			future, err := js.PublishAsync("ledger."+name, payload(s.id), jetstream.WithStallWait(callTime))
			if err == nil {
				answers.Go(func() {
					select {
					case ack := <-future.Ok():
						s.seq, s.ended = ack.Sequence, l.now()
					case <-future.Err():
					}
					p.add(s)
				})
			}
			if !rest(l.publishing, err) {
				return
			}
		}
	})
}
