package wal

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"holdfast/protocol"
)

// picture is everything that a store can be asked for.
type picture struct {
	meta    Meta
	first   uint64
	last    uint64
	marks   []protocol.Mark
	pairs   []protocol.Pair
	entries []protocol.Entry
}

// look asks a store for everything, except for the boot counter.
func look(s *Store) (p picture, err error) {
	p.meta, p.first, p.last = s.Meta(), s.First(), s.Last()
	p.meta.Boot = 0
	for index := range p.last + 2 {
		mark, _ := s.Mark(index)
		p.marks = append(p.marks, mark)
	}
	err = s.LoadCheckpoint(func(key, value []byte) error {
		p.pairs = append(p.pairs, protocol.Pair{Key: slices.Clone(key), Value: slices.Clone(value)})
		return nil
	})
	if err != nil {
		return p, err
	}
	err = s.Indices(0, math.MaxUint64, func(index uint64) error {
		return s.View(func(r *Reader) error {
			e, _, err := r.entry(index, math.MaxInt)
			p.entries = append(p.entries, e)
			if err != nil {
				return err
			}
			data, err := r.Read(nil, index, 0, uint32(len(e.Data)))
			if err == nil && string(data) != string(e.Data) {
				return fmt.Errorf("entry %d: Read and Entries differ", index)
			}
			return err
		})
	})
	return p, err
}

// isDamage reports whether err is what damage must look like.
func isDamage(err error) bool {
	var damage *DamageError
	return errors.As(err, &damage)
}

// markOf is what the process that had a store, now closed, tells the next one; more
// transactions came after it.
func markOf(t *testing.T, s *Store, more uint64) journalMark {
	t.Helper()
	lock, err := os.Create(filepath.Join(t.TempDir(), lockName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Close() })
	m, st := journalMark{lock}, s.states.Load().durable
	m.set(s.journal.tag, synced{frame: st.head.frames, transaction: uint64(st.txid) + more})
	return m
}

