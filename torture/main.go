package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"holdfast/internal/servers"
)

// options are the command line.
type options struct {
	length  time.Duration // of the faults of one trial
	seed    uint64
	sizes   []int
	targets []*servers.Target
	folder  string
	logs    string
	// previous is the revision of git that the second build is made of; "": the
	// present one.
	previous string
	// inFiles: the nodes' disks are file systems in files of the folder.
	inFiles bool
}

func main() { os.Exit(command(os.Args[1:])) }

// command runs this program and returns its exit code: 0 when Holdfast kept all
// rules, 1 when it did not, 2 when that could not be found out.
func command(arguments []string) int {
	dieWithParent()
	inside := os.Getenv(insideVariable)
	if inside == insideProbe {
		if err := probe(); err != nil {
			fmt.Println(err)
		}
		return 0
	}
	o, err := parse(arguments)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		defer cancel()
		var code int
		if inside != "" {
			code, err = o.inside(ctx, inside, true)
		} else {
			code, err = o.outside(ctx, arguments)
		}
		if err == nil {
			return code
		}
	}
	fmt.Fprintln(os.Stderr, "torture:", err)
	return 2
}

// parse reads the command line.
func parse(arguments []string) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("torture", flag.ContinueOnError)
	minutes := flags.Float64("minutes", 2, "how long faults go on, for each column of the table")
	nodes := flags.String("nodes", "3,5", "how many `NODES` a cluster of Holdfast has, 3 or 5; JetStream has the first")
	targets := flags.String("targets", "holdfast", "comma-separated names of what is tortured: "+strings.Join(servers.Names(), ", "))
	flags.Uint64Var(&o.seed, "seed", 0, "of the plan of faults; 0: a fresh one")
	flags.StringVar(&o.folder, "dir", os.TempDir(), "a folder for binaries, logs and stores on disk; stores in memory are on disks of their own where mounts are allowed")
	flags.StringVar(&o.logs, "logs", "", "a `FOLDER` that the logs of the nodes are kept in")
	flags.StringVar(&o.previous, "previous", "", "a git `REVISION` that rolling restarts go to and come from; none: the present one under another version")
	stores := flags.String("stores", "memory", "where the nodes' disks are: in memory, or in files of `disk`; that needs root")
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	o.length = time.Duration(*minutes * float64(time.Minute))
	o.inFiles = *stores == "disk"
	if flags.NArg() > 0 || o.length <= 0 || !o.inFiles && *stores != "memory" {
		return nil, errors.New("bad arguments; see -help")
	}
	for _, word := range strings.Split(*nodes, ",") {
		size, err := strconv.Atoi(word)
		if err != nil || size != 3 && size != 5 {
			return nil, fmt.Errorf("-nodes: %q is neither 3 nor 5", word)
		}
		o.sizes = append(o.sizes, size)
	}
	for _, name := range strings.Split(*targets, ",") {
		t := servers.Named(name)
		if t == nil {
			return nil, fmt.Errorf("-targets: no target %q", name)
		}
		o.targets = append(o.targets, t)
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1_000_000) + 1
	}
	return o, nil
}

// outside builds everything and then goes inside, if this machine has one.
func (o *options) outside(ctx context.Context, arguments []string) (code int, err error) {
	folder, err := os.MkdirTemp(o.folder, "holdfast-torture-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, servers.Races(folder), os.RemoveAll(folder)) }()
	if err := o.build(ctx, folder); err != nil {
		return 0, err
	}
	if err := probeSandbox(); err != nil {
		fmt.Printf("No network, no disks and no latency of the nodes' own, so no faults of them: %v\nThe nodes are on loopback.\n", err)
		return o.inside(ctx, folder, false)
	}
	return newSandbox(folder, append(slices.Clone(arguments), "-seed", fmt.Sprint(o.seed))).run(ctx)
}

// inside runs the trials one after the other and prints what came out.
func (o *options) inside(ctx context.Context, folder string, sandboxed bool) (code int, err error) {
	if sandboxed {
		if err := furnish(); err != nil {
			return 0, err
		}
	}
	var results []*result
	for _, t := range o.targets {
		sizes := o.sizes
		if t != servers.Targets[0] {
			sizes = sizes[:1]
		}
		for _, size := range sizes {
			fmt.Printf("%s, %d nodes, %v, seed %d\n", t.Title, size, o.length, o.seed)
			began := time.Now()
			r, err := trial{target: t, programs: programs(folder, t), size: size, length: o.length, seed: o.seed,
				folder: folder, logs: o.logs, sandboxed: sandboxed, inFiles: o.inFiles, say: sayLine}.run(ctx)
			if err != nil {
				return 0, err
			}
			fmt.Printf("\n%sall of it took %v\n\n", r.details(), time.Since(began).Round(time.Second))
			results = append(results, r)
			if !r.clean() && t == servers.Targets[0] {
				code = 1
			}
		}
	}
	fmt.Print(report(results))
	if delays := results[0].delays; delays != "" {
		fmt.Printf("\nLatency and loss: tc qdisc %s.\n", delays)
	}
	return code, nil
}

func sayLine(format string, args ...any) { fmt.Printf(format+"\n", args...) }
