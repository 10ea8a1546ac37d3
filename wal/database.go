package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	// defaultMapBytes of address space make it unlikely that the map moves,
	// for which a writer would wait for all readers.
	defaultMapBytes = 64 << 30
	// lockTimeout bounds the wait for bbolt's own lock on the file. The folder's
	// lock is held, so only a foreign tool can have it.
	lockTimeout = 200 * time.Millisecond
)

// errRefused marks a commit that found no room and provably changed nothing
// that counts: the meta pages are as they were. bbolt's memory is not trusted
// afterwards; the file has to be opened again.
var errRefused = fmt.Errorf("%w (the commit was undone)", ErrDiskFull)

// database is a bbolt file with what bbolt leaves to its user: panics and
// faults caught, room taken before a commit needs it, a failed commit judged.
type database struct {
	path string
	opt  databaseOptions
	bolt *bolt.DB
	file *os.File // bbolt's own handle
	// counted: the file system counts the names of a file, see named. located: it says
	// which file a name belongs to, see inPlace.
	counted, located bool
	// stuck: a panic may have left bbolt's locks held; it must not be called again.
	stuck atomic.Bool
	// used is the number of bytes up to bbolt's high-water mark, free pages
	// below it included, when the last commit began.
	used atomic.Int64
	// open is the write transaction that has what only the journal keeps, and held
	// about how many bytes that adds to the file.
	open *bolt.Tx
	held atomic.Int64
	// mixed: that transaction does more than add entries and change the hard state.
	mixed bool
}

type databaseOptions struct {
	journalBytes int64 // zero: no journal is made
	mark         journalMark
	random       func() uint64 // for the tag of a journal
	mapBytes     int64
	maxBytes     int64 // zero: no limit
	dropPieces   int   // see Options.DropPieces
	disk         disk
	said         func() (room, reserve int64) // nil: the disk is asked
	opening      func(done, total int64)      // see Options.Opening
}

// openDatabase opens or creates the file. An existing file must have been
// surveyed: bbolt's own scan runs where a panic cannot be caught.
func openDatabase(path string, opt databaseOptions) (*database, error) {
	d := &database{path: path, opt: opt}
	options := &bolt.Options{
		Timeout: lockTimeout,
		// The list of free pages is rebuilt by a scan on opening. Written with
		// each commit it would cost more than the commit.
		NoFreelistSync:  true,
		FreelistType:    bolt.FreelistMapType,
		PageSize:        pageSize,
		InitialMmapSize: int(min(opt.mapBytes, math.MaxInt)),
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag, mode)
			d.file = f
			return f, err
		},
	}
	open := func() (err error) {
		d.bolt, err = bolt.Open(path, 0o600, options)
		return err
	}
	err := guard(open)
	if errors.Is(err, syscall.ENOMEM) { // an address-space limit
		options.InitialMmapSize = 0
		err = guard(open)
	}
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open %s: %w by a program that does not know the folder's lock", path, ErrLocked)
	}
	if err != nil {
		var caught *panicError
		if errors.As(err, &caught) && d.file != nil {
			d.file.Close() // the error is the one that counts
		}
		return nil, err
	}
	d.locate()
	// bbolt grows the file by itself only when our estimate was too low.
	d.bolt.AllocSize = smallestGrowth
	return d, nil
}

var errStuck = errors.New("the database is stuck after a panic")

// begin starts a transaction. The caller hands it to end or commit.
func (d *database) begin(writable bool) (tx *bolt.Tx, err error) {
	if d.stuck.Load() {
		return nil, errStuck
	}
	if err := d.checkMetas(); err != nil {
		return nil, err
	}
	err = guard(func() (err error) {
		tx, err = d.bolt.Begin(writable)
		return err
	})
	var caught *panicError
	if errors.As(err, &caught) {
		d.stuck.Store(true)
	}
	return tx, err
}

// metaPair is the used part of both meta pages.
type metaPair [2][metaBytes]byte

// checkMetas looks at the meta pages through the file. A fault inside bbolt's
// Begin would leave its locks held, so the file is asked first whether those
// pages are there.
func (d *database) checkMetas() error {
	metas, err := d.metas()
	if err != nil {
		return err
	}
	_, even := readMeta(metas[0][:], 0)
	_, odd := readMeta(metas[1][:], 1)
	if even != nil && odd != nil {
		return even // one of the two may be on its way to the file
	}
	return nil
}

// metas reads both meta pages.
func (d *database) metas() (*metaPair, error) {
	var m metaPair
	for slot := range m {
		if _, err := d.file.ReadAt(m[slot][:], int64(slot)*pageSize); err != nil {
			return nil, fmt.Errorf("read meta page %d: %w", slot, err)
		}
	}
	return &m, nil
}

// end closes a transaction without a change.
func (d *database) end(tx *bolt.Tx) {
	if d.stuck.Load() {
		return
	}
	if err := guard(tx.Rollback); err != nil && !errors.Is(err, bolterrors.ErrTxClosed) {
		d.stuck.Store(true)
	}
}

// view calls fn with a read transaction.
func (d *database) view(fn func(tx *bolt.Tx) error) error {
	tx, err := d.begin(false)
	if err != nil {
		return err
	}
	defer d.end(tx)
	return guard(func() error { return fn(tx) })
}

