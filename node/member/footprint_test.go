package member

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
	"holdfast/protocol"
	"holdfast/wal"
)

// footprint is a store that one member fills as a leader does: it applies entries,
// makes checkpoints, and writes again what is mostly dead, by the rules of a life but
// without its other members, and with everything that does not depend on the live data
// made smaller.
type footprint struct {
	t       testing.TB
	store   *wal.Store
	machine *machine.Machine
	results machine.Results
	batch   machine.Batch
	rand    *rand.Rand

	index, checkpointed uint64
	now                 int64
	since               int // bytes since the last checkpoint
	paced               int // bytes since the last step of a rewrite
	step                int // of these
	slack               int64
	interval            int
	round               *machine.Rewrite

	published, moved int64

	pauses pauses // the longest so far
}

var footprintLineage = protocol.Lineage{Epoch: 1, ID: 7}

// Two steps of a rewrite are a tick apart. In that time a fast log takes up so much, and
// one whose entries have a single message less.
const (
	fastTick = 96 << 10
	slowTick = 24 << 10
)

func newFootprint(t testing.TB, interval int) *footprint {
	t.Helper()
	folder, err := os.MkdirTemp("/dev/shm", "holdfast-footprint-")
	if err != nil {
		folder = t.TempDir()
	}
	dir, err := wal.OpenDir(folder, wal.Owner{Cluster: "c", Member: "n"}, wal.Options{JournalBytes: int64(interval / 3)})
	if err != nil {
		t.Fatal(err)
	}
	store, err := dir.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		store.Close()
		dir.Close()
		os.RemoveAll(folder)
	})
	f := &footprint{
		t: t, store: store, machine: machine.New(machine.Options{}), rand: rand.New(rand.NewPCG(1, 2)),
		now: int64(1e18), interval: interval, step: fastTick, slack: int64(interval / 3),
	}
	f.commit(&protocol.Write{
		Identity: &protocol.Identity{Store: 7, Lineage: footprintLineage},
		Entries:  []protocol.Entry{{Index: 1, Term: 1, Lineage: footprintLineage, Kind: protocol.KindFound}},
	})
	f.index = 1
	f.machine.Skip(1)
	f.batch.Reset(f.now)
	return f
}

func (f *footprint) commit(w *protocol.Write) {
	if err := f.store.Commit(w); err != nil {
		f.t.Fatal(err)
	}
}

// apply makes one entry of what the batch holds.
func (f *footprint) apply() *machine.Results {
	tick := f.paced >= f.step
	if tick {
		f.paced = 0
		f.rewriteOn()
	}
	f.machine.Bury(buriedPerTick)
	if _, live := f.machine.Space(); int64(f.since) >= checkpointBytes(f.interval, live) {
		f.checkpoint()
	}
	if tick {
		f.drop()
	}
	f.batch.SetStamp(f.now)
	f.published += int64(f.batch.Len())
	f.entry(f.batch.Bytes())
	f.batch.Reset(f.now)
	return &f.results
}

func (f *footprint) entry(data []byte) {
	f.index++
	data = bytes.Clone(data)
	f.commit(&protocol.Write{
		Entries:   []protocol.Entry{{Index: f.index, Term: 1, Lineage: footprintLineage, Kind: protocol.KindBatch, Data: data}},
		HardState: &protocol.HardState{Term: 1, Commit: f.index, Release: f.index},
	})
	began := time.Now()
	if err := f.machine.Apply(f.index, data, &f.results); err != nil {
		f.t.Fatal(err)
	}
	f.pauses.apply = max(f.pauses.apply, time.Since(began))
	f.now = max(f.now, f.machine.Stamp())
	f.since += len(data)
	f.paced += len(data)
}

// checkpoint is life.checkpoint of a member that nobody waits for.
func (f *footprint) checkpoint() {
	horizon := f.checkpointed
	c := &protocol.Checkpoint{Index: f.index, Horizon: horizon, Epoch: 1, Stamp: f.machine.Stamp()}
	began, steps := time.Now(), 1
	f.machine.BeginCheckpoint()
	c.Dead = f.machine.Dead(horizon)
	captured := f.machine.Capture(captureWork)
	for ; captured == nil; steps++ {
		f.pauses.capture = max(f.pauses.capture, time.Since(began))
		began = time.Now()
		captured = f.machine.Capture(captureWork)
	}
	f.pauses.capture = max(f.pauses.capture, time.Since(began))
	c.Puts, c.Deletes = captured.Pairs()
	f.pauses.values = max(f.pauses.values, len(c.Puts)+len(c.Deletes))
	f.pauses.steps = max(f.pauses.steps, steps)
	size := 0
	for _, p := range c.Puts {
		size += len(p.Value)
	}
	f.pauses.bytes = max(f.pauses.bytes, size)
	began = time.Now()
	f.commit(&protocol.Write{Checkpoint: c})
	f.pauses.commit = max(f.pauses.commit, time.Since(began))
	f.checkpointed, f.since = f.index, 0
	if f.round == nil {
		f.round = f.machine.BeginRewrite(f.slack, f.store.PairBytes())
	}
}

