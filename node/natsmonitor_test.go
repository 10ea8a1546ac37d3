package node

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// browse gets a page of a monitor.
func browse(t *testing.T, monitor, page string) (code int, contentType, body string) {
	t.Helper()
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	response, err := client.Get(monitor + page)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header.Get("Content-Type"), string(text)
}

// includeFile writes a configuration to be included.
func includeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// browsed is a server with streams, and where its monitor is.
type browsed struct {
	server  *server.Server
	monitor string
}

// fill makes in A what the pages tell of.
func (b *browsed) fill(t *testing.T) {
	t.Helper()
	nc, err := nats.Connect(b.server.ClientURL(), nats.UserInfo("a", "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for _, name := range []string{"S", "T"} {
		if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.CreateConsumer(ctx, "S", jetstream.ConsumerConfig{Durable: "C", AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "S", []byte("x")); err != nil {
		t.Fatal(err)
	}
}

const browsedAccounts = `
	accounts {
		A { jetstream: enabled, users [{user: a, password: a}] }
		B { jetstream: enabled, users [{user: b, password: b}] }
		C { users [{user: c, password: c}] }
	}
	http: "127.0.0.1:-1"
	http_base_path: "/base"
`

// browseBoth starts a node, and a NATS server with JetStream, with the same accounts.
func browseBoth(t *testing.T) (ours, theirs browsed) {
	t.Helper()
	n := startIncluded(t, includeFile(t, browsedAccounts))
	t.Cleanup(n.Kill)
	ours = browsed{server: n.server}
	opts, err := server.ProcessConfigFile(includeFile(t, browsedAccounts+fmt.Sprintf("\njetstream { store_dir: %q }\n", t.TempDir())))
	if err != nil {
		t.Fatal(err)
	}
	opts.ServerName, opts.Host, opts.Port, opts.NoSigs, opts.NoLog = n.server.Name(), "127.0.0.1", -1, true, true
	theirs.server, err = server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	go theirs.server.Start()
	t.Cleanup(theirs.server.Shutdown)
	if !theirs.server.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server is not ready")
	}
	for _, b := range []*browsed{&ours, &theirs} {
		b.monitor = "http://" + b.server.MonitorAddr().String() + "/base"
		b.fill(t)
	}
	return ours, theirs
}

// elsewhere are what two servers differ in that do the same: who they are, when, and
// where and how they keep messages.
var elsewhere = []string{"server_id", "now", "ts", "created", "last_active", "store_dir", "max_memory", "max_storage", "sync_always", "sync_interval", "first_ts", "last_ts"}

// comparable is what is compared of a page: a JSON value without these, its lists
// sorted; or the text.
func comparable(body string) string {
	var value any
	if json.Unmarshal([]byte(body), &value) != nil {
		return body
	}
	drop(value)
	text, _ := json.MarshalIndent(value, "", " ")
	return string(text)
}

func drop(value any) {
	switch v := value.(type) {
	case map[string]any:
		maps.DeleteFunc(v, func(key string, _ any) bool { return slices.Contains(elsewhere, key) })
		for _, inner := range v {
			drop(inner)
		}
	case []any:
		for _, inner := range v {
			drop(inner)
		}
		slices.SortFunc(v, func(a, b any) int {
			x, _ := json.Marshal(a)
			y, _ := json.Marshal(b)
			return strings.Compare(string(x), string(y))
		})
	}
}

// The monitor of the embedded NATS server tells of JetStream what that of a NATS server
// with JetStream does: the same pages with the same queries, and the same errors.
func TestTheMonitorOfTheNATSServer(t *testing.T) {
	ours, theirs := browseBoth(t)
	for _, page := range []string{
		"/jsz", "/jsz?accounts=true", "/jsz?accounts=1&offset=1", "/jsz?accounts=1&limit=1", "/jsz?acc=A&streams=1", "/jsz?acc=C&streams=1", "/jsz?consumers=1&config=1",
		"/jsz?leader-only=1", "/jsz?streams=1&stream-leader-only=1", "/jsz?direct-consumers=1&consumers=1",
		"/jsz?accounts=maybe", "/jsz?leader-only=maybe", "/jsz?offset=x",
		"/healthz", "/healthz?js-enabled=1", "/healthz?js-enabled-only=true", "/healthz?js-server-only=true", "/healthz?js-meta-only=1", "/healthz?details=1",
		"/healthz?account=A&stream=S&consumer=C", "/healthz?account=A&stream=X", "/healthz?account=A&stream=X&details=1", "/healthz?account=A&stream=S&consumer=X",
		"/healthz?stream=S", "/healthz?js-server-only=maybe",
		"/accountz", "/accountz?acc=X", "/raftz?acc=A",
	} {
		code, kind, body := browse(t, ours.monitor, page)
		wantCode, wantKind, want := browse(t, theirs.monitor, page)
		if code != wantCode || kind != wantKind || comparable(body) != comparable(want) {
			t.Errorf("%s: %d %s\n%s\nwant %d %s\n%s", page, code, kind, comparable(body), wantCode, wantKind, comparable(want))
		}
	}
	for account, want := range map[string]bool{"A": true, "B": true, "C": false} {
		for _, b := range []*browsed{&ours, &theirs} {
			_, _, body := browse(t, b.monitor, "/accountz?acc="+account)
			var told server.Accountz
			if err := json.Unmarshal([]byte(body), &told); err != nil || told.Account == nil || told.Account.JetStream != want {
				t.Errorf("account %s: %v %s", account, err, body)
			}
		}
	}
	varz := func(b *browsed) (keys []string, told server.Varz) {
		_, _, body := browse(t, b.monitor, "/varz")
		var all map[string]json.RawMessage
		if err := json.Unmarshal([]byte(body), &all); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		if err := json.Unmarshal([]byte(body), &told); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		return slices.Sorted(maps.Keys(all)), told
	}
	keys, told := varz(&ours)
	wantKeys, want := varz(&theirs)
	use := func(v *server.Varz) string {
		return fmt.Sprint(v.HTTPBasePath, v.HTTPReqStats[server.JszPath], v.HTTPReqStats[server.VarzPath], " ", *v.JetStream.Stats, v.JetStream.Config != nil, v.JetStream.Limits != nil)
	}
	keys = slices.DeleteFunc(keys, func(k string) bool { return !slices.Contains(wantKeys, k) }) // leafs: the node's own
	if !slices.Equal(keys, wantKeys) || use(&told) != use(&want) {
		t.Errorf("varz has %q, want %q; it tells %s, want %s", keys, wantKeys, use(&told), use(&want))
	}
	for page, part := range map[string]string{"": "/base/jsz", "/connz": `"num_connections"`, "/debug/vars": "memstats"} {
		if code, _, body := browse(t, ours.monitor, page); code != http.StatusOK || !strings.Contains(body, part) {
			t.Errorf("page %q: %d %s", page, code, body)
		}
	}
	if code, _, _ := browse(t, strings.TrimSuffix(ours.monitor, "/base"), "/jsz"); code != http.StatusNotFound {
		t.Errorf("a page outside of the base path: %d", code)
	}
}

// The pages are told over TLS as well, also where there are no accounts; and where
// JetStream is switched off they say so.
func TestTheMonitorOfTheNATSServerOverTLS(t *testing.T) {
	certificate, key := filepath.Join(t.TempDir(), "c.pem"), filepath.Join(t.TempDir(), "k.pem")
	writeCertificate(t, certificate, key)
	secured := fmt.Sprintf("https: \"127.0.0.1:-1\"\ntls { cert_file: %q, key_file: %q }\n", certificate, key)
	for text, disabled := range map[string]bool{secured: false, secured + "jetstream: disabled\n": true} {
		n := startIncluded(t, includeFile(t, text))
		monitor := "https://" + n.server.MonitorAddr().String()
		code, _, body := browse(t, monitor, "/jsz")
		var told server.JSInfo
		if err := json.Unmarshal([]byte(body), &told); err != nil || code != http.StatusOK || told.Disabled != disabled {
			t.Errorf("%s: %v: %d %s", text, err, code, body)
		}
		if code, _, body := browse(t, monitor, "/healthz"); code != http.StatusOK || body != `{"status":"ok"}` {
			t.Errorf("%s: %d %s", text, code, body)
		}
		n.Kill()
	}
}

// writeCertificate makes a certificate and its key.
func writeCertificate(t *testing.T, certificate, key string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