// flips calls try for many random places of the file, restored after each.
func flips(t *testing.T, path string, used int64, count int, try func(offset int64)) {
	t.Helper()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(3, 4))
	for i := range count {
		offset := random.Int64N(used)
		if i%10 == 0 { // the meta pages are small, and matter most
			offset = random.Int64N(metaBytes) + int64(i/10%2)*pageSize
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt([]byte{whole[offset] ^ 1<<random.IntN(8)}, offset)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		try(offset)
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// One flipped bit anywhere in a stopped store is named, or it was in nobody's
// data; wrong data never comes out.
func TestFlippedBitWhileStopped(t *testing.T) {
	s := source(t)
	commit(t, s, &protocol.Write{HardState: &protocol.HardState{Term: 4, Commit: 18, Release: 17}, Promise: &protocol.Attempt{Epoch: 5, ID: 6}})
	want, err := look(s)
	if err != nil {
		t.Fatal(err)
	}
	used, path := s.db.used.Load(), s.Path()
	s.Close()
	named := 0
	flips(t, path, used, 300, func(offset int64) {
		s, err := openStore(path, owner, databaseOptions{mapBytes: 1 << 20, mark: markOf(t, s, 0)})
		if err == nil {
			err = s.boot()
		}
		var got picture
		if err == nil {
			got, err = look(s)
		}
		switch {
		case isDamage(err):
			named++
		case err != nil:
			t.Errorf("byte %d: %v", offset, err)
		case !reflect.DeepEqual(got, want):
			t.Errorf("byte %d: other data", offset)
		}
		if s != nil {
			s.Close()
		}
	})
	if named < 75 {
		t.Errorf("only %d of 300 flips were noticed", named)
	}
}

// The same in a store that is open. Flips in branch pages are left out: bbolt can
// be made to search in a circle by one, which nothing but the next opening notices.
func TestFlippedBitWhileOpen(t *testing.T) {
	s := source(t)
	want, err := look(s)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	flips(t, s.Path(), s.db.used.Load(), 250, func(offset int64) {
		if page := whole[offset/pageSize*pageSize:]; page[8] == pageBranch {
			return
		}
		got, err := look(s)
		if err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("byte %d: other data", offset)
		}
		if err != nil && !isDamage(err) {
			t.Errorf("byte %d: %v", offset, err)
		}
		s.damage.Store(nil) // the file is put right again
	})
}

// A commit that bbolt would base on the state before the last one, because the
// newest meta page is wrong, must not happen.
func TestCommitOnAnOlderStateIsDamage(t *testing.T) {
	_, s := newStore(t)
	commit(t, s, founded(), &protocol.Write{Entries: batches(2, 3, 1, 10)})
	f, err := os.OpenFile(s.Path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	slot := int64(s.states.Load().durable.txid % 2)
	if _, err := f.WriteAt([]byte{1, 2, 3}, slot*pageSize+pageHeaderBytes+20); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(&protocol.Write{Entries: batches(5, 1, 1, 10)}); !isDamage(err) {
		t.Fatal(err)
	}
	s.Close()
	if _, err := openStore(s.Path(), owner, databaseOptions{}); !isDamage(err) {
		t.Fatalf("opened again: %v", err)
	}
}

// A key that is lost while the store is open is not mistaken for an entry that
// was deleted.
func TestLostKeyIsDamageAndDeletedEntryIsNot(t *testing.T) {
	s := source(t)
	s.present.Load().set(3, 3) // as if entry 3, which is deleted, had been lost
	err := s.View(func(r *Reader) error {
		if _, err := r.Read(nil, 2, 0, 1); !errors.Is(err, ErrNotPresent) {
			t.Errorf("deleted entry: %v", err)
		}
		_, err := r.Read(nil, 3, 0, 1)
		return err
	})
	if !isDamage(err) || !strings.Contains(err.Error(), "entry 3") {
		t.Fatal(err)
	}
}

// stamp makes the head record that of a transaction.
func stamp(tx *bolt.Tx) error {
	bucket := tx.Bucket([]byte(headBucket))
	h, err := decodeHead(bucket.Get([]byte(headKey)))
	h.transaction = uint64(tx.ID())
	return errors.Join(err, bucket.Put([]byte(headKey), appendHead(nil, &h)))
}

// bbolt itself cannot tell that a key is missing or new: the accounts can.
func TestMissingOrForeignKeyIsDamage(t *testing.T) {
	source := source(t)
	source.Close()
	const nothing = "nothing" // the one change that is none
	for name, change := range map[string]func(tx *bolt.Tx) error{
		nothing: func(*bolt.Tx) error { return nil },
		"piece gone": func(tx *bolt.Tx) error {
			key, _ := tx.Bucket([]byte(piecesBucket)).Cursor().Seek(piecePrefix(nil, 5, 2))
			return tx.Bucket([]byte(piecesBucket)).Delete(key)
		},
		"live entry below the horizon gone": func(tx *bolt.Tx) error {
			cursor := tx.Bucket([]byte(piecesBucket)).Cursor()
			for piece := range pieces(900) {
				key, _ := cursor.Seek(piecePrefix(nil, 11, piece))
				if err := tx.Bucket([]byte(piecesBucket)).Delete(key); err != nil {
					return err
				}
			}
			return nil
		},
		"last entry gone": func(tx *bolt.Tx) error {
			key, _ := tx.Bucket([]byte(piecesBucket)).Cursor().Last()
			return tx.Bucket([]byte(piecesBucket)).Delete(key)
		},
		"foreign key in the log": func(tx *bolt.Tx) error { return tx.Bucket([]byte(piecesBucket)).Put([]byte("x"), nil) },
		"mark gone": func(tx *bolt.Tx) error {
			key, _ := tx.Bucket([]byte(marksBucket)).Cursor().Last()
			return tx.Bucket([]byte(marksBucket)).Delete(key)
		},
		"pair gone": func(tx *bolt.Tx) error { return tx.Bucket([]byte(pairsBucket)).Delete([]byte("empty")) },
		"pair of another checksum": func(tx *bolt.Tx) error {
			return tx.Bucket([]byte(pairsBucket)).Put([]byte("empty"), []byte{1, 2, 3, 4})
		},
		"pair without a checksum": func(tx *bolt.Tx) error { return tx.Bucket([]byte(pairsBucket)).Put([]byte("new"), []byte{1}) },
		"head gone":               func(tx *bolt.Tx) error { return tx.Bucket([]byte(headBucket)).Delete([]byte(headKey)) },
		"checkpoint gone": func(tx *bolt.Tx) error {
			return tx.Bucket([]byte(checkpointBucket)).Delete([]byte(checkpointKey))
		},
		"another bucket": func(tx *bolt.Tx) error {
			b, err := tx.CreateBucket([]byte("zoo"))
			return errors.Join(err, b.Put([]byte("a"), nil))
		},
		"bucket gone": func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte(marksBucket)) },
		"bucket in a bucket": func(tx *bolt.Tx) error {
			_, err := tx.Bucket([]byte(pairsBucket)).CreateBucket([]byte("b"))
			return err
		},
		"head of another one": func(tx *bolt.Tx) error {
			return tx.Bucket([]byte(headBucket)).Put([]byte(headKey), appendHead(nil, &head{}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "copy.db")
			whole, err := os.ReadFile(source.Path())
			if err == nil {
				err = os.WriteFile(path, whole, 0o600)
			}
			var db *bolt.DB
			if err == nil {
				db, err = bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true})
			}
			if err == nil {
				err = errors.Join(db.Update(func(tx *bolt.Tx) error { return errors.Join(stamp(tx), change(tx)) }), db.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
			s, err := openStore(path, owner, databaseOptions{mark: markOf(t, source, 1)})
			if err == nil {
				s.Close()
			}
			if isDamage(err) == (name == nothing) {
				t.Errorf("opened: %v", err)
			}
		})
	}
}

