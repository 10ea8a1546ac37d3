package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"holdfast/internal/servers"
)

// leastRate is how many messages a second are acknowledged at least on average: a
// cluster that serves nobody loses nothing.
const leastRate = 20

// trial is one cluster, tortured and judged.
type trial struct {
	target    *servers.Target
	programs  []string
	size      int
	length    time.Duration // of the faults
	seed      uint64
	folder    string
	logs      string // a folder that the nodes' logs are kept in, or ""
	sandboxed bool
	inFiles   bool // the nodes' disks are in files, not in memory
	say       func(format string, args ...any)
}

// result is what came out of a trial.
type result struct {
	trial
	verdict
	records      []*record
	answered     []span
	outages      []span
	held         pulse // also in outages
	acknowledged int   // messages
	operations   int   // on keys
	keys         int
	undecided    int // keys
	helped       int // restarts of everything that were needed
	delays       string
	disasters    string // what a majority lost at once in the end, see disaster
}

// run does all of it. An error is a fault of the harness or its machine, or the end
// of the context; what the servers did wrong is in the result.
func (t trial) run(ctx context.Context) (r *result, err error) {
	folder, err := os.MkdirTemp(t.folder, t.target.Name+"-")
	if err != nil {
		return nil, err
	}
	c, err := newCluster(folder, t.target, t.programs, t.size, t.sandboxed, t.inFiles)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.end(), c.keepLogs(t.logs), os.RemoveAll(folder)) }()
	r = &result{trial: t}
	if c.network != nil {
		r.delays = strings.Join(c.network.delays, " ")
	}
	for _, n := range c.nodes {
		if err := n.start(); err != nil {
			return nil, err
		}
	}
	if err := c.waitWhole(ctx, wholeTime); err != nil {
		return nil, fmt.Errorf("the cluster did not start: %w\n%s", err, c.logs(15))
	}
	began := time.Now()
	now := func() time.Duration { return time.Since(began) }
	l, err := newLoad(c, now)
	if err != nil {
		return nil, err
	}
	defer l.close()
	if err := l.start(ctx); err != nil {
		return nil, err
	}
	tormentor := &tormentor{cluster: c, conditions: newConditions(t.size, now), now: now, say: t.say}
	tormentor.leader = func() int { return l.leader(0) }
	beating, endBeat := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { r.held.beat(beating, now) })
	r.torment(ctx, tormentor)
	l.endPublishing()
	l.publishers.Wait()
	endBeat()
	watching.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r.records, r.answered = tormentor.records, l.ledger.answered()
	r.outages = union(append(tormentor.conditions.spans(), r.held...))
	return r, r.judge(ctx, c, l)
}

// torment performs acts until the time is over.
func (r *result) torment(ctx context.Context, t *tormentor) {
	timed, cancel := context.WithTimeout(ctx, r.length)
	defer cancel()
	p := newPlan(r.seed, r.size, r.sandboxed, r.sandboxed)
	for timed.Err() == nil {
		a := p.act()
		if !wait(timed, a.pause) {
			break
		}
		if err := t.perform(timed, a); err != nil {
			r.broken(comesBack, "%v\n%s", err, t.cluster.logs(25))
			if t.cluster.isHoldfast() {
				return
			}
			// The next act may destroy something, so all has to be well before.
			for r.help(timed, t.cluster) != nil && timed.Err() == nil {
			}
		}
	}
	if err := t.cluster.waitWhole(ctx, t.cluster.patience()); err != nil && ctx.Err() == nil {
		r.broken(comesBack, "not whole %v after the last fault: %v\n%s", t.cluster.patience(), err, t.cluster.logs(25))
		_ = r.help(ctx, t.cluster) // what is still missing then, the checkers say
	}
}

// patience is how long the next acts may wait for the cluster to be whole before it
// is given up on, or helped.
func (c *cluster) patience() time.Duration {
	if c.isHoldfast() {
		return wholeTime
	}
	return helpTime
}

// help restarts every node, as an operator would, and waits for the cluster to be
// whole.
func (r *result) help(ctx context.Context, c *cluster) error {
	r.helped++
	r.say("          … every node is restarted to help")
	for _, n := range c.nodes {
		n.kill()
	}
	for _, n := range c.nodes {
		if err := n.start(); err != nil {
			return err
		}
	}
	return c.waitWhole(ctx, helpTime)
}

// judge reads everything back and lets the checkers look at it.
func (r *result) judge(ctx context.Context, c *cluster, l *load) error {
	js, err := jetstream.New(l.conns[0], jetstream.WithDefaultTimeout(callTime))
	if err != nil {
		return err
	}
	r.say("          faults have ended, consumers get the rest")
	if err := r.drain(ctx, l, js); err != nil {
		return err
	}
	l.endRead()
	l.consumers.Wait()
	operations := l.registry.all()
	r.operations = len(operations)
	r.say("          every stream is read with each node leading")
	contents, err := l.readAll(ctx)
	if err != nil {
		r.broken(comesBack, "%v", err)
	} else {
		r.keys, r.undecided = r.checkRegistry(operations, contents)
	}
	if c.isHoldfast() {
		r.noFounding(c)
	}
	if texts, err := c.storedBy(ctx); err != nil {
		r.broken(nodesAgree, "%v", err)
	} else if r.checkAgreement(texts); c.isHoldfast() && r.counts[nodesAgree] == 0 {
		if err := r.disaster(ctx, c, texts[c.nodes[0].Name]); err != nil {
			return err
		}
	}
	for _, h := range []*history{&l.ledger, &l.work} {
		r.checkLost(h, h == &l.work)
		r.checkTwice(h)
		r.checkOrder(h)
		r.checkTruth(h)
		r.checkAcks(h)
		r.checkDelivered(h)
		r.acknowledged += h.acknowledged()
	}
	if atLeast := int(r.length.Seconds() * leastRate); r.acknowledged < atLeast {
		r.broken(comesBack, "%d messages are acknowledged, fewer than %d", r.acknowledged, atLeast)
	}
	for _, how := range c.deaths.all() {
		r.broken(noneDies, "%s", how)
	}
	return nil
}

// drain waits until every consumer has got everything; an error is the end of the
// context.
func (r *result) drain(ctx context.Context, l *load, js jetstream.JetStream) error {
	told := time.Now()
	for deadline := told.Add(wholeTime); ; {
		err := l.drained(ctx, js)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			r.broken(comesBack, "not drained after %v: %v", wholeTime, err)
			return nil
		}
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			r.say("          … %v", err)
		}
		if !wait(ctx, 50*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// noFounding: faults that leave a majority its memory do not make the cluster begin
// anew.
func (r *result) noFounding(c *cluster) {
	for _, n := range c.nodes {
		if s, err := n.Status(); err == nil && len(s.Foundings) != 1 {
			r.broken(nothingLost, "%s tells of these foundings: %q", n.Name, s.Foundings)
		}
	}
}

// logs are the last lines of every node.
func (c *cluster) logs(lines int) string {
	var b strings.Builder
	for _, n := range c.nodes {
		fmt.Fprintf(&b, "the last lines of %s:\n%s", n.Name, n.LastLines(lines))
	}
	return b.String()
}

// keepLogs copies the nodes' logs to where they can be looked at afterwards.
func (c *cluster) keepLogs(to string) error {
	if to == "" {
		return nil
	}
	for _, n := range c.nodes {
		text, err := os.ReadFile(n.Log())
		if err == nil {
			err = os.WriteFile(filepath.Join(to, fmt.Sprintf("%s-%d-%s.log", c.target.Name, len(c.nodes), n.Name)), text, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
