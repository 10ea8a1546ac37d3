package wal

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	bolt "go.etcd.io/bbolt"

	"holdfast/protocol"
)

// Store is one open store. See the package's documentation for which goroutine
// may call what.
type Store struct {
	path string
	opt  databaseOptions
	// claim is called before the store takes a new identity, so that the folder
	// knows of it even if the store is damaged in the next moment.
	claim func(protocol.Identity) error

	// mu is held shared while a transaction begins, and exclusively while the
	// file is closed or opened again.
	mu     sync.RWMutex
	db     *database
	closed bool

	states  atomic.Pointer[states]
	present atomic.Pointer[presence] // entries at or below the horizon
	damage  atomic.Pointer[DamageError]
	readers sync.Pool // of *Reader
	writer  writer    // of the committing goroutine
	journal *journal  // of the committing goroutine; nil: there is no room for one
	removed *os.File  // of a closed store whose file was not where it belongs, see Dir.Reattach
}

// openStore opens the store file at path after checking all of its structure.
func openStore(path string, owner Owner, opt databaseOptions) (*Store, error) {
	s := &Store{path: path, opt: opt}
	found, err := surveyTold(path, opt.mark, opt.opening)
	if err == nil && found.checkpoint.owner != owner {
		return nil, foreign(path, found.checkpoint.owner, owner)
	}
	var db *database
	if err == nil {
		db, err = openSurveyed(path, opt, found)
	}
	if err != nil {
		return nil, s.openingFailed(err)
	}
	s.db = db
	s.present.Store(found.present)
	st, err := s.catchUp(found)
	if err != nil {
		s.journal.close() // the error is the one that counts
		db.close()
		return nil, s.openingFailed(err)
	}
	s.states.Store(&states{durable: st})
	return s, nil
}

// catchUp makes the journal ready and returns the state that a survey found, with
// the commits that only the journal has.
func (s *Store) catchUp(found *survey) (*state, error) {
	at, err := s.db.journalSpan(s.opt.journalBytes)
	if err != nil && (!errors.Is(err, ErrDiskFull) || errors.Is(err, errRefused)) {
		return nil, err
	}
	st := &state{head: found.head, checkpoint: found.checkpoint, marks: found.marks}
	if err := s.db.view(func(tx *bolt.Tx) error {
		st.txid = tx.ID()
		return nil
	}); err != nil {
		return nil, err
	}
	s.journal = nil
	if at != (span{}) {
		if s.journal, err = openJournal(s.db, at); err != nil {
			return nil, err
		}
		marked := s.opt.mark.last(s.journal.tag[:])
		if marked.frame > found.head.frames+uint64(len(found.frames)) {
			return nil, fmt.Errorf("journal: frame %d is missing or damaged", marked.frame)
		}
		if marked.transaction > uint64(st.txid) {
			return nil, fmt.Errorf("the file is at transaction %d, and %d was there", st.txid, marked.transaction)
		}
	}
	for i := range found.frames {
		if st, err = s.replay(st, &found.frames[i]); err != nil {
			return nil, err
		}
	}
	return st, nil
}

// replay does what the commit of a frame did.
func (s *Store) replay(st *state, f *frame) (*state, error) {
	writes, made, err := f.writes()
	if err != nil {
		return nil, err
	}
	p := newPlan(st)
	for _, w := range writes {
		if err := p.add(w); err != nil {
			return nil, fmt.Errorf("journal, frame %d: %w", f.number, err)
		}
	}
	// Without room for the transaction its frames stay where they are.
	tx, err := s.db.enter(p.need)
	if errors.Is(err, ErrDiskFull) {
		tx, err = s.db.enter(outlay{})
	}
	if err != nil {
		return nil, err
	}
	s.db.hold(tx, p.adds())
	next := *st
	if err := guard(func() error { return s.change(tx, &next, true).all(writes, &p) }); err != nil {
		return nil, err
	}
	if next.head.frames = f.number; next.head != made {
		return nil, fmt.Errorf("journal, frame %d: it does not make the state that it says", f.number)
	}
	s.journal.passed(f)
	return &next, nil
}

