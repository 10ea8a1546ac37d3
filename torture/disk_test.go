package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// Damage is done to the files of a store that are in use, and is small.
func TestDamageToFiles(t *testing.T) {
	store := t.TempDir()
	random := rand.New(rand.NewPCG(1, 1))
	write := func(name string, size int) {
		t.Helper()
		path := filepath.Join(store, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.db", 1000)
	write("streams/b.blk", 50)
	write(setAside+"/c.db", 5000)
	write("lock", 0)
	files, total, err := storeFiles(store)
	if err != nil || total != 1050 || len(files) != 2 {
		t.Fatal(files, total, err)
	}
	if path, at := files.at(1000); filepath.Base(path) != "b.blk" || at != 0 {
		t.Errorf("byte 1000 is byte %d of %s", at, path)
	}
	if said, err := flipBits(random, store); err != nil {
		t.Fatal(said, err)
	}
	flipped := 0
	for _, f := range files {
		data, err := os.ReadFile(f.path)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range data {
			if b != 0 {
				flipped++
			}
		}
	}
	if flipped == 0 || flipped > maxFlips {
		t.Errorf("%d bytes are damaged", flipped)
	}
	if said, err := cutFile(random, store); err != nil {
		t.Fatal(said, err)
	}
	if _, now, err := storeFiles(store); err != nil || now >= total {
		t.Errorf("%d bytes of %d after a cut, %v", now, total, err)
	}
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	if said, err := flipBits(random, store); err != nil || said != "nothing is stored" {
		t.Error(said, err)
	}
}
