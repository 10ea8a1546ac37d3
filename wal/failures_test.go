package wal

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"holdfast/protocol"
)

// A child process lets the kernel fail its system calls (by a seccomp filter or
// a resource limit), which cannot be taken back, and says what came of it.
const (
	childVariable = "HOLDFAST_WAL_CHILD"
	childFolder   = "HOLDFAST_WAL_FOLDER"
)

// inJournal begins the names of those whose commits are small enough for the journal.
const inJournal = "journal: "

var children = map[string]func(s *Store) error{
	"fdatasync fails": func(s *Store) error {
		if err := failCalls(syscall.SYS_FDATASYNC, syscall.EIO, 0); err != nil {
			return err
		}
		return damagedByCommit(s)
	},
	"write fails": func(s *Store) error {
		if err := failCalls(syscall.SYS_PWRITE64, syscall.EIO, 0); err != nil {
			return err
		}
		return damagedByCommit(s)
	},
	inJournal + "fdatasync fails": func(s *Store) error {
		if err := failCalls(syscall.SYS_FDATASYNC, syscall.EIO, 0); err != nil {
			return err
		}
		return damagedByCommit(s)
	},
	inJournal + "write fails": func(s *Store) error {
		if err := failCalls(syscall.SYS_PWRITE64, syscall.EIO, 0); err != nil {
			return err
		}
		return damagedByCommit(s)
	},
	// A file system that never writes in place can have no room for a frame.
	inJournal + "no room": func(s *Store) error {
		if err := failCalls(syscall.SYS_PWRITE64, syscall.ENOSPC, 0); err != nil {
			return err
		}
		return fullAtCommit(s)
	},
	"no room for a page": func(s *Store) error {
		if err := failCalls(syscall.SYS_PWRITE64, syscall.ENOSPC, 0); err != nil {
			return err
		}
		return fullAtCommit(s)
	},
	"no room for the meta page": func(s *Store) error {
		if err := failCalls(syscall.SYS_PWRITE64, syscall.ENOSPC, 2*pageSize); err != nil {
			return err
		}
		return fullAtCommit(s)
	},
	"no room to grow": func(s *Store) error {
		if err := failCalls(syscall.SYS_FALLOCATE, syscall.ENOSPC, 0); err != nil {
			return err
		}
		if err := s.Commit(&protocol.Write{Entries: batches(4, 1, 1, 8<<20)}); !errors.Is(err, ErrDiskFull) {
			return fmt.Errorf("large commit: %v", err)
		}
		if err := s.Commit(&protocol.Write{Entries: batches(4, 1, 1, 1000)}); err != nil {
			return fmt.Errorf("small commit: %w", err)
		}
		return intact(s, 4)
	},
	"no growing in advance": func(s *Store) error {
		if err := failCalls(syscall.SYS_FALLOCATE, syscall.EOPNOTSUPP, 0); err != nil {
			return err
		}
		if err := s.Commit(&protocol.Write{Entries: batches(4, 1, 1, 8<<20)}); err != nil {
			return err
		}
		return s.Verify(1, 5)
	},
	"room returns": func(s *Store) error {
		signal.Ignore(syscall.SIGXFSZ)
		var before syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
			return err
		}
		limited := syscall.Rlimit{Cur: 2 * pageSize, Max: before.Max}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limited); err != nil {
			return err
		}
		if err := fullAtCommit(s); err != nil {
			return err
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
			return err
		}
		if err := s.Commit(&protocol.Write{Entries: batches(4, 1, 1, 3000)}); err != nil {
			return fmt.Errorf("commit with room again: %w", err)
		}
		return intact(s, 4)
	},
}

// fill is what the store has before anything fails.
func fill(s *Store) error {
	return s.Commit(founded(), &protocol.Write{Entries: batches(2, 2, 1, 3000)})
}

