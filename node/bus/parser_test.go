package bus

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// describe parses a whole stream and tells what was in it.
func describe(stream []byte, maxPayload int) (found []string, rest int, err error) {
	p := parser{maxPayload: maxPayload}
	for {
		var op operation
		n, err := p.next(stream, &op)
		if n == 0 || err != nil {
			return found, len(stream), err
		}
		stream = stream[n:]
		if op.kind == opMessage {
			m := op.message
			found = append(found, fmt.Sprintf("%s|%s|%s|%s", m.Subject, m.Reply, m.Header, m.Payload))
		} else {
			found = append(found, fmt.Sprintf("%d %s", op.kind, op.args))
		}
	}
}

func TestParserReadsEveryForm(t *testing.T) {
	for _, c := range []struct{ stream, want string }{
		{"LMSG a 2\r\nhi\r\n", "a|||hi"},
		{"LMSG a.b 0\r\n\r\n", "a.b|||"},
		{"LMSG a _INBOX.r 2\r\nhi\r\n", "a|_INBOX.r||hi"},
		{"LMSG a + _INBOX.r q 2\r\nhi\r\n", "a|_INBOX.r||hi"},
		{"LMSG a + r q1 q2 q3 2\r\nhi\r\n", "a|r||hi"},
		{"LMSG a | q 2\r\nhi\r\n", "a|||hi"},
		{"LMSG a | q1 q2 2\r\nhi\r\n", "a|||hi"},
		{"LMSG a + 2\r\nhi\r\n", "a|+||hi"},
		{"HMSG a 4 6\r\nNATShi\r\n", "a||NATS|hi"},
		{"HMSG a r 4 4\r\nNATS\r\n", "a|r|NATS|"},
		{"HMSG a r 0 2\r\nhi\r\n", "a|r||hi"},
		{"HMSG a + r q 4 6\r\nNATShi\r\n", "a|r|NATS|hi"},
		{"HMSG a | q1 q2 4 6\r\nNATShi\r\n", "a||NATS|hi"},
		{"LMSG a 4\r\n\r\n\r\n\r\n", "a|||\r\n\r\n"},
		{"LS+ a\r\n", fmt.Sprint(opSubscribe, " a")},
		{"LS+ a q 3\r\n", fmt.Sprint(opSubscribe, " a q 3")},
		{"LS- a q\r\n", fmt.Sprint(opUnsubscribe, " a q")},
		{"PING\r\n", fmt.Sprint(opPing, " ")},
		{"PONG\r\n", fmt.Sprint(opPong, " ")},
		{"PONG\n", fmt.Sprint(opPong, " ")},
		{"+OK\r\n", fmt.Sprint(opOK, " ")},
		{"-ERR 'Bad Thing'\r\n", fmt.Sprint(opError, " 'Bad Thing'")},
		{"CONNECT {}\r\n", fmt.Sprint(opConnect, " {}")},
		{"INFO {}\r\n", fmt.Sprint(opInfo, " {}")},
	} {
		found, rest, err := describe([]byte(c.stream), 100)
		if err != nil || rest != 0 || len(found) != 1 || found[0] != c.want {
			t.Errorf("%q: found %q, %d bytes left, %v; want %q", c.stream, found, rest, err, c.want)
		}
	}
}

func TestParserRefusesGarbage(t *testing.T) {
	for _, stream := range []string{
		"\r\n", "X\r\n", "LMSG\r\n", "LMSG \r\n", "LMSG a\r\n", "LMSG a b\r\n", "LMSG  2\r\nhi\r\n",
		"LMSG a -1\r\n", "LMSG a 1x\r\n", "LMSG a 9999999999\r\n", "LMSG a 101\r\n", "LMSG a 18446744073709551617\r\n",
		"LMSG a 2\r\nhiXX", "LMSG a 2\r\nh\r\n\r\n", "LMSG a r s 2\r\nhi\r\n", "LMSG a + r 2\r\nhi\r\n", "LMSG a +  q 2\r\nhi\r\n",
		"HMSG a 2\r\nhi\r\n", "HMSG a 3 2\r\nhi\r\n", "HMSG a x 2\r\nhi\r\n", "HMSG 2 2\r\nhi\r\n",
		"PINGPONG\r\n", "PING 1\r\n", "LS+\r\n", "LS+ \r\n", "INFO\r\n", "RMSG a 2\r\nhi\r\n", "PUB a 2\r\nhi\r\n", "lmsg a 2\r\nhi\r\n",
		strings.Repeat("x", maxInboundLine+1), strings.Repeat("x", maxInboundLine+1) + "\r\n",
	} {
		if found, _, err := describe([]byte(stream), 100); !errors.Is(err, errProtocol) {
			t.Errorf("%.60q: found %q, %v", stream, found, err)
		}
	}
}

