package transport

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
)

func reader(data []byte, limit int) *frameReader {
	return &frameReader{stream: bufio.NewReader(bytes.NewReader(data)), limit: limit}
}

func randomFrames(random *rand.Rand, count int) []frame {
	sizes := []int{0, 1, 200, sharedBody, sharedBody + 1, gatheredBody - 1, gatheredBody, gatherBytes, trustedBody + 1, 3*trustedBody + 7}
	frames := make([]frame, count)
	for i := range frames {
		body := make([]byte, sizes[random.IntN(len(sizes))])
		for j := range body {
			body[j] = byte(random.Uint32())
		}
		frames[i] = frame{kind: byte(random.IntN(256)), body: body}
		for len(body) > 0 && random.IntN(3) > 0 { // in parts
			cut := random.IntN(len(body) + 1)
			frames[i].rest = slices.Insert(frames[i].rest, 0, body[cut:])
			body = body[:cut]
			frames[i].body = body
		}
	}
	return frames
}

func TestFramesArriveAsWritten(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		random := rand.New(rand.NewPCG(1, 2))
		sent := randomFrames(random, 60)
		here, there := connections(t)
		if encrypted {
			here, there = encrypt(t, here, there)
		}
		w := newFrameWriter(here)
		written := make(chan error, 1)
		go func() {
			for rest := sent; len(rest) > 0; {
				n := 1 + random.IntN(len(rest))
				if err := w.write(rest[:n]); err != nil {
					written <- err
					return
				}
				rest = rest[n:]
			}
			written <- here.Close()
		}()
		r := frameReader{stream: bufio.NewReader(there), limit: DefaultMaxFrame, authentic: encrypted}
		for i, want := range sent {
			got, err := r.next()
			if err != nil {
				t.Fatalf("encrypted %v, frame %d: %v", encrypted, i, err)
			}
			if got.kind != want.kind || !bytes.Equal(got.body, slices.Concat(append([][]byte{want.body}, want.rest...)...)) {
				t.Fatalf("encrypted %v, frame %d differs", encrypted, i)
			}
		}
		if _, err := r.next(); err != io.EOF {
			t.Errorf("after the last frame: %v, want io.EOF", err)
		}
		if err := <-written; err != nil {
			t.Error(err)
		}
	}
}

func TestDamagedFramesAreRefused(t *testing.T) {
	whole := appendFrame(nil, frame{kind: 7, body: []byte("body")})
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0x40
		if _, err := reader(damaged, 1<<10).next(); err == nil {
			t.Errorf("byte %d damaged: accepted", i)
		}
	}
	for size := 1; size < len(whole); size++ {
		if _, err := reader(whole[:size], 1<<10).next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: %v, want %v", size, err, io.ErrUnexpectedEOF)
		}
	}
	if _, err := reader(whole, 3).next(); err == nil {
		t.Error("a body above the limit was accepted")
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendFrame(nil, frame{kind: kindBeat}))
	f.Add(appendFrame(appendFrame(nil, frame{kind: 1, body: []byte("one")}), frame{kind: 2, body: make([]byte, 5000)}))
	f.Add([]byte{0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := reader(data, DefaultMaxFrame)
		var again []byte
		for {
			got, err := r.next()
			if err != nil {
				break
			}
			again = appendFrame(again, got)
		}
		if !bytes.HasPrefix(data, again) {
			t.Error("frames that were read are not those that were written")
		}
	})
}

// connections returns the two ends of a loopback connection.
func connections(t testing.TB) (here, there net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if here, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if there, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close(); there.Close() })
	return here, there
}

// encrypt makes both ends of a connection those of a TLS connection.
func encrypt(t testing.TB, here, there net.Conn) (client, server net.Conn) {
	t.Helper()
	config, err := TLSFromSecret(secret, "n1")
	if err != nil {
		t.Fatal(err)
	}
	a, b := tls.Client(&recordBuffer{Conn: here}, config), tls.Server(&recordBuffer{Conn: there}, config)
	accepted := make(chan error, 1)
	go func() { accepted <- b.Handshake() }()
	if err := a.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-accepted; err != nil {
		t.Fatal(err)
	}
	return a, b
}

// TestRecordsAreJoined: a large frame on an encrypted connection takes a few
// writes, not one for each record of 16 KiB.
func TestRecordsAreJoined(t *testing.T) {
	here, there := connections(t)
	counted := &countedConn{Conn: here}
	client, server := encrypt(t, counted, there)
	go func() { _, _ = io.Copy(io.Discard, server) }()
	w := newFrameWriter(client)
	before := counted.writes
	if err := w.write([]frame{{kind: 1, body: make([]byte, gatherBytes)}}); err != nil {
		t.Fatal(err)
	}
	if n := counted.writes - before; n > 3 {
		t.Errorf("a frame of %d KiB took %d writes, want at most 3", gatherBytes>>10, n)
	}
}

// countedConn counts writes.
type countedConn struct {
	net.Conn
	writes int
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.writes++
	return c.Conn.Write(p)
}
