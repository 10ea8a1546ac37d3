package architecture

// layer is what one package of the module may do.
type layer struct {
	// imports lists the packages of the module that may be imported, relative
	// to its root.
	imports []string
	// pure forbids clocks, sockets, files, goroutines, locks and randomness
	// that nobody seeded.
	pure bool
	// external lists what a pure package may import beyond the harmless part of
	// the standard library. Other packages are free: go.mod is their list.
	external []string
}

// natsSchema has the JSON types and the error constructors of the JetStream
// API, which are not written a second time.
const natsSchema = "github.com/nats-io/nats-server/v2/server"

// handedLogger is for packages that write lines to a logger that they are
// handed, which changes nothing that they decide.
const handedLogger = "log/slog"

// backupFormat is the format of a stream's backup, which is nats-server's own:
// an archive, compressed with S2.
const (
	backupFormat      = "github.com/nats-io/nats-server/v2/server/archive"
	backupCompression = "github.com/klauspost/compress/s2"
)

// cronPatterns reads the patterns of schedules, and knows when they are due. It
// is handed the time.
const cronPatterns = "github.com/robfig/cron/v3"

// layers is the map of the house. A package that is not in it fails the test:
// a new one needs a decision about where it stands.
var layers = map[string]layer{
	"protocol":    {pure: true},
	"replication": {pure: true, imports: []string{"protocol"}},
	"mesh":        {pure: true, imports: []string{"protocol"}},
	"wal":         {imports: []string{"protocol"}},

	"mesh/transport": {imports: []string{"protocol"}},

	"node/machine": {pure: true, imports: []string{"protocol"}, external: []string{natsSchema}},
	"node/replica": {pure: true, imports: []string{"protocol", "replication", "mesh"}},
	"node/bus":     {},
	"node/jetstream": {pure: true, imports: []string{"protocol", "node/machine"},
		external: []string{natsSchema, handedLogger, backupFormat, backupCompression, cronPatterns}},
	"node/config":  {imports: []string{"protocol", "mesh/transport"}},
	"node/explore": {imports: []string{"protocol", "replication", "mesh", "node/replica"}},
	"node/member": {pure: true, imports: []string{"protocol", "replication", "mesh", "wal",
		"node/machine", "node/replica", "node/jetstream"}, external: []string{natsSchema, handedLogger}},
	// Real stores in a temporary folder, everything else virtual.
	"node/simulation": {pure: true, imports: []string{"protocol", "replication", "mesh", "wal",
		"node/machine", "node/replica", "node/jetstream", "node/member"},
		external: []string{natsSchema, handedLogger, "context", "os", "path/filepath", "runtime/debug"}},
	"node": {imports: []string{"protocol", "replication", "mesh", "mesh/transport", "wal",
		"node/machine", "node/member", "node/bus", "node/jetstream", "node/config"}},
	"node/demo":    {imports: []string{"node", "node/config"}},
	"node/offline": {imports: []string{"node/machine", "protocol", "wal"}},
	"":             {imports: []string{"node", "node/config", "node/demo", "node/offline"}}, // main

	"bench":                 {imports: []string{"internal/servers"}}, // starts the binaries, as a user would
	"examples/steady":       {},
	"torture":               {imports: []string{"internal/servers"}},
	"soak":                  {imports: []string{"internal/servers"}},
	"integration":           {},
	"systemd":               {},
	"internal/architecture": {},
	"internal/servers":      {},
	"internal/testdisk":     {}, // tests only; the product does not link it
	"internal/differential": {}, // tests only, which start whole nodes
}

// maxFileLines and maxFunctionLines bound what one reader can hold in mind;
// tests are exempt, a table may be long.
const (
	maxFileLines     = 700
	maxFunctionLines = 100
)

// impureImports are the standard packages, with everything below them, that a
// pure package must not import.
var impureImports = []string{
	"context", "crypto/rand", "crypto/tls", "database", "hash/maphash", "io/fs", "io/ioutil", "log", "math/rand",
	"net", "os", "path/filepath", "plugin", "runtime", "sync", "syscall", "testing", "unique", "weak",
}

// seededRandom is below math/rand and allowed: its sources are seeded by
// whoever makes them. The functions of the package itself are not.
const seededRandom = "math/rand/v2"

// impureCalls are the functions, by import path, that a pure package must not
// use. For seededRandom it is every function but these constructors.
var impureCalls = map[string][]string{
	"time": {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "LoadLocation"},
	"fmt":  {"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"},
}

// randomConstructors make a source out of a seed; the types are harmless.
var randomConstructors = []string{"New", "NewPCG", "NewChaCha8", "NewZipf", "Rand", "Source", "PCG", "ChaCha8", "Zipf"}