func damagedByCommit(s *Store) error {
	var damage *DamageError
	if err := s.Commit(&protocol.Write{Entries: batches(4, 1, 1, 3000)}); !errors.As(err, &damage) {
		return fmt.Errorf("commit: %v", err)
	}
	if err := s.View(func(*Reader) error { return nil }); !errors.As(err, &damage) {
		return fmt.Errorf("view after damage: %v", err)
	}
	if err := s.Commit(&protocol.Write{Promise: &protocol.Attempt{Epoch: 1}}); !errors.As(err, &damage) {
		return fmt.Errorf("commit after damage: %v", err)
	}
	if s.Last() != 3 {
		return fmt.Errorf("the failed entry counts: last %d", s.Last())
	}
	return nil
}

// fullAtCommit expects a commit to find no room, twice, and the store unharmed.
func fullAtCommit(s *Store) error {
	for range 2 {
		if err := s.Commit(&protocol.Write{Entries: batches(4, 1, 1, 3000)}); !errors.Is(err, ErrDiskFull) {
			return fmt.Errorf("commit: %v", err)
		}
		if err := intact(s, 3); err != nil {
			return err
		}
	}
	return nil
}

func intact(s *Store, last uint64) error {
	entries, err := s.Entries(2, last+1, math.MaxInt)
	if err != nil || s.Last() != last || s.Meta().Identity.Store != 7 {
		return fmt.Errorf("last %d, %+v: %w", s.Last(), s.Meta(), err)
	}
	for _, e := range entries {
		if err := sameEntry(e, batches(e.Index, 1, 1, len(e.Data))[0]); err != nil {
			return err
		}
	}
	return nil
}

func runChild(name, folder string) int {
	err := func() error {
		opt := small
		if strings.HasPrefix(name, inJournal) {
			opt = roomy
		}
		d, err := OpenDir(folder, owner, opt)
		if err != nil {
			return err
		}
		s, err := d.Open()
		if err != nil {
			return err
		}
		if err := fill(s); err != nil {
			return err
		}
		defer s.Close()
		return children[name](s)
	}()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func TestForcedFailures(t *testing.T) {
	for name := range children {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), childVariable+"="+name, childFolder+"="+folder)
			if out, err := child.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			// What was committed before is there for the next process, or the
			// store says that it is damaged; nothing in between.
			s := openStoreIn(t, openDir(t, folder, small))
			if err := s.Verify(1, s.Last()+1); err != nil || s.Last() < 3 {
				t.Errorf("the next process: last %d, %v", s.Last(), err)
			}
		})
	}
}

// failCalls makes the kernel answer a system call of this process with errno
// from now on; with below set, only when its fourth argument (the offset of a
// write) is less.
func failCalls(number uintptr, errno syscall.Errno, below uint32) error {
	const (
		load        = 0x20 // BPF_LD | BPF_W | BPF_ABS
		jumpEqual   = 0x15 // BPF_JMP | BPF_JEQ | BPF_K
		jumpAtLeast = 0x35 // BPF_JMP | BPF_JGE | BPF_K
		give        = 0x06 // BPF_RET | BPF_K

		allow      = 0x7fff0000 // SECCOMP_RET_ALLOW
		fail       = 0x00050000 // SECCOMP_RET_ERRNO
		offsetOfNr = 0
		offsetOfA3 = 16 + 3*8

		setNoNewPrivs = 38 // PR_SET_NO_NEW_PRIVS
		modeFilter    = 1  // SECCOMP_SET_MODE_FILTER
		allThreads    = 1  // SECCOMP_FILTER_FLAG_TSYNC
	)
	if below == 0 {
		below = math.MaxUint32
	}
	program := []syscall.SockFilter{
		{Code: load, K: offsetOfNr},
		{Code: jumpEqual, Jt: 0, Jf: 3, K: uint32(number)},
		{Code: load, K: offsetOfA3},
		{Code: jumpAtLeast, Jt: 1, Jf: 0, K: below},
		{Code: give, K: fail | uint32(errno)},
		{Code: give, K: allow},
	}
	seccomp := map[string]uintptr{"amd64": 317, "arm64": 277}[runtime.GOARCH]
	filter := syscall.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, setNoNewPrivs, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("no new privileges: %w", errno)
	}
	if _, _, errno := syscall.RawSyscall(seccomp, modeFilter, allThreads, uintptr(unsafe.Pointer(&filter))); errno != 0 {
		return fmt.Errorf("install the filter: %w", errno)
	}
	return nil
}