// openingFailed tells what is wrong with the machine from what is wrong with
// the store: only the latter is damage.
func (s *Store) openingFailed(err error) error {
	for _, cause := range []error{
		ErrNewerFormat, ErrLocked, ErrDiskFull,
		os.ErrPermission, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
	} {
		if errors.Is(err, cause) {
			return fmt.Errorf("open store %s: %w", s.path, err)
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		return s.fail("the file is missing", nil)
	}
	return s.fail("found on opening", err)
}

// Close gives the store up. It waits for Views that are under way.
func (s *Store) Close() error {
	if err := s.Fold(); err != nil && !errors.Is(err, ErrDiskFull) && s.damage.Load() == nil {
		return errors.Join(err, s.Abandon())
	}
	return s.Abandon()
}

// Fold puts into the database what only the journal has, where Scrub reads it too;
// it is for moments without a Commit, and called by whoever calls that. Errors are
// those of Commit; after ErrDiskFull the journal keeps what it has.
func (s *Store) Fold() error {
	if !s.pending() {
		return nil
	}
	return s.transact(outlay{bytes: overhead}, 0, nil, func(*bolt.Tx, *state) error { return nil })
}

// pending reports whether the journal has what the database has not.
func (s *Store) pending() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return !s.closed && s.damage.Load() == nil && s.db.open != nil
}

// Abandon gives the store up as the end of the process would: the file is left
// as it is.
func (s *Store) Abandon() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.keepRemoved()
	if err := errors.Join(s.journal.close(), s.db.close()); err != nil && s.damage.Load() == nil {
		return fmt.Errorf("close store %s: %w", s.path, err)
	}
	return nil
}

// fail makes the store damaged for good and returns the first damage that was
// found in it.
func (s *Store) fail(what string, err error) error {
	var already *DamageError
	if errors.As(err, &already) {
		return already
	}
	s.damage.CompareAndSwap(nil, &DamageError{Path: s.path, What: what, Err: err})
	return s.damage.Load()
}

// Meta returns what the store knows about itself, as of the last Commit.
func (s *Store) Meta() Meta { return s.states.Load().durable.meta() }

// First is the lowest index from which every entry up to Last is there.
func (s *Store) First() uint64 { return s.states.Load().durable.checkpoint.horizon + 1 }

// Last is the index of the last entry; zero: the log is empty.
func (s *Store) Last() uint64 { return s.states.Load().durable.head.last }

// Mark returns the start of the run of entries of one lineage and term that
// holds index, also when that entry is gone. Index 0 has the zero Mark.
func (s *Store) Mark(index uint64) (protocol.Mark, bool) {
	return s.states.Load().durable.mark(index)
}

// Path is the store's file.
func (s *Store) Path() string { return s.path }

// Size is the length of the store's file in bytes, room kept in reserve
// included; zero when it cannot be told.
func (s *Store) Size() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0
	}
	size, err := s.db.size()
	if err != nil {
		return 0
	}
	return size
}

// PairBytes is about what the pairs of the checkpoint take in the file: pages of an
// index that changes much are two thirds full.
func (s *Store) PairBytes() int64 {
	return int64(s.states.Load().durable.head.pairs.bytes) * 3 / 2
}

// Dying are the entries that checkpoints said to be dead, since the store was opened,
// and that are still there: a Write.Drop lets some of them go. An entry of which that
// was said before is there until a checkpoint says it again. They must not be changed.
func (s *Store) Dying() []uint64 { return s.states.Load().durable.dying }

// Room is about how many bytes Commit can still take, in the file and on the
// disk.
func (s *Store) Room() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed || s.db.stuck.Load() {
		return 0
	}
	if s.opt.said != nil {
		room, _ := s.opt.said()
		return room
	}
	return s.db.room()
}

// Reserve is the part of Room, in bytes, that whoever admits new messages has to
// leave for what makes room: a delete is written before it frees anything. The
// file has the blocks of it, unless the disk was full before.
func (s *Store) Reserve() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0
	}
	if s.opt.said != nil {
		_, reserve := s.opt.said()
		return reserve
	}
	return s.db.kept(s.db.used.Load() - s.db.free())
}

// errUnmatched cannot happen: commits take far longer than a reader's start.
var errUnmatched = errors.New("no transaction of a known state")

