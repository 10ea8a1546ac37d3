package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"holdfast/internal/servers"
)

// disaster is the one fault that an acknowledgement does not promise to outlive: a
// majority loses or spoils its memory at the same time. It comes last, to a cluster
// of Holdfast that is stopped and whose nodes store the same. What has to follow:
//
//  1. Nobody serves, on its own or together with others that know nothing; every
//     node says so and names the command that goes on, and where it is to be given.
//  2. After that command the cluster serves. Every node tells of a founding that
//     may have lost something.
//  3. Nothing is lost that a survivor had, which here is everything: each node
//     stores what all of them stored.
func (r *result) disaster(ctx context.Context, c *cluster, before string) error {
	random := rand.New(rand.NewPCG(r.seed, 1))
	hit := random.Perm(len(c.nodes))[:len(c.nodes)/2+1]
	var words []string
	for i, at := range hit {
		n := c.nodes[at]
		// A flipped bit, or the end of a file that is cut off, may be where nothing is
		// stored; then no memory is lost. These are certain.
		if i == 0 {
			words = append(words, n.Name+" wiped")
			if err := os.RemoveAll(n.Store); err != nil {
				return err
			}
			continue
		}
		what, err := behead(random, n.Store)
		if err != nil {
			return err
		}
		words = append(words, n.Name+": "+what)
	}
	r.disasters = strings.Join(words, ", ")
	r.say("          a majority loses its memory: %s", r.disasters)
	for _, n := range c.nodes {
		if err := n.start(); err != nil {
			return err
		}
	}
	if err := servers.Await(ctx, wholeTime, 50*time.Millisecond, c.allAsk); err != nil {
		r.broken(comesBack, "after a majority lost its memory: %v\n%s", err, c.logs(15))
		return ctx.Err()
	}
	if err := c.found(ctx); err != nil {
		r.broken(comesBack, "%v", err)
		return ctx.Err()
	}
	if err := c.waitWhole(ctx, wholeTime); err != nil {
		r.broken(comesBack, "not whole %v after the founding: %v\n%s", wholeTime, err, c.logs(15))
		return ctx.Err()
	}
	for _, n := range c.nodes {
		if s, err := n.Status(); err != nil || len(s.Foundings) != 2 || s.LossyFoundings != 1 {
			r.broken(nothingLost, "%s does not tell of one founding that may have lost something, but of %d: %q, %v", n.Name, s.LossyFoundings, s.Foundings, err)
		}
	}
	after, err := c.storedBy(ctx)
	if err != nil {
		r.broken(nodesAgree, "after the founding: %v", err)
		return ctx.Err()
	}
	for _, n := range c.nodes {
		if after[n.Name] != before {
			r.broken(nothingLost, "after the founding %s stores %s, before the disaster all stored %s", n.Name, after[n.Name], before)
		}
	}
	return nil
}

// stump is what is left at most of a file of a store that is cut: less than a
// store has that anything was ever in.
const stump = 64 << 10

// behead cuts all files of a store near their beginnings.
func behead(random *rand.Rand, store string) (string, error) {
	files, _, err := storeFiles(store)
	var words []string
	for _, f := range files {
		to := random.Int64N(min(f.size, stump))
		words = append(words, fmt.Sprintf("%s cut from %d to %d bytes", filepath.Base(f.path), f.size, to))
		err = errors.Join(err, os.Truncate(f.path, to))
	}
	return strings.Join(words, ", "), err
}

// allAsk returns nil when no node serves and each asks for the go-ahead.
func (c *cluster) allAsk() error {
	for _, n := range c.nodes {
		s, err := n.Status()
		switch {
		case err != nil:
			return err
		case s.Serving:
			return fmt.Errorf("%s serves", n.Name)
		case !strings.Contains(s.Waiting, "`holdfast found`"):
			return fmt.Errorf("%s does not say what helps, but: %q", n.Name, s.Waiting)
		}
	}
	return nil
}

// found gives the go-ahead on the one node that takes it; the others name it.
func (c *cluster) found(ctx context.Context) error {
	var refusals []string
	for _, n := range c.nodes {
		command := exec.Command(n.cluster.programs[n.build], "found", "--yes", "--monitor", n.Address(servers.MonitorPort))
		var out []byte
		err := n.place.Do(func() (err error) {
			out, err = command.CombinedOutput()
			return err
		})
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		refusals = append(refusals, fmt.Sprintf("%s: %v: %s", n.Name, err, out))
	}
	return fmt.Errorf("no node takes `holdfast found`:\n%s", strings.Join(refusals, "\n"))
}
