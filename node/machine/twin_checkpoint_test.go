package machine

import (
	"maps"
	"math"
	"slices"
)

// halfCheckpoint is a checkpoint of which not everything is encoded yet.
type halfCheckpoint struct {
	applied, horizon uint64
	stamp            int64
	dead             []uint64
	digest           uint64 // of the machine when it began
}

// checkpointOn begins a checkpoint now and then, and goes on with one that is under
// way, so that any entries are applied meanwhile.
func (p *pair) checkpointOn() {
	p.t.Helper()
	p.drop()
	switch n := p.random.IntN(8); {
	case p.making != nil && n < 4:
		p.continueCheckpoint(1 + p.random.IntN(60))
	case p.making == nil && n == 0:
		p.checkpoint()
	case p.making == nil && n == 1:
		p.beginCheckpoint()
	}
}

// checkpoint makes what changed durable, with the dead entries up to a random
// horizon.
func (p *pair) checkpoint() {
	p.t.Helper()
	if p.making != nil {
		p.continueCheckpoint(math.MaxInt)
	}
	p.beginCheckpoint()
	p.continueCheckpoint(math.MaxInt)
}

func (p *pair) beginCheckpoint() {
	p.t.Helper()
	horizon := max(p.restored.horizon, p.index-min(p.index, uint64(p.random.IntN(20))))
	p.making = &halfCheckpoint{applied: p.index, horizon: horizon, stamp: p.machine.Stamp(), digest: p.machine.Digest()}
	p.machine.BeginCheckpoint()
	p.making.dead = p.machine.Dead(horizon)
	present := p.staying()
	for _, entry := range p.making.dead {
		if !present[entry] {
			p.t.Fatalf("entry %d reported dead twice", entry)
		}
		delete(present, entry)
	}
	p.checkLives(present, horizon)
}

// continueCheckpoint encodes some more, and makes everything durable when that was all.
func (p *pair) continueCheckpoint(work int) {
	p.t.Helper()
	captured := p.machine.Capture(work)
	if captured == nil {
		return
	}
	puts, deletes := captured.Pairs()
	for _, put := range puts {
		p.durable[string(put.Key)] = slices.Clone(put.Value)
	}
	for _, key := range deletes {
		if _, ok := p.durable[string(key)]; !ok {
			p.t.Fatalf("key %x deleted that was never put", key)
		}
		delete(p.durable, string(key))
	}
	p.dying = append(p.dying, p.making.dead...)
	p.restored.applied, p.restored.horizon, p.stamp = p.making.applied, p.making.horizon, p.making.stamp
	expect(p.t, "digest of a checkpoint that took several steps", p.restore().Digest(), p.making.digest)
	p.making = nil
}

// drop lets some of the dead entries go, in the order in which they were reported.
func (p *pair) drop() {
	for range min(p.random.IntN(6), len(p.dying)) {
		delete(p.present, p.dying[0])
		p.dying = p.dying[1:]
	}
}

// staying are the entries that are there and were not reported dead.
func (p *pair) staying() map[uint64]bool {
	staying := maps.Clone(p.present)
	for _, entry := range p.dying {
		delete(staying, entry)
	}
	return staying
}

// checkPresence compares the entries that are still there with those that
// anything lives in.
func (p *pair) checkPresence(horizon uint64) {
	p.t.Helper()
	p.checkLives(p.staying(), horizon)
}

func (p *pair) checkLives(present map[uint64]bool, horizon uint64) {
	p.t.Helper()
	for entry := uint64(1); entry <= horizon; entry++ {
		if live := p.machine.Live(entry) > 0; live != present[entry] {
			p.t.Fatalf("entry %d: live %v, present %v", entry, live, present[entry])
		}
	}
}

// restore returns the machine that the durable state describes.
func (p *pair) restore() *Machine {
	p.t.Helper()
	again, err := Restore(Options{BlockMessages: 8}, p.restored.applied, p.restored.horizon, p.stamp, func(yield func(key, value []byte) error) error {
		for key, value := range p.durable {
			if err := yield([]byte(key), value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return again
}

// crash replaces the machine by one that is restored from what is durable and
// applies the rest of the log again. What a checkpoint has encoded until then is lost.
func (p *pair) crash() {
	p.t.Helper()
	again := p.restore()
	p.dying = nil
	for entry := uint64(1); entry <= p.restored.horizon; entry++ {
		if p.present[entry] {
			again.Stored(entry)
		}
	}
	var results Results
	for index := p.restored.applied + 1; index <= p.index; index++ {
		if err := again.Apply(index, p.entries[index], &results); err != nil {
			p.t.Fatal(err)
		}
	}
	expect(p.t, "digest after restore", again.Digest(), p.machine.Digest())
	p.machine, p.making = again, nil
}
