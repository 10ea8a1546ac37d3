// Holdfast keeps streams of messages on a few machines of your own, and always
// comes back. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"holdfast/node"
	"holdfast/node/config"
	"holdfast/node/demo"
	"holdfast/node/offline"
)

const usage = `usage: holdfast COMMAND [flags]

  run      [--config FILE] [--store DIR] [--listen HOST:PORT] [--monitor HOST:PORT]
           run a node; without a configuration: a durable one-node cluster on loopback
  check    --config FILE                 parse and validate a configuration
  status   [--monitor HOST:PORT] [--json] what a running node says of itself and the others
  found    [--without NAMES] [--monitor HOST:PORT] [--yes]
           go on after the memory of a majority was lost, and without members that
           are gone for good
  discard  STORE [--monitor HOST:PORT] [--yes]
           give up a store that is quarantined or alarmed
  verify   [--store DIR]                 check every byte of a store that no node uses
  inspect  [--store DIR | --file FILE] [--export FILE [--stream NAME]]
           what is in a store, damaged ones too; its messages as lines of JSON
  import   [--server URL] [--creds FILE] [--file FILE]
           publish the messages of an export to a cluster
  compact  [--store DIR]                 make the file of a store that no node uses smaller
  demo     three nodes in one process: publish, kill, wipe, heal, verify
  version  what this binary was built as
`

// version is set by who builds a release: go build -ldflags "-X main.version=1.2.3".
var version = "development"

// Exit codes. systemd restarts the node after every code but exitRefused.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitRefused = 78 // this process must not run as it is configured; see node.ErrRefused
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(exitUsage)
	}
	commands := map[string]func([]string) error{
		"run": run, "check": check, "status": status, "found": found, "discard": discard,
		"inspect": inspect, "import": importExport,
		"verify": onStore("verify", offline.Verify), "compact": onStore("compact", offline.Compact),
		"demo":    func([]string) error { return demo.Run(os.Stdout) },
		"version": func([]string) error { fmt.Println(version); return nil },
	}
	command, known := commands[os.Args[1]]
	if !known {
		if help := strings.TrimLeft(os.Args[1], "-"); help == "help" || help == "h" {
			fmt.Print(usage)
			return
		}
		fmt.Fprintf(os.Stderr, "holdfast: unknown command %q\n%s", os.Args[1], usage)
		os.Exit(exitUsage)
	}
	if err := command(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "holdfast:", err)
		if errors.Is(err, node.ErrRefused) {
			os.Exit(exitRefused)
		}
		os.Exit(exitFailed)
	}
}

// parse reads the flags of a command; a bad one ends the process.
func parse(flags *flag.FlagSet, args []string, operands int) {
	flags.Parse(args)
	if flags.NArg() != operands {
		fmt.Fprintf(os.Stderr, "holdfast %s: unexpected or missing argument\n", flags.Name())
		flags.Usage()
		os.Exit(exitUsage)
	}
}

// stopTimeout bounds an ordered stop.
const stopTimeout = 30 * time.Second

func run(args []string) error {
	flags := flag.NewFlagSet("run", flag.ExitOnError)
	file := flags.String("config", "", "configuration `FILE`")
	store := flags.String("store", "", "store folder, in the place of the configured one")
	listen := flags.String("listen", "", "`HOST:PORT` for clients; port 0: a free one")
	monitor := flags.String("monitor", "", "`HOST:PORT` of the monitor; port 0: a free one")
	debug := flags.Bool("debug", false, "log more")
	parse(flags, args, 0)

	cfg, err := config.Load(*file, config.Overrides{Store: *store, Listen: *listen, Monitor: *monitor})
	if err != nil {
		return err
	}
	level := slog.LevelInfo
	if *debug {
		level = slog.LevelDebug
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	logger.Info("holdfast starts", "version", version)
	spareProcessors()
	n, err := node.Start(cfg, logger)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-n.Done():
		return n.Err()
	case <-signals:
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return n.Stop(ctx)
}

// spareProcessors lets the scheduler run on three processors more than there are, unless
// GOMAXPROCS says how many: one is for the node's lookout. The others are because a
// goroutine that waits for the disk keeps its processor until the runtime's monitor takes
// it away, and then the monitor goes on to look every 20 µs; with others to spare it need
// not. Three nodes on two cores spent 10 to 17 % less processor time on a publish (128 B,
// 1 KiB) with two than with none.
func spareProcessors() {
	const spare = 3
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spare)
	}
}

func check(args []string) error {
	flags := flag.NewFlagSet("check", flag.ExitOnError)
	file := flags.String("config", "", "configuration `FILE`")
	parse(flags, args, 0)
	if *file == "" {
		return errors.New("check: --config FILE is missing")
	}
	if _, err := config.Load(*file, config.Overrides{}); err != nil {
		return err
	}
	fmt.Println(*file, "is valid")
	return nil
}

func status(args []string) error {
	flags := flag.NewFlagSet("status", flag.ExitOnError)
	monitor := flags.String("monitor", config.DefaultMonitor, "`HOST:PORT` of the node's monitor")
	asJSON := flags.Bool("json", false, "print JSON")
	parse(flags, args, 0)
	return node.PrintStatus(os.Stdout, *monitor, *asJSON)
}

func found(args []string) error {
	flags := flag.NewFlagSet("found", flag.ExitOnError)
	without := flags.String("without", "", "`NAMES` of the members that are gone for good, separated by commas; none: all members are there")
	monitor := flags.String("monitor", config.DefaultMonitor, "`HOST:PORT` of the node's monitor")
	yes := flags.Bool("yes", false, "do not ask")
	parse(flags, args, 0)
	return node.RequestFound(os.Stdout, *monitor, *without, confirmation(*yes))
}

func discard(args []string) error {
	flags := flag.NewFlagSet("discard", flag.ExitOnError)
	monitor := flags.String("monitor", config.DefaultMonitor, "`HOST:PORT` of the node's monitor")
	yes := flags.Bool("yes", false, "do not ask")
	store := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		store, args = args[0], args[1:]
	}
	parse(flags, args, 0)
	if store == "" {
		return errors.New("discard: the store is missing; `holdfast status` shows it")
	}
	return node.RequestDiscard(os.Stdout, *monitor, store, confirmation(*yes))
}

// confirmation shows what an operation risks and asks for "yes" on the terminal.
func confirmation(already bool) func(risk string) bool {
	return func(risk string) bool {
		fmt.Println(risk)
		if already {
			return true
		}
		fmt.Print(`Type "yes" to go on: `)
		var answer string
		if _, err := fmt.Fscanln(os.Stdin, &answer); err != nil && !errors.Is(err, io.EOF) {
			return false
		}
		return answer == "yes"
	}
}
