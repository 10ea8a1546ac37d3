// Steady publishes ten messages a second through any node of a cluster, reads
// each of them back, and says when that took long: something to look at while
// you stop, kill and wipe nodes. It is an ordinary NATS client and knows nothing
// of Holdfast.
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
	ticks := time.NewTicker(pace)
	defer ticks.Stop()
	for count := 1; ; count++ {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
		began := time.Now()
		ack, err := js.Publish(ctx, "steady.count", fmt.Appendf(nil, "message %d", count))
		if err == nil {
			_, err = s.GetMsg(ctx, ack.Sequence)
		}
		took := time.Since(began).Round(time.Millisecond)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			log.Printf("message %d: %v after %v", count, err, took)
		case took > slow:
			log.Printf("message %d is stored as %d and read back, which took %v", count, ack.Sequence, took)
		case count%50 == 0:
			log.Printf("message %d is stored as %d and read back through %s", count, ack.Sequence, nc.ConnectedAddr())
		}
	}
}
