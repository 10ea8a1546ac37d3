package wal

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// A file that was loaded is one that bbolt could have written: a tree of several
// levels, with keys and values larger than a page, that can be changed afterwards.
func TestLoadedFileIsOneOfBBolt(t *testing.T) {
	const keys = 30_000
	keyOf := func(i int) []byte {
		key := binary.BigEndian.AppendUint64(nil, uint64(i))
		if i%997 == 0 {
			key = append(key, make([]byte, maxPairKeyBytes-8)...)
		}
		return key
	}
	valueOf := func(i int) []byte {
		size := i % 60
		if i%5000 == 1 {
			size = 300_000
		}
		return bytes.Repeat([]byte{byte(i)}, size)
	}
	path := filepath.Join(t.TempDir(), "loaded.db")
	l, err := newLoader(path, databaseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range keys {
		if err := l.pair(keyOf(i), valueOf(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.piece([]byte("alone"), []byte("in its bucket")); err != nil {
		t.Fatal(err)
	}
	if err := l.finish(&head{}, &checkpointRecord{}); err != nil {
		t.Fatal(err)
	}
	if err := l.file.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := openDatabase(path, databaseOptions{mapBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer db.close()
	left := keys
	for _, change := range []func(b *bolt.Bucket) error{
		func(*bolt.Bucket) error { return nil },
		func(b *bolt.Bucket) error { // leaves are merged, and branches with them
			for i := range keys - 10 {
				if err := b.Delete(keyOf(i)); err != nil {
					return err
				}
			}
			left = 10
			return b.Put(keyOf(keys-1), valueOf(keys-1))
		},
	} {
		if err := db.update(outlay{bytes: 1 << 20}, func(tx *bolt.Tx) error { return change(tx.Bucket([]byte(pairsBucket))) }); err != nil {
			t.Fatal(err)
		}
		if err := db.view(func(tx *bolt.Tx) error {
			for err := range tx.Check() {
				t.Error(err)
			}
			if string(tx.Bucket([]byte(piecesBucket)).Get([]byte("alone"))) != "in its bucket" || tx.Bucket([]byte(marksBucket)).Stats().KeyN != 0 {
				t.Error("the other buckets are not as they were loaded")
			}
			next := keys - left
			return tx.Bucket([]byte(pairsBucket)).ForEach(func(key, value []byte) error {
				if !bytes.Equal(key, keyOf(next)) || !bytes.Equal(value, valueOf(next)) {
					t.Fatalf("key %x in the place of %x", key[:8], keyOf(next)[:8])
				}
				next++
				return nil
			})
		}); err != nil {
			t.Fatal(err)
		}
	}
}
