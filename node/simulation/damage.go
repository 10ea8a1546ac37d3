package simulation

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"holdfast/wal"
)

// errCutOff takes the place of a change in a store folder before which the
// process is killed.
var errCutOff = errors.New("simulated: killed")

// damage makes a store that cannot be trusted, in one of several ways. It is
// found out when the process writes, when the store is opened, or when somebody
// reads the place.
func (w *world) damage(h *host) {
	switch draw := w.random.Float64(); {
	case draw < 0.3:
		w.failWrites(h)
		return
	case draw < 0.6 && h.process != nil:
		h.suspect = h.identity()
		w.flip(h)
		return
	}
	h.crash()
	h.suspect = h.identity()
	switch w.random.IntN(3) {
	case 0:
		w.flip(h)
	case 1:
		h.truncate()
	case 2:
		h.note("the pointer to the store is damaged")
		if err := os.WriteFile(filepath.Join(h.disk.folder, "current"), []byte("nothing"), 0o600); err != nil {
			h.note("there is none: %v", err)
		}
		h.suspect, h.left = 0, nil
	}
	h.restart(w.often(millisecond, 3*second))
}

// failWrites makes the next write of a process fail.
func (w *world) failWrites(h *host) {
	p := h.process
	if p == nil || p.era == nil {
		return
	}
	h.note("disk fails")
	x := p.era
	p.put(mailWritten, x.living(func() {
		x.broken = true
		p.member.Written(0, &wal.DamageError{Path: "store", What: "simulated: bad sector"})
	}))
}

// flip changes bytes of one message wherever the store's file has them, while a
// process uses the file or while none does.
func (w *world) flip(h *host) {
	var texts []string
	for _, t := range w.checks.history.sorted() {
		for _, seq := range t.live {
			if m := t.messages[seq]; m != nil && m.text != "" { // a delete marker has none
				texts = append(texts, m.text)
			}
		}
	}
	if len(texts) == 0 {
		return
	}
	text := texts[w.random.IntN(len(texts))]
	h.note("bytes of %q are changed on the disk", text)
	h.eachStore(func(path string) error {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		damaged := []byte(strings.ToLower(text))
		for at := 0; ; at += len(damaged) {
			next := bytes.Index(content[at:], []byte(text))
			if next < 0 {
				return nil
			}
			at += next
			if _, err := f.WriteAt(damaged, int64(at)); err != nil {
				return err
			}
		}
	})
}

func (h *host) truncate() {
	h.note("the store's file is cut short")
	h.eachStore(func(path string) error { return os.Truncate(path, 12_000) })
}

// eachStore does something with the store files of the folder.
func (h *host) eachStore(act func(path string) error) {
	paths, err := filepath.Glob(filepath.Join(h.disk.folder, "store-*.db"))
	for i := 0; i < len(paths) && err == nil; i++ {
		h.damaged[paths[i]] = true
		err = act(paths[i])
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.world.fail("damage the store of %s: %v", h.name, err)
	}
}