// drop is life.dropOn.
func (f *footprint) drop() {
	if len(f.store.Dying()) > 0 {
		began := time.Now()
		f.commit(&protocol.Write{Drop: true})
		f.pauses.drop = max(f.pauses.drop, time.Since(began))
	}
}

// rewriteOn is a step of life.rewriteOn.
func (f *footprint) rewriteOn() {
	if f.round == nil {
		return
	}
	found, done := f.machine.Sparse(f.round, nil, rewriteBytes(f.machine.Excess()), rewriteRows)
	if done {
		f.round = nil
	}
	if len(found) == 0 {
		return
	}
	var move machine.Batch
	move.BeginMove()
	if err := f.store.View(func(r *wal.Reader) error { return appendMoves(&move, r, found) }); err != nil {
		f.t.Fatal(err)
	}
	f.moved += int64(move.Len())
	before := f.pauses.apply
	f.pauses.apply = 0
	f.entry(move.Bytes())
	f.pauses.move, f.pauses.apply = max(f.pauses.move, f.pauses.apply), before
}

func (f *footprint) stream(name string, change ...func(c *server.StreamConfig)) machine.Incarnation {
	c := &server.StreamConfig{Name: name, Subjects: []string{name + ".>"}}
	for _, f := range change {
		f(c)
	}
	normal, apiErr := machine.NormalizeStream(c, machine.Limits{}, false)
	if apiErr != nil {
		f.t.Fatal(apiErr)
	}
	f.batch.CreateStream(normal)
	r := f.apply()
	if r.Slots[0].Err != nil {
		f.t.Fatal(r.Slots[0].Err)
	}
	return r.Slots[0].Stream.Incarnation()
}

// live is what JetStream counts.
func (f *footprint) live() (live int64) {
	for _, s := range f.machine.Streams() {
		live += int64(s.State().Bytes)
	}
	return live
}

