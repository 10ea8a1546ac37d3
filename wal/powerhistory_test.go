package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"holdfast/protocol"
)

// history is what a folder goes through in the tests of power cuts: a sequence of
// steps that follows from the seed alone, so that a process that goes on after a
// cut, and the test that judges it, know all of it. They only have to be told how
// many steps were done.
type history struct {
	seed   uint64
	steps  int // that were made
	model  *model
	aside  []picture // stores that were set aside, oldest first
	chunks [][]byte  // of the copy of another node's store
	copied picture   // that copy, as it looks when it was switched to
}

// step is one thing that a process does with its folder.
type step struct {
	kind   stepKind
	writes []*protocol.Write // of a commit
	store  protocol.StoreID  // of a copy
}

type stepKind int

const (
	committing stepKind = iota
	dying               // a commit; the process ends while it waits for the disk, if it waits once
	folding
	reopening   // the store
	starting    // again: the folder too
	discarding  // a copy that is not whole
	switching   // to a copy
	quarantined // the store is
)

func newHistory(seed uint64, chunks [][]byte, copied picture) *history {
	h := &history{seed: seed, chunks: chunks, copied: copied}
	h.model = blankModel(protocol.Lineage{})
	return h
}

// blankModel is a new store that replaces a lineage.
func blankModel(replaced protocol.Lineage) *model {
	return &model{meta: Meta{Owner: owner, Replaced: replaced}, entries: map[uint64]protocol.Entry{}, pairs: map[string]string{}}
}

// next makes one step, in the model.
func (h *history) next() step {
	random := rand.New(rand.NewPCG(h.seed, uint64(h.steps)))
	h.steps++
	m := h.model
	blank := m.meta.Identity.Lineage.Blank()
	kinds := []stepKind{dying, folding, reopening, starting, discarding, switching, quarantined}
	st := step{kind: kinds[random.IntN(len(kinds))]}
	// A store takes an identity before anything else.
	if blank && (st.kind == folding || st.kind == dying || random.IntN(3) > 0) || random.IntN(4) > 0 {
		st.kind = committing
	}
	switch st.kind {
	case committing, dying:
		if blank {
			st.writes = append(st.writes, &protocol.Write{Identity: &protocol.Identity{Store: protocol.StoreID(1 + random.Uint64()>>1), Lineage: lineage}})
			m.apply(st.writes[0])
		}
		for range 1 + random.IntN(3) {
			w := m.randomWrite(random)
			m.apply(w)
			st.writes = append(st.writes, w)
		}
		if !m.meta.Identity.Lineage.Blank() {
			m.meta.Replaced = protocol.Lineage{}
		}
	case switching:
		st.store = protocol.StoreID(1 + random.Uint64()>>1)
		if !blank {
			h.aside = append(h.aside, m.picture())
		}
		h.model = modelOf(h.copied)
		h.model.meta.Identity.Store = st.store
	case quarantined:
		lost := m.meta.Identity.Lineage
		if blank {
			lost = m.meta.Replaced
		}
		h.aside = append(h.aside, m.picture())
		h.model = blankModel(lost)
	}
	return st
}

// modelOf is the model that a picture shows.
func modelOf(p picture) *model {
	m := blankModel(protocol.Lineage{})
	m.meta = p.meta
	m.marks = slices.Clone(p.marks[1 : len(p.marks)-1])
	for _, e := range p.entries {
		m.entries[e.Index] = e
	}
	for _, pair := range p.pairs {
		m.pairs[string(pair.Key)] = string(pair.Value)
	}
	return m
}

// moment is what a folder has to be between two steps.
type moment struct {
	store picture
	aside []picture
}

// moments are those before each of so many steps, and the one after the last.
func (h *history) moments(steps int) []moment {
	all := make([]moment, 0, steps+1)
	for {
		all = append(all, moment{h.model.picture(), slices.Clone(h.aside)})
		if h.steps == steps {
			return all
		}
		// The pictures keep the entries and pairs; the model changes its maps.
		h.model.entries, h.model.pairs = maps.Clone(h.model.entries), maps.Clone(h.model.pairs)
		h.next()
	}
}

// told is what the process has said to the world after so many steps.
type told struct{ steps, counter, boot uint64 }

