package simulation

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Sizes of a disk and of a store file (docs/storage.md).
const (
	sectorBytes = 512
	metaBytes   = 2 * 8192 // the two meta pages
)

// tear leaves a file as a failure in the middle of a transaction may: every sector
// that the transaction changed is there or is not, in any combination. None of the
// meta pages is there unless all of the rest is: where they are written without
// waiting for the rest, what is missing is noticed (package wal tests that:
// TestForcedFailures, TestUnfinishedCommit). A file
// of which nothing was synced, when before is nil, has any of its sectors.
//
// Which sectors a transaction uses is not a function of the seed: the database
// chooses among free pages by ranging over a map. Nothing that is traced may
// depend on it, so the draws have a source of their own.
func (w *world) tear(path string, before []byte) {
	draw := rand.New(rand.NewPCG(w.random.Uint64(), 0))
	after, err := os.ReadFile(path)
	if err != nil {
		w.fail("tear %s: %v", path, err)
	}
	torn := append([]byte(nil), before...)
	torn = append(torn, make([]byte, max(0, len(after)-len(before)))...)
	written := []float64{0, 0.1, 0.5, 0.9, 1}[draw.IntN(5)]
	end := len(before)
	for at := 0; at < len(after); at += sectorBytes {
		to := min(at+sectorBytes, len(after))
		if before != nil && at < metaBytes || bytes.Equal(after[at:to], torn[at:to]) {
			continue
		}
		if draw.Float64() < written {
			copy(torn[at:to], after[at:to])
			end = max(end, to)
		}
	}
	if draw.IntN(2) == 0 {
		torn = torn[:end]
	}
	if err := os.WriteFile(path, torn, 0o600); err != nil {
		w.fail("tear %s: %v", path, err)
	}
}

// tornCommit is a transaction in which the process or the power fails.
type tornCommit struct {
	path   string
	before []byte
	lock   []byte // the folder's lock file: the mark of the journal is written last
}

func (w *world) beginTorn(path string) *tornCommit {
	before, err := os.ReadFile(path)
	if err != nil {
		w.fail("tear %s: %v", path, err)
	}
	lock, err := os.ReadFile(lockOf(path))
	if err != nil {
		w.fail("tear %s: %v", path, err)
	}
	return &tornCommit{path, before, lock}
}

func lockOf(path string) string { return filepath.Join(filepath.Dir(path), "lock") }

// end leaves what the failure leaves, after the transaction was made: all of it,
// if its meta page was written, or parts of what it wrote before. The file is
// closed.
func (t *tornCommit) end(h *host) (whole bool) {
	if h.world.chance(0.3) {
		h.note("the last commit went through")
		return true
	}
	h.note("the last commit was torn")
	h.world.tear(t.path, t.before)
	if err := os.WriteFile(lockOf(t.path), t.lock, 0o600); err != nil {
		h.world.fail("tear %s: %v", t.path, err)
	}
	return false
}

// journalBytes is the size of a store's journal: it is full after a few commits, so
// that all ways out of it are met.
const journalBytes = 128 << 10
