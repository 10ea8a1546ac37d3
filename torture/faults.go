package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// wholeTime is how long a cluster may take to be whole again. It is about
	// wedges on a busy machine, not about speed.
	wholeTime = 90 * time.Second
	// helpTime is how long a cluster of nats-server is waited for before it is
	// restarted: after a full disk it waits for that.
	helpTime = 30 * time.Second
	// foundTime is how long damage may go unnoticed: a round of the background
	// check begins at least every ten seconds and reads 8 MB/s.
	foundTime = 5 * time.Minute
)

// tormentor injects faults into a cluster and keeps the record of them.
type tormentor struct {
	cluster    *cluster
	conditions *conditions
	now        func() time.Duration // since the run began
	leader     func() int           // the number of the node that leads
	say        func(format string, args ...any)

	mu      sync.Mutex
	taken   []bool // nodes that a fault of the present act has chosen
	records []*record
}

// record is what is known of one fault that was injected.
type record struct {
	kind kind
	node string // "" for all
	// began is when it was injected, ended when it was taken back (a process is
	// there again, a file was damaged), from when on the cluster could do what it
	// promises: when it began if a majority was left, otherwise when it ended.
	began, ended, from time.Duration
	// whole is when nothing was left of it; 0: other faults came first, or were there
	// at the same time.
	whole time.Duration
	what  string // details
}

// perform runs the faults of an act and, if it settles, waits until the cluster is
// whole.
func (t *tormentor) perform(ctx context.Context, a act) error {
	t.taken = make([]bool, len(t.cluster.nodes))
	var running sync.WaitGroup
	errs := make([]error, len(a.faults))
	records := make([]*record, len(a.faults))
	for i, f := range a.faults {
		running.Go(func() {
			if wait(ctx, f.after) {
				records[i], errs[i] = t.inject(ctx, f)
			}
		})
	}
	running.Wait()
	if err := errors.Join(errs...); err != nil || !a.settles || ctx.Err() != nil {
		return err
	}
	if err := t.cluster.waitWhole(ctx, t.cluster.patience()); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("not whole %v after %v: %w", t.cluster.patience(), a, err)
	}
	// Of more faults than one, nobody can tell which of them it took that long for.
	if r := records[0]; len(records) == 1 && r.whole == 0 {
		r.whole = t.now()
	}
	return nil
}

