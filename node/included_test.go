package node

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/config"
)

func include(t *testing.T, text string) (*included, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return readIncluded(path)
}

func accountNames(accounts []includedAccount) []string {
	var names []string
	for _, a := range accounts {
		names = append(names, a.name)
	}
	return names
}

func TestWhoHasJetStream(t *testing.T) {
	for _, c := range []struct {
		text              string
		attached, refused []string
	}{
		{"", []string{"$G"}, nil},
		{"jetstream: enabled", []string{"$G"}, nil},
		{"jetstream { domain: D }", []string{"$G"}, nil},
		{"jetstream: disabled", nil, nil},
		{"jetstream { enabled: false }", nil, nil},
		{"accounts { SYS { users [{user: s, password: s}] } }\nsystem_account: SYS", []string{"$G", "SYS"}, nil},
		{"accounts { A { jetstream: enabled }, B { jetstream: true }, C {} }", []string{"A", "B", "$SYS"}, []string{"C", "$G"}},
		{"accounts { A { jetstream: disabled } }", []string{"$SYS"}, []string{"A", "$G"}},
		{"accounts { A { jetstream: enabled, exports [{service: '$JS.API.>'}] }, C { imports [{service: {account: A, subject: '$JS.API.>'}}] } }", []string{"A", "$SYS"}, []string{"$G"}},
		{"accounts { A { jetstream: enabled, exports [{service: '$JS.API.>'}] }, C { imports [{service: {account: A, subject: '$JS.API.>'}, to: 'a.>'}] } }", []string{"A", "$SYS"}, []string{"C", "$G"}},
		{"accounts { A { jetstream: enabled } }\njetstream: disabled", nil, nil},
	} {
		in, err := include(t, c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := accountNames(in.attached()); !reflect.DeepEqual(got, c.attached) {
			t.Errorf("%s\nattached to %q, want %q", c.text, got, c.attached)
		}
		if got := in.refused(); !reflect.DeepEqual(got, c.refused) {
			t.Errorf("%s\nrefused %q, want %q", c.text, got, c.refused)
		}
		if in.options.JetStream {
			t.Errorf("%s: the embedded server has JetStream", c.text)
		}
	}
}

func TestLimitsOfAccounts(t *testing.T) {
	in, err := include(t, `
		jetstream { store_dir: "/nowhere", domain: D, sync_interval: always }
		accounts { A { jetstream { max_mem: 1, max_file: 2, max_streams: 3, max_consumers: 4, max_bytes_required: true, mem_max_stream_bytes: 5, disk_max_stream_bytes: 6, max_ack_pending: 7 } } }`)
	if err != nil {
		t.Fatal(err)
	}
	want := server.JetStreamAccountLimits{MaxMemory: 1, MaxStore: 2, MaxStreams: 3, MaxConsumers: 4, MaxAckPending: 7,
		MemoryMaxStreamBytes: 5, StoreMaxStreamBytes: 6, MaxBytesRequired: true}
	if got := in.accounts[0].limits; got != want {
		t.Errorf("limits %+v, want %+v", got, want)
	}
	if limits := in.machineLimits(in.accounts[0]); limits.MaxAckPending != 7 {
		t.Errorf("limits of configurations: %+v", limits)
	}
	if allowed := in.accountLimits(in.accounts[0]); allowed.JetStreamAccountLimits != want || allowed.DefaultMaxConsumers != server.JSDefaultMaxConsumersPerStream {
		t.Errorf("the account may use %+v", allowed)
	}
	if in.domain != "D" || !reflect.DeepEqual(in.unused, []string{"store_dir", "sync_interval"}) {
		t.Errorf("domain %q, settings without effect %q", in.domain, in.unused)
	}
}

func TestWhatAnIncludedConfigurationMayNotSay(t *testing.T) {
	for text, want := range map[string]string{
		"accounts { SYS { jetstream: enabled } }\nsystem_account: SYS": "system account",
		"jetstream { key: secret, cipher: aes }":                       "not encrypted",
		"nonsense: {":                                                  "nats.include",
	} {
		if _, err := include(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one about %q", text, err, want)
		}
	}
}

// startIncluded starts a node that is alone, with an included configuration.
func startIncluded(t *testing.T, path string) *Node {
	t.Helper()
	cfg := config.Default()
	cfg.Store, cfg.NATS.Listen, cfg.NATS.Include, cfg.Monitor.Listen = t.TempDir(), "127.0.0.1:0", path, "127.0.0.1:0"
	n, err := Start(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// In every case the server starts, and the node attaches to all accounts.
func TestANodeAttachesToItsAccounts(t *testing.T) {
	for _, text := range []string{
		"accounts { A { jetstream: enabled, users [{user: a, password: a}] }, C { users [{user: c, password: c}] } }",
		"accounts { A { jetstream: enabled } }",
		"authorization { user: u, password: p }",
		"authorization { token: t }",
		"accounts { A { jetstream: enabled, users [{nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4}] }, SYS { users [{user: s, password: s}] } }\nsystem_account: SYS",
	} {
		path := filepath.Join(t.TempDir(), "nats.conf")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		n := startIncluded(t, path)
		if len(n.links.list) == 0 {
			t.Errorf("%s: no link", text)
		}
		n.Kill()
	}
}
