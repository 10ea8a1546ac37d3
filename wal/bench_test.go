package wal

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/protocol"
)

// writtenBytes is what this process gave to write calls so far.
func writtenBytes(b *testing.B) (n int64) {
	content, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		fmt.Sscanf(line, "wchar: %d", &n)
	}
	return n
}

// processorTime is what this process has used so far, in the kernel too.
func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkCommit writes one entry a commit, with the hard state, as a leader
// does. bytes/byte is what is written for each byte of the entry.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{512 << 10, 256 << 10, 64 << 10, 1 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			s := benchStore(b)
			data := content(1, 1, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			before, busy := writtenBytes(b), processorTime(b)
			for index := uint64(1); b.Loop(); index++ {
				w := protocol.Write{
					Entries:   []protocol.Entry{{Index: index, Term: 1, Lineage: lineage, Kind: protocol.KindBatch, Data: data}},
					HardState: &protocol.HardState{Term: 1, Commit: index - 1, Release: index - 1},
				}
				if err := s.Commit(&w); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(writtenBytes(b)-before)/float64(b.N)/float64(size), "bytes/byte")
			b.ReportMetric(float64((processorTime(b)-busy).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

func benchStore(b *testing.B) *Store {
	b.Helper()
	d, err := OpenDir(b.TempDir(), owner, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.abandon() })
	s, err := d.Open()
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkRead reads messages of 200 bytes one after the other, 1,000 a View.
func BenchmarkRead(b *testing.B) {
	s := benchStore(b)
	const size, each, perEntry = 512 << 10, 200, 2600
	for index := uint64(1); index <= 16; index++ {
		commit(b, s, &protocol.Write{Entries: batches(index, 1, 1, size)})
	}
	var buffer []byte
	read := 0
	b.SetBytes(each)
	b.ReportAllocs()
	for b.Loop() {
		if read%1000 != 0 {
			read++
			continue
		}
		err := s.View(func(r *Reader) (err error) {
			for i := range 1000 {
				at := (read + i) % (16 * perEntry)
				if buffer, err = r.Read(buffer[:0], uint64(at/perEntry)+1, uint32(at%perEntry*each), each); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		read++
	}
}

// BenchmarkEntries reads 4 MiB of the log at a time, as for a follower that lags.
func BenchmarkEntries(b *testing.B) {
	s := benchStore(b)
	for index := uint64(1); index <= 16; index++ {
		commit(b, s, &protocol.Write{Entries: batches(index, 1, 1, 512<<10)})
	}
	b.SetBytes(8 * 512 << 10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Entries(5, 13, 8*512<<10); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCopy exports and stages a store of 32 MiB.
func BenchmarkCopy(b *testing.B) {
	s := benchStore(b)
	commit(b, s, founded())
	for index := uint64(2); index <= 65; index++ {
		commit(b, s, &protocol.Write{Entries: batches(index, 1, 1, 512<<10)})
	}
	commit(b, s, checkpointAt(65, nil))
	d, err := OpenDir(b.TempDir(), owner, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.abandon() })
	b.SetBytes(64 * 512 << 10)
	for b.Loop() {
		transfer(b, s, stageIn(b, d), 1<<20, func() {})
	}
}

// BenchmarkOpen checks and opens a store of 64 MiB.
func BenchmarkOpen(b *testing.B) {
	d, err := OpenDir(b.TempDir(), owner, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.abandon() })
	s, err := d.Open()
	if err != nil {
		b.Fatal(err)
	}
	for index := uint64(1); index <= 128; index++ {
		commit(b, s, &protocol.Write{Entries: batches(index, 1, 1, 512<<10)})
	}
	b.SetBytes(128 * 512 << 10)
	for b.Loop() {
		s.Close()
		if s, err = d.Open(); err != nil {
			b.Fatal(err)
		}
	}
}
