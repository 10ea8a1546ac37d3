package transport

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestSecretMustBeLongEnough(t *testing.T) {
	for _, length := range []int{0, MinSecret - 1} {
		if _, err := TLSFromSecret(make([]byte, length), "n1"); !errors.Is(err, ErrShortSecret) {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
	w := newTown(t, "n1")
	options := w.options("n1", 1, newRecorder(t))
	options.Secret = []byte{}
	if _, err := Start(options); !errors.Is(err, ErrShortSecret) {
		t.Errorf("start with an empty secret: %v", err)
	}
}

// Nodes without a clock of their own start in 1970.
func TestCertificatesHoldAtAnyClock(t *testing.T) {
	config, err := TLSFromSecret(secret, "n1")
	if err != nil {
		t.Fatal(err)
	}
	for _, year := range []int{1970, 2026, 2106, 9999} {
		_, err := config.Certificates[0].Leaf.Verify(x509.VerifyOptions{
			Roots: config.RootCAs, CurrentTime: time.Date(year, 1, 1, 0, 0, 1, 0, time.UTC), DNSName: "n1",
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		})
		if err != nil {
			t.Errorf("in %d: %v", year, err)
		}
	}
}

func TestSecretsSeparateClusters(t *testing.T) {
	ours, err := TLSFromSecret(secret, "n1")
	if err != nil {
		t.Fatal(err)
	}
	same, err := TLSFromSecret(bytes.Clone(secret), "n2")
	if err != nil {
		t.Fatal(err)
	}
	other, err := TLSFromSecret([]byte("another secret, long enough too"), "n2")
	if err != nil {
		t.Fatal(err)
	}
	if err := verifyChain([]*x509.Certificate{same.Certificates[0].Leaf}, ours.RootCAs); err != nil {
		t.Errorf("same secret: %v", err)
	}
	if err := verifyChain([]*x509.Certificate{other.Certificates[0].Leaf}, ours.RootCAs); err == nil {
		t.Error("another secret's certificate passes")
	}
	if err := verifyChain(nil, ours.RootCAs); err == nil {
		t.Error("no certificate passes")
	}
}

// log collects log lines.
type log struct {
	mu    sync.Mutex
	lines []byte
	wrote chan struct{} // closed and replaced at every line
}

func newLog() *log { return &log{wrote: make(chan struct{})} }

func (l *log) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line...)
	close(l.wrote)
	l.wrote = make(chan struct{})
	return len(line), nil
}

func (l *log) await(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(deadline)
	for {
		l.mu.Lock()
		found, wrote := strings.Contains(string(l.lines), text), l.wrote
		l.mu.Unlock()
		if found {
			return
		}
		select {
		case <-wrote:
		case <-timeout:
			t.Fatalf("no %q in the log:\n%s", text, l.lines)
		}
	}
}

func logTo(l *log) func(*Options) {
	return func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(l, nil)) }
}

func TestWrongSecretIsNamedInTheLog(t *testing.T) {
	for _, c := range []struct {
		name  string
		other func(*Options)
		text  string
	}{
		{"another secret", func(o *Options) { o.Secret = []byte("another secret, long enough too") }, "cluster secret"},
		{"no secret", plain, "cluster secret"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTown(t, "n1", "n2")
			said := newLog()
			n1 := w.start("n1", 1, logTo(said))
			n2 := w.start("n2", 1, c.other)
			said.await(t, c.text)
			if n1.links("n2")+n2.links("n1") != 0 {
				t.Error("linked")
			}
		})
	}
}

// A process that dies while it is greeted has not shown a wrong secret.
func TestDeathInTheHandshakeIsNoWrongSecret(t *testing.T) {
	w := newTown(t, "n1", "n2")
	said := newLog()
	w.start("n1", 1, logTo(said))
	stranger, err := net.Dial("tcp", w.address("n1"))
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if _, err := stranger.Write([]byte{22, 3, 1, 2, 0}); err != nil { // a handshake record of 512 bytes begins
		t.Fatal(err)
	}
	_ = stranger.(*net.TCPConn).SetLinger(0) // ends with a reset, as for a process that left bytes unread
	stranger.Close()
	said.await(t, `cause="TLS handshake: read: connection reset by peer"`)
}

