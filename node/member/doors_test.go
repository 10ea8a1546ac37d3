package member

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// An account that was taken out of the configuration is named, with what to do.
func TestAccountsThatAreNotServed(t *testing.T) {
	m := machine.New(machine.Options{})
	var batch machine.Batch
	batch.Reset(1)
	for _, account := range []string{machine.DefaultAccount, "GONE", "HERE"} {
		batch.SetAccount(account)
		for _, name := range []string{"A", "B"} {
			config, err := machine.NormalizeStream(&server.StreamConfig{Name: name}, machine.Limits{}, false)
			if err != nil {
				t.Fatal(err)
			}
			batch.CreateStream(config)
		}
	}
	var results machine.Results
	if err := m.Apply(1, batch.Bytes(), &results); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	l := &life{machine: m, logger: slog.New(slog.NewTextHandler(&log, nil))}
	l.options = &Options{Accounts: []Account{{Name: "HERE"}}}
	l.warnOfUnserved()
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "account=$G streams=2") || !strings.Contains(lines[1], "account=GONE streams=2") {
		t.Errorf("warned of\n%s", log.String())
	}
}
