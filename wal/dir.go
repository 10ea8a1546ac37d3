package wal

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"

	"holdfast/protocol"
)

// The names in a store folder.
const (
	lockName         = "lock"          // held locked while a process uses the folder; says which
	pointerName      = "current"       // which store file is the store
	stageName        = "stage.db"      // a copy that is being received
	quarantineName   = "quarantine"    // folder of what was set aside
	storePattern     = "store-%06d.db" // with its serial number
	storeSuffix      = ".db"
	temporarySuffix  = ".tmp"
	noteSuffix       = ".txt"
	holderBytes      = 32           // of the lock file say which process that is; see journalMark
	lostAndFoundName = "lost+found" // of the file system, when the folder is a mount point
)

// maxNameBytes bounds the names of an Owner.
const maxNameBytes = 255

// Owner is who a store folder belongs to.
type Owner struct {
	Cluster string
	Member  string
}

// Options tune a folder and its stores. The zero value is right for use.
type Options struct {
	MapBytes     int64            // address space reserved for the memory map; 0: 64 GiB
	JournalBytes int64            // of the journal of a store that is opened for the first time; 0: 4 MiB
	MaxBytes     int64            // limit of the store's file, kept to about 1 MiB; 0: none
	DropPieces   int              // after so many pieces of at most 4 KiB one Write.Drop is done; 0: 1024
	Now          func() time.Time // for the notes in the quarantine; nil: time.Now
	Random       func() uint64    // for store IDs; nil: the system's random source
	// Before is asked before each change of a name or of a small file in the
	// folder, and before a store file takes a transaction ("commit") or is synced
	// as a whole ("sync"); its error takes the change's place. A simulation fills a
	// disk there, and cuts a process off. Nil: nobody is asked.
	Before func(operation, path string) error

	// Room says what Store.Room and Store.Reserve say, for a simulation whose disks
	// are full or not. Nil: it is measured.
	Room func() (room, reserve int64)
	// Opening is told, about every 64 MiB, how many bytes of a store's file were checked
	// while it is opened, of so many at most: free pages count in total. Dir.Open calls
	// it, so it must call neither Dir nor Store. Nil: nobody is told.
	Opening func(done, total int64)

	disk disk
}

// Dir is a store folder whose lock this process holds. Its methods may be called
// by any goroutine.
type Dir struct {
	path  string
	owner Owner
	opt   Options
	lock  *os.File

	mu      sync.Mutex
	pointer pointer // as the file says
	// uncertain is set when the file may say something else after a crash. What
	// is the store cannot be told then, until the folder is opened again.
	uncertain error
	store     *Store // the one opened last, or nil
	stage     *Stage // the one begun last, or nil
}

// OpenDir takes the folder for this process, creating it when it is missing, and
// finishes what a crash interrupted. ErrForeign, ErrNewerFormat, ErrLocked and
// ErrDiskFull are told apart; whatever is refused has not been touched.
func OpenDir(path string, owner Owner, opt Options) (*Dir, error) {
	opt.MapBytes = cmp.Or(opt.MapBytes, defaultMapBytes)
	opt.JournalBytes = cmp.Or(opt.JournalBytes, defaultJournalBytes)
	opt.DropPieces = cmp.Or(opt.DropPieces, defaultDropPieces)
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Random == nil {
		opt.Random = systemRandom
	}
	if opt.Before != nil {
		opt.disk.before = opt.Before
	}
	if len(owner.Cluster) > maxNameBytes || len(owner.Member) > maxNameBytes {
		return nil, fmt.Errorf("open store folder %s: a name of more than %d bytes", path, maxNameBytes)
	}
	d := &Dir{path: path, owner: owner, opt: opt}
	if _, err := d.inspect(); err != nil {
		return nil, fmt.Errorf("open store folder %s: %w", path, err)
	}
	if err := d.takeLock(); err != nil {
		return nil, fmt.Errorf("open store folder %s: %w", path, err)
	}
	// Again, because another process may have held the lock a moment ago.
	found, err := d.inspect()
	if err == nil {
		err = d.syncNames(found)
	}
	if err == nil {
		err = d.settle(found)
	}
	if err != nil {
		d.lock.Close() // the error is the one that counts
		return nil, fmt.Errorf("open store folder %s: %w", path, err)
	}
	return d, nil
}

func systemRandom() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// inspection is what a folder looks like before anything in it is touched.
type inspection struct {
	names   []string // ascending
	pointer *pointer // nil: there is none that can be read
	lost    string   // why, when there should be one
}

// inspect looks at the folder and refuses it when it is not ours.
func (d *Dir) inspect() (inspection, error) {
	var found inspection
	listed, err := os.ReadDir(d.path)
	if errors.Is(err, os.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return found, err
	}
	for _, entry := range listed {
		found.names = append(found.names, entry.Name())
	}
	content, err := readBounded(filepath.Join(d.path, pointerName))
	switch {
	case errors.Is(err, os.ErrNotExist):
		err = d.inspectWithout(&found)
	case err == nil:
		var p pointer
		if p, err = decodePointer(content); err == nil {
			found.pointer = &p
			if p.owner != d.owner {
				err = foreign(d.path, p.owner, d.owner)
			}
		} else if errors.Is(err, errTextFile) {
			found.lost, err = "the file current was damaged: "+err.Error(), d.checkOwners(found.names)
		}
	}
	return found, err
}