// footprintLoads fill a store with about so many bytes.
var footprintLoads = []struct {
	name  string
	stays bool // nothing dies
	fill  func(f *footprint, total int64)
}{
	{"one stream stays and one goes", false, func(f *footprint, total int64) {
		stays, goes := f.stream("STAYS"), f.stream("GOES", func(c *server.StreamConfig) { c.MaxMsgs = 100 })
		payload := make([]byte, 128)
		for f.published < total {
			for f.batch.Len() < 32<<10 {
				f.batch.Publish(stays, []byte("STAYS.a"), nil, payload)
				for range 3 {
					f.batch.Publish(goes, []byte("GOES.a"), nil, payload)
				}
			}
			f.apply()
		}
	}},
	{"work queue", false, func(f *footprint, total int64) {
		queue := f.stream("QUEUE", func(c *server.StreamConfig) { c.Retention = server.WorkQueuePolicy })
		f.batch.CreateConsumer(queue, f.normalConsumer(queue, &server.ConsumerConfig{Durable: "d", AckPolicy: server.AckExplicit, MaxAckPending: -1, AckWait: time.Hour}), server.ActionCreate)
		consumer := f.apply().Slots[0].Consumer.Incarnation()
		payload := make([]byte, 512)
		for f.published < total {
			n := 0
			for ; f.batch.Len() < 128<<10; n++ {
				f.batch.Publish(queue, []byte("QUEUE.a"), nil, payload)
			}
			f.apply()
			f.batch.Deliver(consumer, n, 0)
			var acks []machine.Ack
			for _, d := range f.apply().Slots[0].Deliveries {
				if d.StreamSeq%16 > 0 { // one in sixteen takes its time
					acks = append(acks, machine.Ack{Kind: machine.AckDone, StreamSeq: d.StreamSeq, ConsumerSeq: d.ConsumerSeq, Deliveries: 1})
				}
			}
			f.batch.Acks(consumer, acks)
			f.apply()
		}
	}},
	{"one message of 128 bytes in each entry", true, func(f *footprint, total int64) { f.single(total/8, 128) }},
	{"one message of 8 bytes in each entry", true, func(f *footprint, total int64) { f.single(total/40, 8) }},
	{"max_age", false, func(f *footprint, total int64) {
		aged := f.stream("AGED", func(c *server.StreamConfig) { c.MaxAge, c.Duplicates = time.Minute, time.Minute })
		payload := make([]byte, 128)
		step := int64(time.Minute) * (32 << 10) / (total / 6)
		for f.published < total {
			for f.batch.Len() < 32<<10 {
				f.batch.Publish(aged, []byte("AGED.a"), nil, payload)
			}
			f.apply()
			f.now += step
		}
	}},
	{"time to live", false, func(f *footprint, total int64) {
		ttl := f.stream("TTL", func(c *server.StreamConfig) { c.AllowMsgTTL = true })
		payload := make([]byte, 512)
		step := int64(time.Minute) * (32 << 10) / (total / 6)
		for f.published < total {
			for f.batch.Len() < 32<<10 {
				header := fmt.Appendf(nil, "NATS/1.0\r\nNats-TTL: %ds\r\n\r\n", 1+f.rand.IntN(120))
				f.batch.Publish(ttl, []byte("TTL.a"), header, payload)
			}
			f.apply()
			f.now += step
		}
	}},
	{"streams that come and go", false, func(f *footprint, total int64) {
		stays := f.stream("STAYS")
		payload := make([]byte, 128)
		var streams []machine.Incarnation
		for i := 0; f.published < total; i++ {
			streams = append(streams, f.stream(fmt.Sprint("TINY", i)))
			for j := 0; f.batch.Len() < 24<<10; j++ {
				f.batch.Publish(streams[f.rand.IntN(len(streams))], fmt.Appendf(nil, "TINY%d.%d", i, j), nil, payload)
				if j%8 == 0 {
					f.batch.Publish(stays, []byte("STAYS.a"), nil, payload)
				}
			}
			f.apply()
			if at := f.rand.IntN(100); at < len(streams) {
				f.batch.DeleteStream(streams[at])
				streams = append(streams[:at], streams[at+1:]...)
				f.apply()
			}
		}
	}},
	{"keys", false, func(f *footprint, total int64) {
		keys := f.stream("KEYS", func(c *server.StreamConfig) { c.MaxMsgsPer = 1 })
		payload := make([]byte, 128)
		for f.published < total {
			for f.batch.Len() < 32<<10 {
				f.batch.Publish(keys, fmt.Appendf(nil, "KEYS.%d", f.rand.Int64N(total/1000)), nil, payload)
			}
			f.apply()
		}
	}},
	{"subjects of 100 bytes, each once", true, func(f *footprint, total int64) {
		keys := f.stream("KEYS")
		payload := make([]byte, 16)
		for i := 0; f.published < total/2; {
			for ; f.batch.Len() < 256<<10; i++ {
				f.batch.Publish(keys, fmt.Appendf(nil, "KEYS.%095d", i), nil, payload)
			}
			f.apply()
		}
	}},
}

// single publishes messages that stay, each in an entry of its own.
func (f *footprint) single(total int64, size int) {
	f.step = slowTick
	stays := f.stream("STAYS")
	payload := make([]byte, size)
	for f.published < total {
		f.batch.Publish(stays, []byte("STAYS.a"), nil, payload)
		f.apply()
	}
}

func (f *footprint) normalConsumer(stream machine.Incarnation, c *server.ConsumerConfig) *server.ConsumerConfig {
	normal, apiErr := machine.NormalizeConsumer(c, f.machine.StreamOf(stream).Config(), machine.Limits{}, false)
	if apiErr != nil {
		f.t.Fatal(apiErr)
	}
	return normal
}

// TestFileFollowsEveryLoad fills stores in the ways in which messages come and go, and
// bounds the file. What does not depend on the live data is an eighth of what it is by
// default, but for the reserve, of 16 MiB at most.
func TestFileFollowsEveryLoad(t *testing.T) {
	const scale = 8
	const wholeSteps = 4 << 20 // of growth, of what a checkpoint writes before it frees
	for _, load := range footprintLoads {
		t.Run(load.name, func(t *testing.T) {
			t.Parallel()
			f := newFootprint(t, 12<<20/scale)
			load.fill(f, 384<<20/scale)
			f.checkpoint()
			live := f.live()
			limit := live*3/2 + (48<<20)/scale + f.store.Reserve() + wholeSteps
			if size := f.store.Size(); size > limit {
				t.Errorf("the file has %d bytes, %d are allowed for %d that live; %d were published and %d written again", size, limit, live, f.published, f.moved)
			}
			if !load.stays && f.published < limit {
				t.Errorf("%d bytes were published, %d live: too little had to be freed", f.published, live)
			}
		})
	}
}