func TestShortFileIsDamage(t *testing.T) {
	s := source(t)
	s.Close()
	used := s.db.used.Load()
	for _, size := range []int64{used - pageSize, used / 2, 2 * pageSize, pageSize, 10, 0} {
		if err := os.Truncate(s.Path(), size); err != nil {
			t.Fatal(err)
		}
		if _, err := openStore(s.Path(), owner, databaseOptions{}); !isDamage(err) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// fixedPages is a small valid store file, and the map of what it holds.
func fixedPages(t testing.TB) []byte {
	s := source(t)
	used := s.db.used.Load()
	s.Close()
	data, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	return data[:used+8*pageSize]
}

// Whatever the pages say: no panic and no endless walk.
func FuzzPages(f *testing.F) {
	pages := fixedPages(f)
	f.Add(uint32(0), []byte{})
	f.Add(uint32(pageSize*4+8), []byte{1, 0, 0xff, 0xff})
	f.Add(uint32(pageSize*3+12), []byte{9})
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		data := slices.Clone(pages)
		copy(data[int(at)%len(data):], patch)
		s := survey{present: newPresence(), written: written{added: math.MaxUint64}}
		if err := walkPages(data, s.visit); err == nil {
			_ = s.finish() // either answer is right; it must come
		}
	})
}

func FuzzRecords(f *testing.F) {
	h := head{identity: protocol.Identity{Store: 1, Lineage: lineage}, last: 7}
	c := checkpointRecord{owner: owner, index: 5, horizon: 4}
	c.configuration = protocol.NewConfiguration(protocol.Voter{Name: "n1", Store: 1})
	c.foundings = []protocol.Founding{{Index: 1, Voter: protocol.Voter{Name: "n1", Store: 1}}}
	m := protocol.Mark{Index: 3, Term: 2, Lineage: lineage}
	f.Add(appendHead(nil, &h))
	f.Add(appendCheckpointRecord(nil, &c))
	f.Add(appendMarkValue(nil, m))
	f.Add(appendPieceKey(nil, pieceKey{index: 9, header: header{kind: protocol.KindBatch, size: 10}}))
	f.Add(encodePointer(&pointer{owner: owner, serial: 3, current: true, aside: note{serial: 2, reason: "a\nb"}}))
	f.Add(encodeNote(&note{serial: 2}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := decodeHead(b); err == nil && string(appendHead(nil, &h)) != string(b) {
			t.Error("head")
		}
		if c, err := decodeCheckpointRecord(b); err == nil {
			if again, err := decodeCheckpointRecord(appendCheckpointRecord(nil, &c)); err != nil || !reflect.DeepEqual(c, again) {
				t.Error("checkpoint record")
			}
		}
		if k, ok := parsePieceKey(b); ok && string(appendPieceKey(nil, k)) != string(b) {
			t.Error("piece key")
		}
		if len(b) > 8 {
			_, _ = decodeMark(b[:8], b[8:])
		}
		if p, err := decodePointer(b); err == nil {
			if again, err := decodePointer(encodePointer(&p)); err != nil || again.identity != p.identity {
				t.Error("pointer")
			}
		}
		_, _ = decodeNote(b)
	})
}