// inspectWithout looks at a folder that has no pointer: a new one, one that lost
// it, or something else altogether.
func (d *Dir) inspectWithout(found *inspection) error {
	for _, name := range found.names {
		if _, ok := storeSerial(name); ok {
			found.lost = "the file current was missing"
			continue
		}
		switch name {
		case lockName, quarantineName, stageName, lostAndFoundName, pointerName + temporarySuffix:
		default:
			return fmt.Errorf("%w: it holds %q and no store; name an empty folder", ErrForeign, name)
		}
	}
	return d.checkOwners(found.names)
}

// checkOwners asks the store files themselves whom they belong to.
func (d *Dir) checkOwners(names []string) error {
	for _, name := range names {
		if _, ok := storeSerial(name); !ok {
			continue
		}
		path := filepath.Join(d.path, name)
		if peeked, _ := surveyFile(path); peeked.hasCheckpoint && peeked.checkpoint.owner != d.owner {
			return foreign(path, peeked.checkpoint.owner, d.owner)
		}
	}
	return nil
}

func foreign(path string, theirs, ours Owner) error {
	return fmt.Errorf("%s %w: it is the memory of member %q of cluster %q, and this is member %q of cluster %q; name another folder",
		path, ErrForeign, theirs.Member, theirs.Cluster, ours.Member, ours.Cluster)
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxTextFileBytes+1))
}

// takeLock creates what is missing of the folder and locks it.
func (d *Dir) takeLock() error {
	if err := os.MkdirAll(filepath.Dir(d.path), 0o755); err != nil {
		return asDiskFull(err)
	}
	if err := d.opt.disk.makeFolder(d.path); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(d.path, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("not writable: %w", asDiskFull(err))
	}
	err = ignoringInterrupts(func() error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) })
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := io.ReadAll(io.LimitReader(f, holderBytes)) // only for the message
		f.Close()
		return fmt.Errorf("%w by process %s; two processes cannot share a store", ErrLocked, cmp.Or(strings.TrimSpace(string(holder)), "unknown"))
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("lock: %w", err)
	}
	// The process number is for the other's message; a full disk may refuse it.
	_, _ = fmt.Fprintf(f, "%-*d\n", holderBytes-1, os.Getpid())
	d.lock = f
	return nil
}

