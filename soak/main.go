package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"holdfast/internal/servers"
)

// options are the command line.
type options struct {
	length   time.Duration // of the churn
	folder   string
	profiles string // a folder for profiles of the nodes, or ""
	leak     bool
	only     []string // the kinds of rounds, all if empty
}

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := command(ctx, os.Args[1:], os.Stdout)
	cancel()
	os.Exit(code)
}

// command runs this program and returns its exit code: 0 when nothing grew, 1 when
// something did, 2 when that could not be found out.
func command(ctx context.Context, arguments []string, out io.Writer) int {
	o, err := parse(arguments)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	var all []finding
	if err == nil {
		all, err = o.run(ctx, out)
	}
	grew := 0
	if len(all) > 0 {
		grew = report(out, all)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		return 2
	}
	if grew > 0 {
		fmt.Fprintf(out, "\n%d of %d measures grew beyond their bounds.\n", grew, len(all))
		return 1
	}
	return 0
}

// parse reads the command line.
func parse(arguments []string) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	minutes := flags.Float64("minutes", 60, "how long the churn goes on")
	flags.StringVar(&o.folder, "dir", os.TempDir(), "a `FOLDER` for the binary and the stores")
	flags.StringVar(&o.profiles, "profiles", "", "a `FOLDER` that gets profiles of every node's memory and goroutines: before the churn, in the middle of it, and after it")
	flags.BoolVar(&o.leak, "leak", false, "let the clients forget to delete and to close, to see it found")
	only := flags.String("only", "", "comma-separated kinds of rounds, to find out which of them makes something grow: "+strings.Join(jobNames(), ", "))
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	o.length = time.Duration(*minutes * float64(time.Minute))
	if flags.NArg() > 0 || o.length <= 0 {
		return nil, errors.New("bad arguments; see -help")
	}
	for name := range strings.SplitSeq(*only, ",") {
		if name != "" && !slices.Contains(jobNames(), name) {
			return nil, fmt.Errorf("-only: no kind of rounds %q", name)
		} else if name != "" {
			o.only = append(o.only, name)
		}
	}
	return o, nil
}

const (
	clusterSize = 3
	// startTime bounds a start, and what follows a change of the lead.
	startTime = 90 * time.Second
	// restTime is how long the cluster is left alone at most until it is judged at
	// rest: what clients abandon goes away after abandonTime.
	restTime = 2 * abandonTime
)

// run makes a cluster, has it churned and returns what was found. Whatever happens,
// no process and no file that it made is left behind.
func (o *options) run(ctx context.Context, out io.Writer) (all []finding, err error) {
	folder, err := os.MkdirTemp(o.folder, "holdfast-soak-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, servers.Races(folder), os.RemoveAll(folder)) }()
	target, program := servers.Targets[0], filepath.Join(folder, "holdfast")
	if err := servers.Build(ctx, "", program, target.Source); err != nil {
		return nil, err
	}
	c := &servers.Cluster{Name: "soak", Folder: folder, Secret: rand.Text() + rand.Text()}
	nodes, err := c.OnLoopback(target, program, clusterSize)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, n := range nodes {
			n.Process.Kill()
		}
	}()
	for _, n := range nodes {
		if err := n.Start(); err != nil {
			return nil, err
		}
	}
	if err := c.WaitWhole(ctx, startTime); err != nil {
		return nil, err
	}
	w := &watch{nodes: nodes, began: time.Now(), profiles: o.profiles}
	s := &soak{options: o, cluster: c, watch: w, churn: newChurn(nodes, o), out: out}
	err = s.run(ctx)
	for _, n := range nodes {
		err = errors.Join(err, n.Ended())
	}
	return w.findings(), err
}

// soak is one run on a cluster that serves.
type soak struct {
	*options
	cluster *servers.Cluster
	watch   *watch
	churn   *churn
	out     io.Writer
}

func (s *soak) run(ctx context.Context) error {
	if err := s.churn.prepare(ctx); err != nil {
		return err
	}
	defer s.churn.close()
	// What is made once and stays, or is bounded and fills, is no growth.
	if err := s.churn.warm(ctx); err != nil {
		return err
	}
	if err := s.rest(ctx, s.watch.before); err != nil {
		return err
	}
	if err := s.watch.keep("before"); err != nil {
		return err
	}
	churning, cancel := context.WithCancel(ctx)
	defer cancel()
	var err error
	var watching sync.WaitGroup
	watching.Go(func() {
		err = s.watch.look(churning, s.length, s.churn.said(s.out))
		cancel() // without a look at the nodes, churn proves nothing
	})
	churnErr := s.churn.goOn(churning, s.length)
	cancel()
	watching.Wait()
	if err == nil {
		err = churnErr
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\n%v of churn: %s\n\n", s.length, s.churn.counts())
	if err := s.rest(ctx, s.watch.after); err != nil {
		return err
	}
	return s.watch.keep("after")
}

// rest waits until nothing is left of the churn and lets the nodes be measured.
func (s *soak) rest(ctx context.Context, measure func(context.Context, time.Duration) error) error {
	if err := s.churn.clear(ctx); err != nil {
		return err
	}
	if err := s.cluster.WaitWhole(ctx, startTime); err != nil {
		return err
	}
	var left error
	if !s.leak {
		if left = servers.Await(ctx, startTime, restPause, func() error { return s.churn.isOver(ctx) }); left != nil {
			left = fmt.Errorf("%v after the last round: %w", startTime, left)
		}
	}
	// What was seen until then is worth a table in any case.
	return errors.Join(left, measure(ctx, restTime))
}