// The process says it in a file on the disk that will lose its power: then the
// record of the disk knows when.
const (
	toldName    = "told"
	storeFolder = "store"
	toldBytes   = 24
)

func (t told) encode() []byte {
	b := binary.LittleEndian.AppendUint64(nil, t.steps)
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, t.counter), t.boot)
}

func decodeTold(b []byte) (told, bool) {
	if len(b) < toldBytes {
		return told{}, false
	}
	return told{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])}, true
}

// life is one process that goes on with a history until the power is cut.
type life struct {
	history *history
	folder  string
	opt     Options
	dir     *Dir
	store   *Store
	said    *os.File
	ending  bool // the process is to end instead of waiting for the disk
}

var errEnded = errors.New("the process has ended")

// live does the steps of a history from those that were done before to the given
// number.
func live(folder string, h *history, done, until int) error {
	l := &life{history: h, folder: folder, opt: optionsOf(h.seed)}
	l.opt.disk.before = func(operation, path string) error {
		if l.ending && operation == "sync" && strings.HasSuffix(path, storeSuffix) {
			return errEnded
		}
		return nil
	}
	for h.steps < done {
		h.next()
	}
	var err error
	if l.said, err = os.OpenFile(filepath.Join(folder, toldName), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if err := l.start(); err != nil {
		return err
	}
	for {
		m := l.store.Meta()
		if _, err := l.said.WriteAt(told{uint64(h.steps), m.Counter, m.Boot}.encode(), 0); err != nil {
			return err
		}
		if h.steps >= until {
			return nil // nothing is closed: the power is cut
		}
		if err := l.do(h.next()); err != nil {
			return fmt.Errorf("step %d: %w", h.steps, err)
		}
	}
}

// optionsOf are those of all processes of one history: a journal that is full after
// a few commits, or one that takes nearly everything.
func optionsOf(seed uint64) Options {
	opt := small
	if seed%2 == 1 {
		opt.JournalBytes = 1 << 20
	}
	return opt
}

func (l *life) start() (err error) {
	if l.dir, err = OpenDir(filepath.Join(l.folder, storeFolder), owner, l.opt); err != nil {
		return err
	}
	return l.open()
}

func (l *life) open() (err error) {
	l.store, err = l.dir.Open()
	return err
}

func (l *life) do(st step) error {
	switch st.kind {
	case committing:
		return l.store.Commit(st.writes...)
	case dying:
		l.ending = true
		err := l.store.Commit(st.writes...)
		if l.ending = false; errors.Is(err, errEnded) {
			err = nil
		}
		l.dir.abandon()
		return errors.Join(err, l.start())
	case folding:
		return l.store.Fold()
	case reopening:
		return errors.Join(l.store.Close(), l.open())
	case starting:
		return errors.Join(l.store.Close(), l.dir.Close(), l.start())
	case discarding:
		g, err := l.stage(len(l.history.chunks) - 1)
		if err == nil {
			err = g.Discard()
		}
		return err
	case switching:
		g, err := l.stage(len(l.history.chunks))
		if err == nil {
			_, err = g.Finish()
		}
		if err == nil {
			err = l.store.Close()
		}
		if err == nil {
			identity := protocol.Identity{Store: st.store, Lineage: lineage}
			l.store, err = l.dir.Activate(g, Activation{Identity: identity, Reason: "joined"})
		}
		return err
	default:
		if err := l.store.Close(); err != nil {
			return err
		}
		if _, err := l.dir.Quarantine(asideReason); err != nil {
			return err
		}
		return l.open()
	}
}

// stage begins a copy, with so many of its chunks.
func (l *life) stage(chunks int) (*Stage, error) {
	g, err := l.dir.NewStage()
	for _, chunk := range l.history.chunks[:chunks] {
		if err == nil {
			err = g.Write(chunk)
		}
	}
	return g, err
}

// asideReason is why a process sets its store aside.
const asideReason = "a reason"

// errLost is what the checkers say.
var errLost = errors.New("not what it has to be")

// judge opens what a cut left and compares it with the moments that it may be: the
// last that the process told of, or the one after. It returns which. It also tries,
// if it is to, whether what was found is a store like any other.
func judge(folder string, seed uint64, moments []moment, t told, try bool) (steps int, err error) {
	d, err := OpenDir(filepath.Join(folder, storeFolder), owner, optionsOf(seed))
	if err != nil {
		return 0, err
	}
	defer d.abandon()
	s, err := d.Open()
	if err != nil {
		return 0, err
	}
	got, err := look(s)
	if err != nil {
		return 0, err
	}
	var why error
	for steps = int(t.steps); steps < min(int(t.steps)+2, len(moments)); steps++ {
		if why = sameMoment(d, got, moments[steps]); why == nil {
			break
		}
		err = errors.Join(err, fmt.Errorf("after %d steps: %w", steps, why))
	}
	if why != nil {
		return 0, err
	}
	if m := s.Meta(); steps == int(t.steps) && (m.Counter < t.counter || m.Boot <= t.boot && t.boot > 0) {
		return 0, fmt.Errorf("%w: counter %d, boot %d, after it told of %d, %d", errLost, m.Counter, m.Boot, t.counter, t.boot)
	}
	if !try {
		return steps, nil
	}
	promise := &protocol.Write{Promise: &protocol.Attempt{Epoch: 1 << 40, ID: 1}}
	if err := errors.Join(s.Commit(promise), s.Close()); err != nil {
		return 0, err
	}
	if s, err = d.Open(); err == nil && s.Meta().Promise != *promise.Promise {
		err = fmt.Errorf("%w: a commit after it", errLost)
	}
	return steps, err
}

// sameMoment compares a folder, whose store looks so, with what it has to be. Of
// the stores that were set aside, the last is compared in full.
func sameMoment(d *Dir, got picture, want moment) error {
	if want.store.meta.Identity.Store == 0 && got.meta.Identity.Lineage.Blank() {
		got.meta.Identity.Store = 0 // nobody knows the number of a new store
	}
	if err := same(got, want.store); err != nil {
		return fmt.Errorf("%w: the store: %w", errLost, err)
	}
	aside, err := d.Quarantined()
	if err != nil {
		return err
	}
	// The blank store that a copy replaced is removed when it is convenient. After a
	// cut it may be there again, and is set aside like anything that was found.
	aside = slices.DeleteFunc(aside, func(q Quarantined) bool {
		found, err := surveyFile(q.Path)
		return err == nil && q.Reason != asideReason && found.head.identity.Lineage.Blank() && found.head.last == 0
	})
	if len(aside) != len(want.aside) {
		return fmt.Errorf("%w: %d stores are set aside, want %d", errLost, len(aside), len(want.aside))
	}
	for i, q := range aside {
		id := want.aside[i].meta.Identity.Store
		if q.Bytes == 0 || id != 0 && q.Store != id {
			return fmt.Errorf("%w: %s, of %d bytes, is store %v, want %v", errLost, q.Name(), q.Bytes, q.Store, id)
		}
	}
	if len(aside) == 0 {
		return nil
	}
	opt := d.databaseOptions()
	opt.mark = journalMark{}
	s, err := openStore(aside[len(aside)-1].Path, owner, opt)
	if err != nil {
		return fmt.Errorf("%w: what was set aside: %w", errLost, err)
	}
	defer s.Abandon()
	set, err := look(s)
	if want := want.aside[len(aside)-1]; err == nil {
		if want.meta.Identity.Store == 0 {
			set.meta.Identity.Store = 0
		}
		err = same(set, want)
	}
	if err != nil {
		return fmt.Errorf("%w: what was set aside: %w", errLost, err)
	}
	return nil
}

// The chunks of a copy go from the test to the process in a file.
func writeChunks(name string, chunks [][]byte) error {
	var b []byte
	for _, chunk := range chunks {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(chunk))), chunk...)
	}
	return os.WriteFile(name, b, 0o600)
}

func readChunks(name string) (chunks [][]byte, err error) {
	b, err := os.ReadFile(name)
	for r := bytes.NewReader(b); err == nil && r.Len() > 0; {
		var size [4]byte
		if _, err = io.ReadFull(r, size[:]); err == nil {
			chunk := make([]byte, binary.LittleEndian.Uint32(size[:]))
			_, err = io.ReadFull(r, chunk)
			chunks = append(chunks, chunk)
		}
	}
	return chunks, err
}