// The file becomes shorter while it is open: what is read or written there is a
// fault on the memory map, which must not end the process.
func TestFileCutWhileOpen(t *testing.T) {
	for name, size := range map[string]int64{"to nothing": 0, "to the meta pages": 2 * pageSize, "to half": 150 << 10} {
		t.Run(name, func(t *testing.T) {
			d, s := newStore(t)
			commit(t, s, founded(), &protocol.Write{Entries: batches(2, 20, 1, 15_000)})
			err := s.View(func(r *Reader) error {
				if err := os.Truncate(s.Path(), size); err != nil {
					t.Fatal(err)
				}
				for index := uint64(2); index < 22; index++ {
					if _, err := r.Read(nil, index, 0, 15_000); err != nil {
						return err
					}
				}
				return nil
			})
			var damage *DamageError
			if !errors.As(err, &damage) || damage.Path != s.Path() || !strings.Contains(err.Error(), "memory-map fault") {
				t.Errorf("read: %v", err)
			}
			if err := s.Commit(&protocol.Write{Entries: batches(22, 1, 1, 10)}); !errors.As(err, &damage) {
				t.Errorf("commit: %v", err)
			}
			s.Close()
			if _, err := d.Open(); !errors.As(err, &damage) {
				t.Errorf("open: %v", err)
			}
			if _, err := d.Quarantine(damage.Error()); err != nil {
				t.Fatal(err)
			}
			if m := openStoreIn(t, d).Meta(); m.Replaced != lineage {
				t.Errorf("%+v", m)
			}
		})
	}
}

// The same met by a commit first.
func TestFileCutBeforeACommit(t *testing.T) {
	for name, size := range map[string]int64{"to nothing": 0, "to the meta pages": 2 * pageSize, "to half": 150 << 10} {
		t.Run(name, func(t *testing.T) {
			_, s := newStore(t)
			commit(t, s, founded(), &protocol.Write{Entries: batches(2, 20, 1, 15_000)})
			if err := os.Truncate(s.Path(), size); err != nil {
				t.Fatal(err)
			}
			var damage *DamageError
			if err := s.Commit(&protocol.Write{Entries: batches(22, 1, 1, 10)}); !errors.As(err, &damage) {
				t.Errorf("commit: %v", err)
			}
			if _, err := s.Entries(2, 22, 1); !errors.As(err, &damage) {
				t.Errorf("read: %v", err)
			}
		})
	}
}

func TestPanicOfTheDatabaseIsDamage(t *testing.T) {
	_, s := newStore(t)
	commit(t, s, founded(), &protocol.Write{Entries: batches(2, 200, 1, 5000)})
	// A page that says that it is another one makes bbolt panic.
	f, err := os.OpenFile(s.Path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for page := int64(2); page < s.db.used.Load()/pageSize; page++ {
		if _, err := f.WriteAt([]byte{0xff}, page*pageSize); err != nil {
			t.Fatal(err)
		}
	}
	_, err = s.Entries(2, 200, math.MaxInt)
	var damage *DamageError
	if !errors.As(err, &damage) || !strings.Contains(err.Error(), "panic") {
		t.Errorf("read: %v", err)
	}
	if err := s.Commit(&protocol.Write{Entries: batches(202, 1, 1, 10)}); !errors.As(err, &damage) {
		t.Errorf("commit: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// The panics of the reader's own function are not ours to catch.
func TestPanicOfTheCallerPasses(t *testing.T) {
	_, s := newStore(t)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		s.View(func(*Reader) error { panic("mine") })
	}()
	commit(t, s, founded())
}
