package node

import (
	"fmt"
	"time"
)

const (
	// openingQuiet is how long a store may take to open without a word about it, and
	// openingEvery the pause between two lines of the log.
	openingQuiet = time.Second
	openingEvery = 5 * time.Second
)

// opening follows the check of a store that is being opened. It reads every page
// in use once, so a large store takes a while, most of all one that is not in the
// page cache. It belongs to whoever opens: Start, then the loop.
type opening struct {
	began, told time.Time
	done        int64
}

// opening is told how much of the store's file was checked. It is a sign of life
// as well: the loop stands still while a store is opened.
func (n *Node) opening(done, total int64) {
	o, now := &n.opened, time.Now()
	if done <= o.done || o.began.IsZero() { // another store
		*o = opening{began: now, told: now.Add(openingQuiet - openingEvery)}
	}
	o.done = done
	n.notify.alive()
	percent := done * 100 / max(total, 1)
	state := fmt.Sprintf("the store is being checked, %d %% of %d MB", percent, total>>20)
	n.starting.Store(&state)
	n.notify.waiting(state)
	if now.Sub(o.told) >= openingEvery {
		o.told = now
		n.logger.Info("checking the store before it is used", "percent", percent, "bytes", done, "total", total)
	}
}

// startState is what a node does that has no status yet.
func (n *Node) startState() string {
	if state := n.starting.Load(); state != nil {
		return "starting: " + *state
	}
	return "starting"
}