// begin starts a read transaction and returns the state that it sees. The
// caller hands the transaction to db.end.
func (s *Store) begin() (db *database, tx *bolt.Tx, st *state, err error) {
	for range 1000 {
		if db, tx, err = s.beginAny(); err != nil {
			return nil, nil, nil, err
		}
		if st = s.states.Load().of(tx.ID()); st != nil {
			return db, tx, st, nil
		}
		db.end(tx)
	}
	return nil, nil, nil, s.fail("begin to read", errUnmatched)
}

func (s *Store) beginAny() (*database, *bolt.Tx, error) {
	if damage := s.damage.Load(); damage != nil {
		return nil, nil, damage
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, nil, fmt.Errorf("read store %s: %w", s.path, ErrClosed)
	}
	tx, err := s.db.begin(false)
	if err != nil {
		return nil, nil, s.fail("begin to read", err)
	}
	return s.db, tx, nil
}

// transact makes one durable change. change works on a copy of the state, which
// takes the place of the current one when all is on the disk: by what keep does,
// or, if that is nil or finds no room, by a commit of the database. need is
// what has to be there for it, overhead and what it leaves to others
// included, and adds about how many it adds.
func (s *Store) transact(need outlay, adds int64, keep func(*state) error, change func(tx *bolt.Tx, next *state) error) error {
	if damage := s.damage.Load(); damage != nil {
		return damage
	}
	s.mu.RLock()
	db, closed := s.db, s.closed
	s.mu.RUnlock()
	if closed {
		return fmt.Errorf("commit to store %s: %w", s.path, ErrClosed)
	}
	durable := s.states.Load().durable
	next := *durable
	tx, err := db.enter(need)
	if errors.Is(err, ErrDiskFull) {
		return fmt.Errorf("commit to store %s: %w", s.path, err)
	}
	if err == nil {
		err = guard(func() error {
			if tx.ID() != durable.txid+1 {
				// bbolt fell back to the meta page before the last one.
				return fmt.Errorf("the file is at transaction %d, not at %d", tx.ID()-1, durable.txid)
			}
			return change(tx, &next)
		})
		db.hold(tx, adds)
	}
	if err == nil && keep != nil {
		next.head.frames++
		if err = keep(&next); err == nil {
			s.states.Store(&states{durable: &next})
			return nil
		}
		if errors.Is(err, ErrDiskFull) { // of a file system that never writes in place
			s.journal, err = nil, s.journal.close()
		}
	}
	if err != nil {
		return s.fail("commit", err)
	}
	return s.commit(durable, &next)
}

// commit commits the open transaction of the database, which makes next of the
// durable state.
func (s *Store) commit(durable, next *state) error {
	next.txid, next.overlay = durable.txid+1, overlay{}
	next.head.transaction = uint64(next.txid)
	s.writer.record = appendHead(s.writer.record[:0], &next.head)
	err := s.db.fold(s.writer.record, s.journal != nil, func() { s.states.Store(&states{durable: durable, next: next}) })
	switch {
	case err == nil:
		s.states.Store(&states{durable: next})
		if s.journal != nil {
			s.journal.restart()
			s.journal.synced(next)
		}
		return nil
	case errors.Is(err, ErrDiskFull):
		s.states.Store(&states{durable: durable})
		if err := s.reopen(); err != nil {
			return err
		}
	default:
		s.states.Store(&states{durable: durable})
		return s.fail("commit", err)
	}
	return fmt.Errorf("commit to store %s: %w", s.path, err)
}

// reopen replaces bbolt's memory by what the file says, after a commit that
// found no room half-way, and checks that it is the state before that commit.
func (s *Store) reopen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	durable := s.states.Load().durable
	if err := errors.Join(s.journal.close(), s.db.close()); err != nil {
		return s.fail("close after a commit without room", err)
	}
	found, err := surveyFile(s.path)
	var st *state
	if err == nil {
		found.frames = slices.DeleteFunc(found.frames, func(f frame) bool { return f.number > durable.head.frames })
		if s.db, err = openDatabase(s.path, s.opt); err == nil {
			st, err = s.catchUp(found)
		}
	}
	if err == nil && st.head != durable.head {
		err = errors.New("the state is not the one before the commit")
	}
	if err != nil {
		s.closed = true
		return s.fail("opened again after a commit without room", err)
	}
	s.present.Store(found.present)
	return nil
}

func (s *Store) isClosed() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.closed
}