// A member's certificate does not serve under another member's name.
func TestCertificateIsForOneName(t *testing.T) {
	w := newTown(t, "n1", "n2", "n3")
	n1 := w.start("n1", 1)
	forN3, err := TLSFromSecret(secret, "n3")
	if err != nil {
		t.Fatal(err)
	}
	n2 := w.start("n2", 1, func(o *Options) { o.TLS = forN3 })
	n2.awaitRefusal("n2", ReasonIdentity)
	n1.awaitRefusal("n2", ReasonIdentity)
}

func TestOperatorCertificates(t *testing.T) {
	w := newTown(t, "n1", "n2")
	own := func(name string) func(*Options) {
		return func(o *Options) {
			// Stands for certificates that an operator made: chain and name are
			// verified by crypto/tls in the usual way.
			config, err := TLSFromSecret(secret, name)
			if err != nil {
				t.Fatal(err)
			}
			config.InsecureSkipVerify, config.VerifyConnection = false, nil
			o.Secret, o.TLS = nil, config
		}
	}
	n1 := w.start("n1", 1, own("n1"))
	w.start("n2", 1, own("n2"))
	n1.awaitUp("n2", 1)
	for _, spoil := range []func(*Options){
		func(o *Options) { o.TLS.RootCAs = nil },
		func(o *Options) { o.TLS.ClientCAs = nil },
		func(o *Options) { o.TLS.Certificates = nil },
		func(o *Options) { o.TLS.InsecureSkipVerify = true },
	} {
		options := w.options("n1", 1, newRecorder(t))
		own("n1")(&options)
		elsewhere(&options)
		spoil(&options)
		if transport, err := Start(options); err == nil {
			transport.Close()
			t.Error("started with a TLS configuration that does not verify both ends")
		}
	}
}

func TestPlainConnectionsOnlyOnLoopback(t *testing.T) {
	for _, c := range []struct {
		listen, other string
		ok            bool
	}{
		{"127.0.0.1:0", "localhost:1", true},
		{"[::1]:0", "127.0.0.9:1", true},
		{":0", "127.0.0.1:1", false},
		{"0.0.0.0:0", "127.0.0.1:1", false},
		{"127.0.0.1:0", "10.0.0.1:1", false},
		{"127.0.0.1:0", "n2.example.org:1", false},
	} {
		w := &town{t: t, members: []Member{{"n1", c.listen}, {"n2", c.other}}}
		options := w.options("n1", 1, newRecorder(t))
		options.Secret = nil
		if err := options.complete(); (err == nil) != c.ok {
			t.Errorf("listen %s, other %s: %v", c.listen, c.other, err)
		}
	}
}

func TestBadOptionsAreNamed(t *testing.T) {
	w := newTown(t, "n1", "n2")
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, c := range []struct {
		spoil func(*Options)
		text  string
	}{
		{func(o *Options) { o.Self = "n9" }, `"n9" is not among the members`},
		{func(o *Options) { o.Members = append(o.Members, Member{"n2", "127.0.0.1:1"}) }, "n2 occurs twice"},
		{func(o *Options) { o.Members = append(o.Members, Member{"", "127.0.0.1:1"}) }, "member name"},
		{func(o *Options) { o.Cluster = "" }, "cluster's name"},
		{func(o *Options) { o.Incarnation = 0 }, "incarnation"},
		{func(o *Options) { o.Handler = nil }, "handler"},
		{func(o *Options) { o.Listen = busy.Addr().String() }, fmt.Sprintf("listen tcp %s", busy.Addr())},
	} {
		options := w.options("n1", 1, newRecorder(t))
		c.spoil(&options)
		if transport, err := Start(options); err == nil {
			transport.Close()
			t.Errorf("started; want an error with %q", c.text)
		} else if !strings.Contains(err.Error(), c.text) {
			t.Errorf("error %q, want %q in it", err, c.text)
		}
	}
}
