package integration

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"holdfast/internal/servers"
)

// program is the path of the binary under test, built once.
var program string

// targetVariable is the environment variable that chooses what is tested.
const targetVariable = "HOLDFAST_TEST_TARGET"

// underTest is what the binary is: Holdfast, or nats-server for comparison.
var underTest target

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests wait much more than they compute.
	if !parallelGiven() {
		if err := flag.Set("test.parallel", "6"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(run(m))
}

func parallelGiven() bool {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	return given
}

// run builds the binary into a folder that goes away with the tests.
func run(m *testing.M) int {
	name := os.Getenv(targetVariable)
	switch name {
	case "", "holdfast":
		underTest = holdfast{}
	case "nats-server":
		underTest = natsServer{}
	default:
		fmt.Fprintf(os.Stderr, "%s=%s: want holdfast or nats-server\n", targetVariable, name)
		return 2
	}
	folder, err := os.MkdirTemp("", "holdfast-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	// Another user must be able to run it, see TestStoreNotWritable.
	if err := os.Chmod(folder, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	program = filepath.Join(folder, "server")
	if err := servers.Build(context.Background(), "", program, underTest.source()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	keepStoresInMemory()
	code := m.Run()
	if err := servers.Races(folder); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// enoughMemory is more than all tests together store at any time.
const enoughMemory = 1 << 30

// keepStoresInMemory puts the temporary folders of the tests on the RAM disk
// that Linux has, unless TMPDIR says where they should be. A process that is
// killed leaves the same behind there as on a disk, and a disk that pauses for
// seconds because somebody else is busy does not fail a test about silences.
func keepStoresInMemory() {
	const ramDisk = "/dev/shm"
	var disk syscall.Statfs_t
	if os.Getenv("TMPDIR") != "" || syscall.Statfs(ramDisk, &disk) != nil || int64(disk.Bavail)*disk.Bsize < enoughMemory {
		return
	}
	if probe, err := os.MkdirTemp(ramDisk, "holdfast-"); err == nil {
		os.Remove(probe)
		os.Setenv("TMPDIR", ramDisk)
	}
}

// noteInputs looks at what the binary was made of. The go command keeps the
// result of a test for as long as the files and variables that the test looked
// at are the same, and it does not see into TestMain.
var noteInputs = sync.OnceFunc(func() {
	os.Getenv(targetVariable)
	filepath.WalkDir("..", func(path string, entry os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") {
			os.Stat(path)
		}
		return nil
	})
})

// requireHoldfast leaves a test out when JetStream stands in for Holdfast.
func requireHoldfast(t *testing.T) {
	t.Helper()
	if _, ok := underTest.(holdfast); !ok {
		t.Skip("about Holdfast itself")
	}
}