// settle brings the folder into a state without leftovers of a crash.
func (d *Dir) settle(found inspection) error {
	switch {
	case found.pointer != nil:
		d.pointer = *found.pointer
	case found.lost != "":
		if err := d.setPointer(d.pointerAfterLoss(found)); err != nil {
			return err
		}
	default:
		if err := d.setPointer(pointer{owner: d.owner}); err != nil {
			return err
		}
	}
	for _, name := range found.names {
		serial, isStore := storeSerial(name)
		path := filepath.Join(d.path, name)
		var err error
		switch {
		case name == stageName || strings.HasSuffix(name, temporarySuffix):
			err = d.opt.disk.remove(path) // unfinished
		case !isStore || (serial == d.pointer.serial && d.pointer.current):
		case serial > d.pointer.serial:
			err = d.opt.disk.remove(path) // created or copied, but never used
		default:
			_, err = d.moveAside(d.noteFor(serial, cmp.Or(found.lost, "left behind by a crash")))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// syncNames makes durable what inspect has seen. The process before may have been
// killed between a rename and the sync of the folder; what it renamed is there, is
// going to be relied upon, and would be gone after a loss of power.
func (d *Dir) syncNames(found inspection) error {
	if slices.Contains(found.names, quarantineName) {
		// First: what left the folder went there.
		if err := d.opt.disk.syncFolder(filepath.Join(d.path, quarantineName)); err != nil {
			return err
		}
	}
	return d.opt.disk.syncFolder(d.path)
}

// pointerAfterLoss makes a pointer to nothing. Which of the store files was the
// store cannot be told, so none is trusted; all of them are set aside.
func (d *Dir) pointerAfterLoss(found inspection) pointer {
	p := pointer{owner: d.owner}
	names := found.names
	if aside, err := os.ReadDir(filepath.Join(d.path, quarantineName)); err == nil {
		for _, entry := range aside {
			if serial, ok := storeSerial(entry.Name()); ok {
				p.serial = max(p.serial, serial)
			}
		}
	}
	for _, name := range names {
		serial, ok := storeSerial(name)
		if !ok {
			continue
		}
		p.serial = max(p.serial, serial)
		n := d.noteFor(serial, "")
		if !n.identity.Lineage.Blank() {
			p.replaced = n.identity.Lineage
		}
	}
	return p
}

// setPointer replaces the pointer file and then the pointer in memory.
func (d *Dir) setPointer(p pointer) error {
	err := d.opt.disk.replace(filepath.Join(d.path, pointerName), encodePointer(&p))
	if errors.Is(err, errUncertain) {
		d.uncertain = err
	}
	if err != nil {
		return err
	}
	d.pointer = p
	return nil
}

func (d *Dir) storePath(serial uint64) string {
	return filepath.Join(d.path, fmt.Sprintf(storePattern, serial))
}

// storeSerial reads the number in the name of a store file.
func storeSerial(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, "store-")
	if !ok {
		return 0, false
	}
	if digits, ok = strings.CutSuffix(digits, storeSuffix); !ok {
		return 0, false
	}
	serial, err := strconv.ParseUint(digits, 10, 64)
	return serial, err == nil && serial > 0
}

func (d *Dir) databaseOptions() databaseOptions {
	return databaseOptions{
		mapBytes: d.opt.MapBytes, journalBytes: d.opt.JournalBytes, mark: journalMark{d.lock}, random: d.opt.Random,
		maxBytes: d.opt.MaxBytes, dropPieces: d.opt.DropPieces, disk: d.opt.disk, said: d.opt.Room, opening: d.opt.Opening}
}

// Open opens the current store and raises its boot counter; when there is none,
// it creates a blank one first. *DamageError: the store cannot be trusted;
// Quarantine it and open again.
func (d *Dir) Open() (*Store, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.unused(); err != nil {
		return nil, err
	}
	if !d.pointer.current {
		if err := d.createBlank(); err != nil {
			return nil, fmt.Errorf("create store in %s: %w", d.path, asDiskFull(err))
		}
	}
	return d.openCurrent((*Store).boot)
}

// unused says whether the current store is closed and the folder is not.
func (d *Dir) unused() error {
	if d.lock == nil {
		return fmt.Errorf("store folder %s: %w", d.path, ErrClosed)
	}
	if d.store != nil && !d.store.isClosed() {
		return fmt.Errorf("store folder %s: its store is still open", d.path)
	}
	if d.uncertain != nil {
		return fmt.Errorf("store folder %s has to be opened again: %w", d.path, d.uncertain)
	}
	return nil
}

// openCurrent opens the store that the pointer names and does one thing with it.
func (d *Dir) openCurrent(first func(*Store) error) (*Store, error) {
	s, err := openStore(d.storePath(d.pointer.serial), d.owner, d.databaseOptions())
	if err != nil {
		return nil, err
	}
	s.claim = d.claim
	if identity := s.Meta().Identity; identity != d.pointer.identity {
		p := d.pointer
		p.identity = identity
		err = d.setPointer(p)
	}
	if err == nil {
		err = first(s)
	}
	if err != nil {
		s.Close() // the error is the one that counts
		return nil, err
	}
	d.store = s
	return s, nil
}

// claim notes the identity that the store is about to take.
func (d *Dir) claim(identity protocol.Identity) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.pointer
	p.identity = identity
	return d.setPointer(p)
}

// createBlank makes a new store with a fresh identity the current one.
func (d *Dir) createBlank() error {
	serial := d.pointer.serial + 1
	identity := protocol.Identity{}
	for identity.Store == 0 {
		identity.Store = protocol.StoreID(d.opt.Random())
	}
	temporary := d.storePath(serial) + temporarySuffix
	err := d.opt.disk.step("create", temporary, func() error {
		h := head{identity: identity}
		c := checkpointRecord{owner: d.owner, replaced: d.pointer.replaced}
		return createFile(temporary, d.databaseOptions(), &h, &c)
	})
	if err != nil {
		return errors.Join(err, d.opt.disk.remove(temporary))
	}
	if err := d.opt.disk.rename(temporary, d.storePath(serial)); err != nil {
		return err
	}
	p := d.pointer
	p.serial, p.current, p.identity = serial, true, identity
	return d.setPointer(p)
}

// createFile writes a whole store file. bbolt's own creation of a file can be
// cut short by a crash, so the name is a temporary one.
func createFile(path string, opt databaseOptions, h *head, c *checkpointRecord) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := openDatabase(path, opt)
	if err != nil {
		return err
	}
	err = db.update(outlay{bytes: overhead}, func(tx *bolt.Tx) error { return initialise(tx, h, c) })
	if err := errors.Join(err, db.close()); err != nil {
		return err
	}
	return syncPath(path)
}

// Close gives the folder up. The store must be closed; an unfinished copy is
// discarded.
func (d *Dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lock == nil {
		return nil
	}
	if d.store != nil && !d.store.isClosed() {
		return fmt.Errorf("close store folder %s: its store is still open", d.path)
	}
	var err error
	if d.stage != nil {
		err = d.stage.Discard()
	}
	err = errors.Join(err, d.lock.Close())
	d.lock = nil
	return err
}
