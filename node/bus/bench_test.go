package bus

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// cpuTime is what this process has used so far: server, link and client.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// reportMessages reports messages a second and processor time a message.
func reportMessages(b *testing.B, before time.Duration) {
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/msg")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// rawClient is a client connection without a client library.
func rawClient(b *testing.B, n *node, hello string) net.Conn {
	conn, err := net.Dial("tcp", n.server.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "CONNECT {\"verbose\":false,\"headers\":true}\r\n%sPING\r\n", hello)
	var got []byte
	for buf := make([]byte, 4096); !bytes.Contains(got, []byte("PONG\r\n")); {
		n, err := conn.Read(buf)
		if err != nil {
			b.Fatal(err)
		}
		got = append(got, buf[:n]...)
	}
	return conn
}

// BenchmarkIn is a client that publishes 128 bytes with a reply as fast as the
// server takes it, up to the handler of the link.
func BenchmarkIn(b *testing.B) {
	var arrived atomic.Int64
	link := listen(b, func(c *Chunk) { arrived.Add(int64(len(c.Messages))); c.Release() }, nil)
	n := &node{t: b, link: link, server: run(b, serverOptions(link), link)}
	link.Subscribe("orders.*", "ingest")
	link.Flush()
	n.interested("orders.new")
	conn := rawClient(b, n, "")
	one := "PUB orders.new _INBOX.0123456789abcdefghij.00000001 128\r\n" + strings.Repeat("x", 128) + "\r\n"
	many := []byte(strings.Repeat(one, 300))
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	for left := b.N; left > 0; {
		count := min(left, 300)
		if _, err := conn.Write(many[:count*len(one)]); err != nil {
			b.Fatal(err)
		}
		left -= count
	}
	eventually(b, "everything arrived", func() bool { return arrived.Load() == int64(b.N) })
	reportMessages(b, before)
}

// benchmarkOut writes messages to the server, which passes them to a client.
// line is what the client gets in front of header and payload.
func benchmarkOut(b *testing.B, line string, publish func(l *Link, header, payload []byte), header []byte) {
	n := single(b)
	conn := rawClient(b, n, "SUB out 1\r\n")
	n.interested("out")
	var size int64
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			atomic.AddInt64(&size, int64(n))
		}
	}()
	payload := bytes.Repeat([]byte{'x'}, 128)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	for range b.N {
		for n.link.Pending() > 1<<20 {
			time.Sleep(100 * time.Microsecond)
		}
		publish(n.link, header, payload)
	}
	n.link.Flush()
	eventually(b, "everything arrived", func() bool { return atomic.LoadInt64(&size) >= int64(b.N)*int64(len(line)+len(header)+128+2) })
	reportMessages(b, before)
}

// BenchmarkOut is answers: one subject, 128 bytes.
func BenchmarkOut(b *testing.B) {
	benchmarkOut(b, "MSG out 1 128\r\n", func(l *Link, header, payload []byte) { l.Publish([]byte("out"), nil, header, payload) }, nil)
}

// BenchmarkDeliver is JetStream deliveries of 128 bytes.
func BenchmarkDeliver(b *testing.B) {
	ack := []byte(ackOf("orders.new"))
	benchmarkOut(b, "MSG orders.new 1 $JS.ACK.ORDERS.worker.1.7.3.1700000000000000000.0 128\r\n", func(l *Link, header, payload []byte) { l.Deliver([]byte("out"), ack, header, payload) }, nil)
}

// BenchmarkDeliverHeader is the same with a header.
func BenchmarkDeliverHeader(b *testing.B) {
	ack := []byte(ackOf("orders.new"))
	benchmarkOut(b, "HMSG orders.new 1 $JS.ACK.ORDERS.worker.1.7.3.1700000000000000000.0 33 161\r\n", func(l *Link, header, payload []byte) { l.Deliver([]byte("out"), ack, header, payload) }, []byte("NATS/1.0\r\nNats-Msg-Id: 123456\r\n\r\n"))
}

// BenchmarkParse is the parser alone.
func BenchmarkParse(b *testing.B) {
	one := "LMSG orders.new + _INBOX.0123456789abcdefghij.00000001 ingest 128\r\n" + strings.Repeat("x", 128) + "\r\n"
	stream := []byte(strings.Repeat(one, 1000))
	p := parser{maxPayload: maxInboundPayload}
	var op operation
	b.ReportAllocs()
	b.SetBytes(int64(len(one)))
	at := 0
	for range b.N {
		n, err := p.next(stream[at:], &op)
		if n == 0 || err != nil {
			b.Fatal(n, err)
		}
		if at += n; at == len(stream) {
			at = 0
		}
	}
}

// BenchmarkAppend is the cost of a delivery up to the socket.
func BenchmarkAppend(b *testing.B) {
	l := &Link{options: Options{MaxPending: 1 << 40}}
	l.out.init(l)
	l.out.limit(4096)
	l.out.begin(1, nil)
	ours, theirs := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	go l.out.write(ours, 1)
	to, ack, payload := []byte("_INBOX.0123456789abcdefghij.00000001"), []byte(ackOf("orders.new")), make([]byte, 128)
	b.ReportAllocs()
	for range b.N {
		for l.Pending() > 1<<20 {
			time.Sleep(10 * time.Microsecond)
		}
		l.Deliver(to, ack, nil, payload)
	}
	l.out.end()
}