// enter returns the write transaction that is open, or begins one, with room for
// what it needs. ErrDiskFull: nothing was changed.
func (d *database) enter(need outlay) (tx *bolt.Tx, err error) {
	if tx = d.open; tx == nil {
		tx, err = d.begin(true)
	} else if d.stuck.Load() {
		err = errStuck
	} else {
		err = d.checkMetas()
	}
	if err != nil {
		return nil, err
	}
	d.used.Store(tx.Size())
	need.bytes += d.held.Load()
	if err := d.reserve(tx.Size(), need); err != nil {
		if d.open == nil {
			d.end(tx)
		}
		return nil, err
	}
	return tx, nil
}

// hold keeps a transaction open to which about so many bytes were added.
func (d *database) hold(tx *bolt.Tx, added int64) {
	d.open = tx
	d.held.Add(added)
}

// let says that no transaction is held open any more.
func (d *database) let() {
	d.open, d.mixed = nil, false
	d.held.Store(0)
}

// fold commits the open transaction with the head record. visible is called when
// readers can see it, though it may not be durable yet. once: what only adds to the log
// may wait for the disk once, see unfinished.go.
func (d *database) fold(head []byte, once bool, visible func()) error {
	tx := d.open
	once = once && !d.mixed
	d.let()
	if err := guard(func() error { return tx.Bucket([]byte(headBucket)).Put([]byte(headKey), head) }); err != nil {
		d.end(tx)
		return err
	}
	visible()
	return d.commit(tx, once)
}

// journalSpan is where the journal is, which is made if it is missing. bbolt
// writes its blocks then, and only then.
func (d *database) journalSpan(size int64) (at span, err error) {
	find := func(tx *bolt.Tx) error {
		if bucket := tx.Bucket([]byte(journalBucket)); bucket != nil {
			at = journalSpan(d.bolt.Info().Data, bucket.Get([]byte(journalKey)))
		}
		return nil
	}
	if err = d.view(find); err != nil {
		return at, err
	}
	if at != (span{}) {
		return at, d.tagJournal(at)
	}
	if size = min(size, d.room()/journalShare/blockBytes*blockBytes); size < minJournalBytes {
		return span{}, nil
	}
	err = d.update(outlay{bytes: size + overhead, runs: size + pageSize}, func(tx *bolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists([]byte(journalBucket))
		if err != nil {
			return err
		}
		return bucket.Put([]byte(journalKey), make([]byte, size))
	})
	if err == nil {
		err = d.view(find)
	}
	if err != nil {
		return span{}, err
	}
	return at, d.tagJournal(at)
}

// tagJournal gives a journal its tag, unless it has one: the power may have failed
// after the journal was made, and a tag that two journals have would let the mark of
// the one speak of the other. It is the one time that the journal is written without
// a frame: every block is there now.
func (d *database) tagJournal(at span) error {
	var tag [tagBytes]byte
	if _, err := d.file.ReadAt(tag[:], at.from); err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	if tag != [tagBytes]byte{} {
		return nil
	}
	first := alignedBlocks(blockBytes)
	for binary.LittleEndian.Uint64(first) == 0 {
		binary.LittleEndian.PutUint64(first, d.opt.random())
	}
	_, err := d.file.WriteAt(first, at.from)
	if err == nil {
		err = d.file.Sync()
	}
	return err
}

// update calls fn with a write transaction of its own, while none is held open, and
// commits it. ErrDiskFull: nothing was changed; if it is also
// errRefused, the file must be opened again. fn's own errors end the
// transaction without a change. Any other error: the state is unknown.
func (d *database) update(need outlay, fn func(tx *bolt.Tx) error) error {
	tx, err := d.enter(need)
	if err != nil {
		return err
	}
	if err := guard(func() error { return fn(tx) }); err != nil {
		d.end(tx)
		return err
	}
	return d.commit(tx, false)
}

// commit makes a transaction durable, once or twice waiting for the disk.
func (d *database) commit(tx *bolt.Tx, once bool) error {
	err := d.opt.disk.ask("commit", d.path)
	var before *metaPair
	if err == nil {
		before, err = d.metas()
	}
	if err != nil {
		d.end(tx)
		return err
	}
	d.bolt.NoSync = once
	err = guard(tx.Commit)
	d.bolt.NoSync = false
	if err == nil && once {
		if err = d.sync(); errors.Is(err, ErrDiskFull) { // of a file system that had promised room
			err = errors.Join(err, d.restore(before))
		}
	}
	if err == nil {
		return nil
	}
	d.end(tx) // after a panic it is still open
	if !errors.Is(asDiskFull(err), ErrDiskFull) && !errors.Is(err, bolterrors.ErrMaxSizeReached) {
		return fmt.Errorf("commit: %w", err)
	}
	after, readErr := d.metas()
	if readErr != nil || *after != *before {
		return fmt.Errorf("commit: it may or may not have happened: %w", err)
	}
	return fmt.Errorf("%w: %w", errRefused, err)
}

// sync waits until everything that was written to the file is on the disk.
func (d *database) sync() error {
	if err := d.opt.disk.ask("sync", d.path); err != nil {
		return err
	}
	return syncData(d.file)
}

// syncData waits until the content of a file is on the disk.
func syncData(file *os.File) error {
	fd := int(file.Fd())
	return asDiskFull(ignoringInterrupts(func() error { return syscall.Fdatasync(fd) }))
}

// restore writes both meta pages as they were.
func (d *database) restore(before *metaPair) error {
	for slot := range before {
		if _, err := d.file.WriteAt(before[slot][:], int64(slot)*pageSize); err != nil {
			return err
		}
	}
	return d.sync()
}