// FuzzParser checks on any bytes that parsing does not panic, that it asks for
// no more than the bounds allow, and that it finds the same operations when
// the bytes arrive in pieces.
func FuzzParser(f *testing.F) {
	f.Add([]byte("LMSG a 2\r\nhi\r\nPING\r\nLMSG a + r q 2\r\nhi\r\n"), uint16(3))
	f.Add([]byte("HMSG a r 4 6\r\nNATShi\r\nLS+ a q 1\r\nLS- a q\r\n-ERR x\r\n"), uint16(1))
	f.Add([]byte("CONNECT {\"a\":1}\r\nINFO {}\r\n+OK\r\nPONG\r\nLMSG a | q 65\r\n"), uint16(7))
	f.Fuzz(func(t *testing.T, stream []byte, step uint16) {
		const maxPayload = 1 << 10
		want, rest, wantErr := describe(stream, maxPayload)
		p := parser{maxPayload: maxPayload}
		var found []string
		var err error
		start := 0
		for end := 0; end <= len(stream) && err == nil; end += int(step)%64 + 1 {
			for {
				var op operation
				var n int
				n, err = p.next(stream[start:min(end, len(stream))], &op)
				if p.need > maxInboundLine+maxPayload+2 {
					t.Fatalf("asks for %d bytes", p.need)
				}
				if n == 0 || err != nil {
					break
				}
				if op.kind == opMessage {
					m := op.message
					found = append(found, fmt.Sprintf("%s|%s|%s|%s", m.Subject, m.Reply, m.Header, m.Payload))
				} else {
					found = append(found, fmt.Sprintf("%d %s", op.kind, op.args))
				}
				start += n
			}
		}
		if len(found) > len(want) {
			t.Fatalf("in pieces %q, at once %q", found, want)
		}
		for i := range found {
			if found[i] != want[i] {
				t.Fatalf("in pieces %q, at once %q", found, want)
			}
		}
		if err != nil && wantErr == nil {
			t.Fatalf("in pieces %v, at once no error and %d bytes left", err, rest)
		}
	})
}

// FuzzReader sends any bytes over a connection that is attached, in pieces:
// nothing panics, what is handed over is what the parser finds, and no memory
// is counted as unread after everything was released.
func FuzzReader(f *testing.F) {
	f.Add([]byte("LMSG a 2\r\nhi\r\nPING\r\nPONG\r\nLMSG a + r q 2\r\nhi\r\nLS+ a q 1\r\nLS+ a.* q 1\r\nLS- a q\r\n"), uint16(5))
	f.Add([]byte("HMSG a r 4 6\r\nNATShi\r\nPONG\r\nPONG\r\nLMSG"), uint16(2))
	f.Fuzz(func(t *testing.T, stream []byte, step uint16) {
		want, _, _ := describe(stream, maxInboundPayload)
		var messages, fences []string
		l := &Link{options: Options{MaxUnread: 1 << 30}, log: quiet()}
		l.out.init(l)
		l.options.Handler = func(c *Chunk) {
			for _, m := range c.Messages {
				messages = append(messages, fmt.Sprintf("%s|%s|%s|%s", m.Subject, m.Reply, m.Header, m.Payload))
			}
			if c.Fence > 0 {
				fences = append(fences, fmt.Sprint(c.Fence))
			}
			c.Release()
		}
		ours, theirs := net.Pipe()
		r := newReader(l, ours)
		r.parser.maxPayload = maxInboundPayload
		go func() {
			defer theirs.Close()
			for rest := stream; len(rest) > 0; {
				n := min(int(step)%200+1, len(rest))
				if _, err := theirs.Write(rest[:n]); err != nil {
					return // the stream was refused
				}
				rest = rest[n:]
			}
		}()
		err := r.run()
		r.close()
		if err == nil || !errors.Is(err, io.EOF) && !errors.Is(err, errProtocol) {
			t.Fatal(err)
		}
		l.out.groups.match([]byte("a.b"), nil)
		i, pongs := 0, 0
		for _, w := range want {
			switch {
			case strings.Contains(w, "|") && i < len(messages) && messages[i] == w:
				i++
			case w == fmt.Sprint(opPong, " "):
				pongs++
			}
		}
		if i != len(messages) || pongs != len(fences) {
			t.Fatalf("handed over %q and fences %q of %q", messages, fences, want)
		}
		if unread := l.unread.Load(); unread != 0 {
			t.Fatalf("%d bytes unread", unread)
		}
	})
}

func TestParserDoesNotAllocate(t *testing.T) {
	stream := bytes.Repeat([]byte("HMSG orders.new _INBOX.abc 12 140\r\nNATS/1.0\r\n\r\n"+strings.Repeat("x", 128)+"\r\n"), 10)
	p := parser{maxPayload: 1000}
	var op operation
	allocations := testing.AllocsPerRun(100, func() {
		for at := 0; at < len(stream); {
			n, err := p.next(stream[at:], &op)
			if n == 0 || err != nil {
				t.Fatal(n, err)
			}
			at += n
		}
	})
	if allocations != 0 {
		t.Fatalf("%v allocations", allocations)
	}
}

// A chunk that is kept must not see its memory reused, whatever comes after.
func TestKeptChunksStayAsTheyAre(t *testing.T) {
	n := single(t)
	var kept []*Chunk
	chunks := make(chan *Chunk, 1<<12)
	n.link.options.Handler = func(c *Chunk) { chunks <- c } // nothing is subscribed yet
	n.link.Subscribe("k", "")
	n.link.Fence()
	(<-chunks).Release()
	nc := n.client()
	const count = 5000
	for i := range count {
		if err := nc.Publish("k", fmt.Appendf(nil, "%06d%s", i, strings.Repeat("x", i%700))); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	for seen < count {
		select {
		case c := <-chunks:
			seen += len(c.Messages)
			kept = append(kept, c)
		case <-time.After(patience):
			t.Fatalf("%d of %d arrived", seen, count)
		}
	}
	i := 0
	for _, c := range kept {
		for _, m := range c.Messages {
			if want := fmt.Sprintf("%06d%s", i, strings.Repeat("x", i%700)); string(m.Payload) != want {
				t.Fatalf("message %d has become %.20q", i, m.Payload)
			}
			i++
		}
		c.Release()
	}
}
