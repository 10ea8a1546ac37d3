package node

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/config"
)

// A member that is alone is not ready, although its NATS server has interest in the API:
// it imports that from the system account.
func TestAnImportOfTheAPIIsNotTheAPI(t *testing.T) {
	var text strings.Builder
	fmt.Fprintf(&text, "name = 'n1'\nstore = '%s'\n[monitor]\nlisten = '127.0.0.1:0'\n", t.TempDir())
	var members [3]config.Member
	for i := range members {
		members[i] = config.Member{Name: fmt.Sprint("n", i+1), Mesh: ownAddress(t), Routes: ownAddress(t)}
	}
	fmt.Fprintf(&text, "[nats]\nlisten = '127.0.0.1:0'\nroutes = '%s'\n[cluster]\nname = 'three'\n", members[0].Routes)
	for _, m := range members {
		fmt.Fprintf(&text, "[[cluster.member]]\nname = '%s'\nmesh = '%s'\nroutes = '%s'\n", m.Name, m.Mesh, m.Routes)
	}
	file := filepath.Join(t.TempDir(), "holdfast.toml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file, config.Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	n, err := Start(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Kill()
	global, err := n.server.LookupAccount(server.DEFAULT_GLOBAL_ACCOUNT)
	if err != nil {
		t.Fatal(err)
	}
	if global.Interest(server.JSApiAccountInfo) == 0 {
		t.Error("the NATS server has no interest in the API: interest in it would do")
	}
	reaches := true
	if err := n.call(func() { reaches = n.member.ReachesAPI() }); err != nil || reaches {
		t.Errorf("a member that is alone says that it reaches the API: %v, error %v", reaches, err)
	}
}
