package differential

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node"
	"holdfast/node/config"
)

// limited is the configuration of a server with an account that may not use much.
const limited = `
accounts {
  LIMITED {
    jetstream {
      max_file: 4000, max_mem: 1000, max_streams: 4, max_consumers: 2, max_ack_pending: 10
      max_bytes_required: true, disk_max_stream_bytes: 2000, mem_max_stream_bytes: 800
    }
    users [{user: u, password: p}]
  }
}
`

// limitedSides are two servers of that configuration, each alone.
func limitedSides(t *testing.T, settings string) (wanted, got *side) {
	t.Helper()
	folder := t.TempDir()
	path := filepath.Join(folder, "nats.conf")
	if err := os.WriteFile(path, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opts.ServerName, opts.Host, opts.Port, opts.NoSigs, opts.NoLog = "r", "127.0.0.1", server.RANDOM_PORT, true, true
	opts.JetStream, opts.StoreDir = true, filepath.Join(folder, "reference")
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(startLimit) {
		t.Fatal("the reference does not take connections")
	}

	addresses, err := freeAddresses(1)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Store, cfg.NATS.Listen, cfg.NATS.Include, cfg.Monitor.Listen = filepath.Join(folder, "subject"), addresses[0], path, "127.0.0.1:0"
	n, err := node.Start(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Kill)
	at := func(address string) string { return "nats://u:p@" + strings.TrimPrefix(address, "nats://") }
	wanted, got = &side{name: "nats-server", url: at(s.ClientURL())}, &side{name: "holdfast", url: at(addresses[0])}
	for _, one := range []*side{wanted, got} {
		if err := await("the API answers", func() error { return serves(one.url) }); err != nil {
			t.Fatal(err)
		}
	}
	return wanted, got
}

// TestALimitedAccount goes up to every limit of an account and beyond.
func TestALimitedAccount(t *testing.T) {
	t.Parallel()
	wanted, got := limitedSides(t, limited)
	compareOn(t, wanted, got, func(s *session) {
		stream := func(verb, name string, changes ...object) {
			s.api("STREAM."+verb+"."+name, with(append([]object{{
				"name": name, "subjects": []string{name}, "storage": "file", "max_bytes": 500, "retention": "limits", "discard": "old",
			}}, changes...)...))
		}
		s.usage()
		stream("CREATE", "A", object{"max_bytes": -1})
		stream("CREATE", "A", object{"max_bytes": 2001})
		stream("CREATE", "A", object{"max_bytes": 2000})
		stream("CREATE", "B", object{"max_consumers": 3})
		stream("CREATE", "B", object{"max_bytes": 2000})
		stream("CREATE", "C", object{"max_bytes": 1})
		stream("CREATE", "M", object{"max_bytes": 801, "storage": "memory"})
		stream("CREATE", "M", object{"max_bytes": 700, "storage": "memory"})
		stream("CREATE", "N", object{"max_bytes": 400, "storage": "memory"})
		stream("UPDATE", "A", object{"max_bytes": -1})
		stream("UPDATE", "A", object{"max_bytes": 1000})
		stream("UPDATE", "B", object{"max_bytes": 2000, "max_consumers": 3})
		stream("UPDATE", "M", object{"max_bytes": 750, "storage": "memory"})
		stream("UPDATE", "M", object{"max_bytes": 801, "storage": "memory"})
		stream("CREATE", "C", object{"max_bytes": 500})
		stream("CREATE", "D", object{"max_bytes": 100})
		stream("CREATE", "E", object{"max_bytes": 100})
		s.usage()

		for _, pending := range []int{0, 10, 11, -1} {
			name := fmt.Sprintf("P%d", pending+2)
			s.api("CONSUMER.CREATE.A."+name, object{"stream_name": "A", "config": object{"name": name, "ack_policy": "explicit", "max_ack_pending": pending}})
		}
		s.api("CONSUMER.CREATE.A.P2", object{"stream_name": "A", "config": object{"name": "P2", "ack_policy": "explicit", "max_ack_pending": 5}})
		s.api("CONSUMER.CREATE.A.Q", object{"stream_name": "A", "config": object{"name": "Q"}})
		s.api("CONSUMER.CREATE.A.R", object{"stream_name": "A", "config": object{"name": "R"}})

		s.ask("A", strings.Repeat("x", 400))
		s.ask("A", strings.Repeat("x", 400))
		s.ask("A", strings.Repeat("x", 400)) // the first one goes
		s.ask("M", strings.Repeat("x", 300))
		s.usage()
		s.api("STREAM.PURGE.A", nil)
		s.api("STREAM.DELETE.B", nil)
		s.usage()
	})
}

// TestAFullAccount publishes beyond what an account may store. A server that is
// alone, as the reference is here, looks for duplicates before; a cluster, and
// Holdfast, behind.
func TestAFullAccount(t *testing.T) {
	t.Parallel()
	wanted, got := limitedSides(t, strings.NewReplacer("max_bytes_required: true, disk_max_stream_bytes: 2000, mem_max_stream_bytes: 800", "").Replace(limited))
	compareOn(t, wanted, got, func(s *session) {
		for _, name := range []string{"A", "B", "M"} {
			storage := "file"
			if name == "M" {
				storage = "memory"
			}
			s.api("STREAM.CREATE."+name, object{"name": name, "subjects": []string{name}, "storage": storage})
		}
		for i, size := range []int{1900, 1900, 400, 100, 1, 0} {
			s.ask("A", strings.Repeat("x", size))
			s.ask("B", strings.Repeat("x", size), fmt.Sprint("Nats-Msg-Id: ", i))
			s.ask("M", strings.Repeat("x", size/2))
			s.usage()
		}
		s.api("STREAM.PURGE.A", nil)
		s.ask("B", "x", "Nats-Msg-Id: two")
		s.usage()
	})
}

// TestTheLevelOfRequests asks for what no server has.
func TestTheLevelOfRequests(t *testing.T) {
	t.Parallel()
	compare(t, func(s *session) {
		s.create()
		s.createConsumer()
		for _, level := range []string{"0", "99", "x", "-1", ""} {
			for _, subject := range []string{
				"INFO", "STREAM.NAMES", "STREAM.LIST", "STREAM.INFO." + s.name, "STREAM.MSG.GET." + s.name, "STREAM.MSG.DELETE." + s.name,
				"STREAM.PURGE." + s.name, "CONSUMER.NAMES." + s.name, "CONSUMER.LIST." + s.name, "CONSUMER.INFO." + s.name + ".C",
				"CONSUMER.PAUSE." + s.name + ".C", "CONSUMER.RESET." + s.name + ".C", "CONSUMER.UNPIN." + s.name + ".C", "STREAM.SNAPSHOT." + s.name,
				"CONSUMER.INFO." + s.name + ".NONE", "STREAM.INFO.NONE",
			} {
				if level != "99" && (subject == "INFO" || strings.HasSuffix(subject, "NAMES") || strings.HasSuffix(subject, "LIST")) {
					continue // tells of the streams of other tests
				}
				s.api(subject, nil, "Nats-Required-Api-Level: "+level)
			}
		}
	})
}

// TestResetsOfWhatIsNotThere resets consumers that are not there, or wrongly.
func TestResetsOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	compare(t, func(s *session) {
		s.create()
		s.createConsumer()
		s.ask(s.name, "1")
		for _, body := range []any{nil, object{}, object{"seq": 1}, object{"seq": 9}, "{", object{"seq": "x"}, object{"what": 1}} {
			s.api("CONSUMER.RESET."+s.name+".C", body)
		}
		s.known("A reset of what is not there", "*")
		s.api("CONSUMER.RESET."+s.name+".NONE", nil)
		s.api("CONSUMER.RESET.NONE.C", nil)
	})
}

