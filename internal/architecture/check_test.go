package architecture

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "holdfast"

// TestModule checks every source file of the module.
func TestModule(t *testing.T) {
	root := filepath.Join("..", "..")
	files := 0
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name := entry.Name(); name == "testdata" || file != root && strings.HasPrefix(name, ".") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		source, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		violations, err := CheckFile(module, filepath.ToSlash(name), source)
		if err != nil {
			return err
		}
		for _, v := range violations {
			t.Error(v)
		}
		files++
		return nil
	})
	if err != nil {
		t.Fatalf("walk module: %v", err)
	}
	if files < 10 {
		t.Errorf("found %d source files: this is not the root of the module", files)
	}
}

// TestProductLinksNoTools: what only tests need is not in the binary.
func TestProductLinksNoTools(t *testing.T) {
	list := exec.Command("go", "list", "-deps", ".")
	list.Dir = filepath.Join("..", "..")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := strings.Fields(string(out))
	if !slices.Contains(linked, module+"/wal") {
		t.Fatalf("this is not the product: %d packages without wal", len(linked))
	}
	for _, name := range linked {
		for _, tool := range []string{module + "/internal", "github.com/hanwen/go-fuse", "testing"} {
			if below(name, tool) {
				t.Errorf("the product links %s", name)
			}
		}
	}
}

// TestLayersAreAcyclic holds the map itself to its own rule: following the
// arrows never comes back.
func TestLayersAreAcyclic(t *testing.T) {
	var visit func(folder string, trail []string)
	visit = func(folder string, trail []string) {
		if slices.Contains(trail, folder) {
			t.Fatalf("imports go in a circle: %s", strings.Join(append(trail, folder), " → "))
		}
		place, known := layers[folder]
		if !known {
			t.Errorf("%q is imported by %q but has no place of its own", folder, trail[len(trail)-1])
		}
		for _, next := range place.imports {
			// A member knows its store by wal's types; it is handed the store.
			if layers[folder].pure && !layers[next].pure && next != "wal" {
				t.Errorf("pure %q may import impure %q", folder, next)
			}
			visit(next, append(slices.Clone(trail), folder))
		}
	}
	for folder := range layers {
		visit(folder, nil)
	}
}

// TestCheckFileFinds feeds the checker sources that break one rule each.
func TestCheckFileFinds(t *testing.T) {
	long := strings.Repeat("\n", maxFileLines+1)
	body := strings.Repeat("\t_ = 0\n", maxFunctionLines)
	for _, test := range []struct {
		name, file, source, want string
	}{
		{"wrong direction", "replication/core.go", `import _ "holdfast/wal"`, "replication must not import wal"},
		{"up to main", "wal/a.go", `import _ "holdfast"`, "wal must not import main"},
		{"main past node", "main.go", `import _ "holdfast/wal"`, "main must not import wal"},
		{"sideways", "node/bus/a.go", `import _ "holdfast/node/machine"`, "node/bus must not import node/machine"},
		{"unknown package", "util/a.go", ``, "package x has no place in layers.go: say there what it may import"},
		{"file access", "mesh/a.go", `import _ "os"`, "pure package imports os"},
		{"file access below", "mesh/a.go", `import _ "os/exec"`, "pure package imports os/exec"},
		{"socket", "mesh/a.go", `import _ "net/netip"`, "pure package imports net/netip"},
		{"lock", "node/machine/a.go", `import _ "sync"`, "pure package imports sync"},
		{"atomic", "node/machine/a.go", `import _ "sync/atomic"`, "pure package imports sync/atomic"},
		{"unseeded generator", "replication/a.go", `import _ "math/rand"`, "pure package imports math/rand"},
		{"other module", "mesh/a.go", `import _ "go.etcd.io/bbolt"`, "pure package imports go.etcd.io/bbolt"},
		{"schema outside machine", "mesh/a.go", `import _ "` + natsSchema + `"`, "pure package imports " + natsSchema},
		{"clock", "protocol/a.go", `import "time"; var _ = time.Now()`, "pure package uses time.Now"},
		{"clock as a value", "protocol/a.go", `import "time"; var clock = time.Now`, "pure package uses time.Now"},
		{"clock renamed", "protocol/a.go", `import t "time"; var _ = t.Since`, "pure package uses time.Since"},
		{"clock unqualified", "protocol/a.go", `import . "time"; var _ = Now()`,
			"pure package imports time into its own scope, where calls cannot be told apart"},
		{"sleep", "protocol/a.go", `import "time"; func f() { time.Sleep(1) }`, "pure package uses time.Sleep"},
		{"global generator", "protocol/a.go", `import "math/rand/v2"; var _ = rand.IntN(3)`, "pure package uses math/rand/v2.IntN"},
		{"standard output", "protocol/a.go", `import "fmt"; func f() { fmt.Println() }`, "pure package uses fmt.Println"},
		{"goroutine", "protocol/a.go", `func f() { go f() }`, "pure package starts a goroutine"},
		{"channel", "protocol/a.go", `var c chan int`, "pure package has a channel"},
		{"select", "protocol/a.go", `func f() { select {} }`, "pure package waits on channels"},
		{"long file", "wal/a.go", long, "file has 702 lines, more than 700: split it by concept"},
		{"long function", "wal/a.go", "func f() {\n" + body + "}", "function f has 102 lines, more than 100"},
	} {
		t.Run(test.name, func(t *testing.T) {
			violations, err := CheckFile(module, test.file, []byte("package x\n"+test.source))
			if err != nil {
				t.Fatal(err)
			}
			if len(violations) != 1 || violations[0].Rule != test.want {
				t.Errorf("got %v, want only %q", violations, test.want)
			}
		})
	}
}

// TestCheckFileAccepts shows the nearest allowed neighbours of what is not.
func TestCheckFileAccepts(t *testing.T) {
	for _, test := range []struct{ name, file, source string }{
		{"one layer down", "replication/core.go", `import _ "holdfast/protocol"`},
		{"schema in machine", "node/machine/a.go", `import _ "` + natsSchema + `"`},
		{"seeded generator", "replication/a.go", `import "math/rand/v2"; func f(r *rand.Rand) int { return r.IntN(3) }; var _ = rand.New(rand.NewPCG(1, 2))`},
		{"duration", "mesh/a.go", `import "time"; const d = 3 * time.Second`},
		{"errors by format", "mesh/a.go", `import "fmt"; var err = fmt.Errorf("x")`},
		{"method called Now", "mesh/a.go", `type clock struct{}; func (clock) Now() int { return 0 }; var _ = clock{}.Now()`},
		{"file access where it belongs", "wal/a.go", `import _ "os"; func f() { go f() }`},
		{"longest function", "wal/a.go", "func f() {\n" + strings.Repeat("\t_ = 0\n", maxFunctionLines-2) + "}"},
	} {
		t.Run(test.name, func(t *testing.T) {
			violations, err := CheckFile(module, test.file, []byte("package x\n"+test.source))
			if err != nil {
				t.Fatal(err)
			}
			if len(violations) != 0 {
				t.Errorf("got %v, want nothing", violations)
			}
		})
	}
}
