package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"holdfast/internal/servers"
)

// options are the command line.
type options struct {
	load    time.Duration // how long each load takes
	rounds  int
	dir     string
	secret  string // of Holdfast's cluster; "": none
	targets []*servers.Target
	loads   []string
}

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		defer cancel()
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// parse reads the command line.
func parse(args []string) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	seconds := flags.Float64("seconds", 5, "how long each load takes")
	only := flags.String("only", "", "comma-separated names of targets ("+strings.Join(servers.Names(), ", ")+
		") and of loads ("+strings.Join(loadNames, ", ")+"); what is not named is left out")
	flags.IntVar(&o.rounds, "rounds", 3, "how often each target takes its turn")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "a folder on the disk to measure, for stores and binaries")
	encrypted := flags.Bool("encrypted", false, "the nodes of Holdfast talk by TLS, those of the others do not")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	o.load = time.Duration(*seconds * float64(time.Second))
	if flags.NArg() > 0 || o.load <= 0 || o.rounds <= 0 {
		return nil, errors.New("bad arguments; see -help")
	}
	if *encrypted {
		o.secret = rand.Text() + rand.Text()
	}
	for _, name := range strings.FieldsFunc(*only, func(r rune) bool { return r == ',' || r == ' ' }) {
		if slices.Contains(loadNames, name) {
			o.loads = append(o.loads, name)
		} else if t := servers.Named(name); t != nil {
			o.targets = append(o.targets, t)
		} else {
			return nil, fmt.Errorf("-only: no target or load %q", name)
		}
	}
	if len(o.targets) == 0 {
		o.targets = servers.Targets
	}
	if len(o.loads) == 0 {
		o.loads = loadNames
	}
	return o, nil
}

// run measures everything and prints the table. Whatever happens, no process
// and no file that it made is left behind.
func run(ctx context.Context, o *options) (err error) {
	dir, err := os.MkdirTemp(o.dir, "holdfast-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	programs, err := servers.BuildAll(ctx, dir, o.targets)
	if err != nil {
		return err
	}
	results := newResults(o.targets)
	for round := range o.rounds {
		for _, t := range o.targets {
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, o.rounds, t.Title)
			turn := &turn{options: o, target: t, program: programs[t.Source], dir: dir, results: results}
			if err := turn.run(ctx); err != nil {
				return fmt.Errorf("%s, round %d: %w", t.Name, round+1, err)
			}
		}
	}
	fmt.Print(results.table())
	if first := o.targets[0]; len(o.targets) > 1 {
		fmt.Printf("\n× says how many times better %s is: above 1 better, below 1 worse.\n", first.Title)
	}
	fmt.Printf("\nMedians of %d rounds, %v for each load. %s.\n", o.rounds, o.load, machine(o.dir))
	return nil
}
