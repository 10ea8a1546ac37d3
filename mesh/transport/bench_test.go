package transport

import (
	"fmt"
	"sync/atomic"
	"testing"
)

// counting counts what arrives and, at every step frames, wakes the sender.
type counting struct {
	frames atomic.Int64
	step   int64
	up     chan struct{}
	wake   chan struct{}
}

func (c *counting) Connected(string, Hello)    { close(c.up) }
func (c *counting) Disconnected(string, error) {}
func (c *counting) Frame(string, byte, []byte) {
	if c.frames.Add(1)%c.step == 0 {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// BenchmarkThroughput keeps the queue to one member full.
func BenchmarkThroughput(b *testing.B) {
	for _, size := range []int{200, 16 << 10, 256 << 10} {
		for _, mode := range []string{"plain", "tls"} {
			b.Run(fmt.Sprintf("%s/%d", mode, size), func(b *testing.B) { benchmarkThroughput(b, mode, size) })
		}
	}
}

func benchmarkThroughput(b *testing.B, mode string, size int) {
	members := []Member{{"n1", freeAddress(b)}, {"n2", freeAddress(b)}}
	start := func(name string, handler Handler) *Transport {
		options := Options{
			Cluster: "bench", Self: name, Members: members, Incarnation: 1,
			Hello: func() Presence { return Presence{} }, Handler: handler, MaxQueued: 4 << 20,
		}
		if mode == "tls" {
			options.Secret = secret
		}
		transport, err := Start(options)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(transport.Close)
		return transport
	}
	step := max(1, 256<<10/int64(size))
	sender := &counting{step: 1, up: make(chan struct{}), wake: make(chan struct{}, 1)}
	receiver := &counting{step: step, up: make(chan struct{}), wake: make(chan struct{}, 1)}
	n1 := start("n1", sender)
	start("n2", receiver)
	<-sender.up
	body := make([]byte, size)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		for !n1.Send("n2", 1, body) {
			<-receiver.wake
		}
	}
	for receiver.frames.Load() < int64(b.N)/step*step {
		<-receiver.wake
	}
}