// TestANakInABackoff sends messages back, with a delay of its own, to a consumer
// that has a backoff.
func TestANakInABackoff(t *testing.T) {
	t.Parallel()
	compare(t, func(s *session) {
		s.create()
		s.createConsumer(object{"ack_policy": "explicit", "backoff": []int{30 * second, 60 * second}, "max_deliver": 9})
		s.ask(s.name+".1", "1")
		for _, word := range []string{`-NAK {"delay": 300000000}`, "-NAK", "-NAK x", `-NAK {"delay": 300000000}`} {
			e := s.pull(object{"batch": 1, "expires": 10 * second})
			for _, m := range e.get(1) {
				s.answer(m, word)
			}
		}
		s.known("A delay within a backoff", "*")
		s.pull(object{"batch": 1, "expires": 10 * second}).get(1)
	})
}

// TestAZoneWithoutASchedule sends a time zone that is none, or means nothing.
func TestAZoneWithoutASchedule(t *testing.T) {
	t.Parallel()
	for _, allowed := range []bool{true, false} {
		t.Run(fmt.Sprint(allowed), func(t *testing.T) {
			compare(t, func(s *session) {
				s.create(object{"allow_msg_schedules": allowed})
				s.ask(s.name+".1", "x", "Nats-Schedule-Target: "+s.name+".2")
				s.ask(s.name+".1", "x", "Nats-Schedule-TTL: 1h")
				if !allowed {
					s.known("A time zone where there are no schedules", "*")
				}
				for _, zone := range []string{"Nowhere/Land", "Europe/Berlin", "UTC", "Local", "../etc"} {
					s.ask(s.name+".1", "x", "Nats-Schedule-Time-Zone: "+zone)
				}
			})
		})
	}
}

// usage asks for what the account uses; requests to the API are counted alike.
func (s *session) usage() *answer { return s.api("INFO", nil) }
