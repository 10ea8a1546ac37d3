// Steady publishes ten messages a second through any node of a cluster, reads
// each of them back, and says when that took long: something to look at while
// you stop, kill and wipe nodes. It is an ordinary NATS client and knows nothing
// of Holdfast. It publishes as anybody should who wants each message stored
// once: under an ID, again and again until there is an answer.
//
//	go run ./examples/steady nats://127.0.0.1:4221,nats://127.0.0.1:4222
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	stream = "STEADY"
	pace   = 100 * time.Millisecond
	slow   = 100 * time.Millisecond
	answer = 500 * time.Millisecond // after which a publish is tried again
)

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	servers := nats.DefaultURL
	if len(os.Args) > 1 {
		servers = os.Args[1]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, servers); err != nil {
		log.Fatal(err)
	}
}

// run publishes until ctx ends.
func run(ctx context.Context, servers string) error {
	nc, err := nats.Connect(servers, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", servers, err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	s, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: stream, Subjects: []string{"steady.>"}, Replicas: 3, MaxAge: time.Hour})
	if err != nil {
		return fmt.Errorf("create stream: %w", err)
	}
	started := time.Now().UnixMilli()
	ticks := time.NewTicker(pace)
	defer ticks.Stop()
	for count := 1; ; count++ {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
		began := time.Now()
		ack, err := publish(ctx, js, fmt.Sprintf("message %d of %d", count, started))
		if err == nil {
			_, err = s.GetMsg(ctx, ack.Sequence)
		}
		took := time.Since(began).Round(time.Millisecond)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("message %d is acknowledged but cannot be read: %w", count, err)
		case took > slow:
			log.Printf("message %d is stored as %d and read back, which took %v", count, ack.Sequence, took)
		case count%50 == 0:
			log.Printf("message %d is stored as %d and read back through %s", count, ack.Sequence, nc.ConnectedAddr())
		}
	}
}

// publish stores a message once, however often it has to be sent.
func publish(ctx context.Context, js jetstream.JetStream, text string) (*jetstream.PubAck, error) {
	for {
		attempt, cancel := context.WithTimeout(ctx, answer)
		ack, err := js.Publish(attempt, "steady.count", []byte(text), jetstream.WithMsgID(text))
		cancel()
		if err == nil || ctx.Err() != nil {
			return ack, err
		}
		log.Printf("%s: %v, trying again", text, err)
	}
}