// wait returns false when the context ended before.
func wait(ctx context.Context, length time.Duration) bool {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// choose resolves the node of a fault, another one than the act has chosen before.
func (t *tormentor) choose(f fault) *node {
	i := f.node
	if i == leading {
		i = t.leader()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.taken[i] {
		i = (i + 1) % len(t.taken)
	}
	t.taken[i] = true
	return t.cluster.nodes[i]
}

// inject makes a fault happen, holds it, and takes it back. The record is filled in
// but for when the cluster was whole.
func (t *tormentor) inject(ctx context.Context, f fault) (*record, error) {
	nodes := t.cluster.nodes
	r := &record{kind: f.kind}
	if !f.kind.everywhere() {
		n := t.choose(f)
		nodes, r.node = []*node{n}, n.Name
	}
	random := rand.New(rand.NewPCG(f.seed, 0))
	r.began = t.now()
	r.from = r.began
	t.mu.Lock()
	t.records = append(t.records, r)
	t.mu.Unlock()
	t.say("%8.3f  %v", r.began.Seconds(), describe(r, f))
	hold := func() {
		if !t.conditions.isAble() {
			r.from = -1
		}
		wait(ctx, f.hold)
	}
	var err error
	switch f.kind {
	case killed, killedAll:
		err = t.killing(nodes, hold, func() error { return nil })
	case frozen:
		err = t.freezing(nodes[0], hold)
	case wiped, flippedDown, truncatedDown:
		err = t.destroying(ctx, r, nodes[0], hold, func() error { return damage(f.kind, nodes[0], random, r) })
	case flippedUp, truncatedUp:
		err = t.spoiling(ctx, r, nodes[0], hold, func() error { return damage(f.kind, nodes[0], random, r) })
	case rolled:
		err = t.rolling(ctx)
	case filled, filledAll:
		err = t.filling(nodes, hold)
	case isolated, oneWay, bridged:
		err = t.cutting(t.ways(f.kind, nodes[0].index, random), hold)
	case slowed:
		err = errors.Join(t.cluster.network.slow(nodes[0].index))
		hold()
		err = errors.Join(err, t.cluster.network.quick(nodes[0].index))
	}
	if r.ended == 0 {
		r.ended = t.now()
	}
	if r.from < 0 {
		r.from = r.ended
	}
	if r.what != "" {
		t.say("%8.3f  … %s", t.now().Seconds(), r.what)
	}
	if err != nil {
		return r, fmt.Errorf("%v: %w", f, err)
	}
	return r, nil
}

func describe(r *record, f fault) string {
	if r.node == "" {
		return fmt.Sprintf("%v, %v", r.kind, f.hold.Round(time.Millisecond))
	}
	return fmt.Sprintf("%v: %s, %v", r.kind, r.node, f.hold.Round(time.Millisecond))
}

// set changes a counter of the conditions for some nodes.
func (t *tormentor) set(counters []int, nodes []*node, by int) {
	t.conditions.change(func() {
		for _, n := range nodes {
			counters[n.index] += by
		}
	})
}

// killing kills nodes, does something to them, and starts them again.
func (t *tormentor) killing(nodes []*node, hold func(), meanwhile func() error) error {
	t.set(t.conditions.down, nodes, 1)
	var dead sync.WaitGroup
	for _, n := range nodes {
		dead.Go(n.kill)
	}
	dead.Wait()
	err := meanwhile()
	hold()
	for _, n := range nodes {
		err = errors.Join(err, n.start())
	}
	t.set(t.conditions.down, nodes, -1)
	return err
}

func (t *tormentor) freezing(n *node, hold func()) error {
	t.set(t.conditions.down, []*node{n}, 1)
	process := n.current()
	err := process.Signal(syscall.SIGSTOP)
	hold()
	err = errors.Join(err, process.Signal(syscall.SIGCONT))
	t.set(t.conditions.down, []*node{n}, -1)
	return err
}

// destroying does something to the store of a node that is down, and waits until
// the node has its memory again.
func (t *tormentor) destroying(ctx context.Context, r *record, n *node, hold func(), harm func() error) error {
	t.set(t.conditions.blank, []*node{n}, 1)
	defer t.set(t.conditions.blank, []*node{n}, -1)
	before := t.identity(n)
	if err := t.killing([]*node{n}, hold, harm); err != nil {
		return err
	}
	r.ended = t.now()
	return t.healed(ctx, r, n, before)
}

// spoiling does the same to one that runs.
func (t *tormentor) spoiling(ctx context.Context, r *record, n *node, hold func(), harm func() error) error {
	t.set(t.conditions.blank, []*node{n}, 1)
	defer t.set(t.conditions.blank, []*node{n}, -1)
	before := t.identity(n)
	if err := harm(); err != nil {
		return err
	}
	r.ended = t.now()
	hold()
	return t.healed(ctx, r, n, before)
}

// damage does what the kind says to the files of a node.
func damage(k kind, n *node, random *rand.Rand, r *record) (err error) {
	switch k {
	case wiped:
		err = os.RemoveAll(n.Store)
	case flippedDown, flippedUp:
		r.what, err = flipBits(random, n.Store)
	case truncatedDown, truncatedUp:
		r.what, err = cutFile(random, n.Store)
	}
	return err
}

// identity is the store of a node of Holdfast; "" when it does not answer.
func (t *tormentor) identity(n *node) string {
	s, _ := n.Status()
	return s.Store
}

// healed waits until the cluster is whole and the damage to a node is not waiting
// to be found: the node has another store, or has checked all of this one since.
func (t *tormentor) healed(ctx context.Context, r *record, n *node, before string) error {
	if err := t.cluster.waitWhole(ctx, t.cluster.patience()); err != nil {
		return ignoreEnd(ctx, err)
	}
	r.whole = t.now()
	if !t.cluster.isHoldfast() || before == "" {
		return nil
	}
	first, known := uint64(0), false
	for t.now()-r.whole < foundTime {
		s, err := n.Status()
		switch {
		case err != nil:
		case s.Store != before:
			if err := t.cluster.waitWhole(ctx, t.cluster.patience()); err != nil {
				return ignoreEnd(ctx, err)
			}
			r.whole = t.now()
			return nil
		case !known || s.ScrubRounds < first: // or it is another process
			first, known = s.ScrubRounds, true
		case s.ScrubRounds >= first+2: // the second began after the damage
			return nil
		}
		if !wait(ctx, 100*time.Millisecond) {
			return nil
		}
	}
	return fmt.Errorf("%s has not checked its store within %v", n.Name, foundTime)
}

// ignoreEnd leaves out what only the end of the run is to blame for.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// rolling restarts every node in turn with the other build, as who upgrades a
// cluster does: the next when all is well.
func (t *tormentor) rolling(ctx context.Context) error {
	for _, n := range t.cluster.nodes {
		t.set(t.conditions.down, []*node{n}, 1)
		err := n.stop()
		n.build = (n.build + 1) % len(t.cluster.programs)
		err = errors.Join(err, n.start())
		t.set(t.conditions.down, []*node{n}, -1)
		if err == nil {
			err = t.cluster.waitWhole(ctx, t.cluster.patience())
		}
		if err != nil || ctx.Err() != nil {
			return ignoreEnd(ctx, err)
		}
	}
	return nil
}

func (t *tormentor) filling(nodes []*node, hold func()) error {
	t.set(t.conditions.full, nodes, 1)
	var err error
	for _, n := range nodes {
		err = errors.Join(err, n.disk.fill())
	}
	hold()
	for _, n := range nodes {
		err = errors.Join(err, n.disk.empty())
	}
	t.set(t.conditions.full, nodes, -1)
	return err
}

func (t *tormentor) cutting(ways []direction, hold func()) error {
	t.conditions.change(func() {
		for _, way := range ways {
			t.conditions.cuts[way]++
		}
	})
	err := t.cluster.network.cut(ways)
	hold()
	err = errors.Join(err, t.cluster.network.join(ways))
	t.conditions.change(func() {
		for _, way := range ways {
			t.conditions.cuts[way]--
		}
	})
	return err
}

// ways are what a partition cuts. The node is the one that is cut off, that does not
// get through, or the bridge.
func (t *tormentor) ways(k kind, node int, random *rand.Rand) (ways []direction) {
	others := random.Perm(len(t.cluster.nodes))
	for i, other := range others {
		if other == node {
			others = append(others[:i], others[i+1:]...)
			break
		}
	}
	both := func(a, b int) { ways = append(ways, direction{a, b}, direction{b, a}) }
	switch k {
	case isolated:
		for _, other := range others {
			both(node, other)
		}
	case oneWay:
		ways = append(ways, direction{node, others[0]})
	case bridged:
		half := len(others) / 2
		for _, a := range others[:half] {
			for _, b := range others[half:] {
				both(a, b)
			}
		}
	}
	return ways
}
