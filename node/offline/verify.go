package offline

import (
	"errors"
	"fmt"
	"io"

	"holdfast/node/machine"
	"holdfast/wal"
)

// ErrDamaged: a store, or the folder that it is in, is not as it was written.
var ErrDamaged = errors.New("damaged")

// Verify reads every byte of the store in a folder that no node uses, and writes
// to out what it holds and everything that is wrong. ErrDamaged: something is.
func Verify(out io.Writer, folder string) error {
	f, err := wal.LookInto(folder)
	if err != nil {
		return fmt.Errorf("verify %s: %w", folder, err)
	}
	defer f.Close()
	for _, path := range f.Strays {
		fmt.Fprintf(out, "%s is not the store: replaced or never used; the next start removes it or sets it aside\n", path)
	}
	for _, path := range f.Aside {
		fmt.Fprintf(out, "%s is set aside (holdfast inspect --file FILE reads it)\n", path)
	}
	if f.Problem != "" {
		fmt.Fprintf(out, "DAMAGED: %s\n", f.Problem)
		return fmt.Errorf("verify %s: %w", folder, ErrDamaged)
	}
	if f.Store == "" {
		fmt.Fprintln(out, "there is no store yet: the next start makes a blank one")
		return nil
	}
	b, err := open(f.Store)
	if err != nil {
		fmt.Fprintf(out, "DAMAGED: %v\n", err)
		return fmt.Errorf("verify %s: %w", folder, ErrDamaged)
	}
	defer b.Close()
	b.introduce(out)
	faults := b.findings()
	for _, fault := range faults {
		fmt.Fprintf(out, "DAMAGED: %s\n", fault)
	}
	if len(faults) > 0 {
		return fmt.Errorf("verify %s: %w in %d places; a node that starts on it sets it aside and heals from the others; holdfast inspect reads what is right", folder, ErrDamaged, len(faults))
	}
	fmt.Fprintln(out, "everything is as it was written")
	return nil
}

// findings lists what is wrong with the file, the entries and the messages.
func (b *book) findings() []string {
	faults := append([]string{}, b.Faults()...)
	for _, err := range b.damaged {
		faults = append(faults, err.Error())
	}
	if b.machine == nil {
		return append(faults, fmt.Sprintf("the state of the streams cannot be told: %v", b.why))
	}
	for _, s := range b.machine.Streams() {
		lost := 0
		var first error
		eachMessage(s, func(stored machine.Stored) {
			if _, err := b.read(stored.Location); err != nil {
				if lost++; lost == 1 {
					first = fmt.Errorf("message %d: %w", stored.Seq, err)
				}
			}
		})
		if lost > 0 {
			faults = append(faults, fmt.Sprintf("stream %s: %d of %d messages cannot be read, first %v", s.Name(), lost, s.State().Msgs, first))
		}
	}
	return faults
}

// eachMessage calls fn with every message of a stream in ascending order.
func eachMessage(s *machine.Stream, fn func(machine.Stored)) {
	for seq := uint64(1); ; {
		stored, ok := s.Next(seq, "")
		if !ok {
			return
		}
		fn(stored)
		seq = stored.Seq + 1
	}
}

// introduce says what the file is.
func (b *book) introduce(out io.Writer) {
	meta, known := b.Meta()
	fmt.Fprintf(out, "%s: %d bytes\n", b.Path(), b.Bytes())
	if known {
		log, checkpoint := b.Stored()
		fmt.Fprintf(out, "member %s of cluster %s, store %s, lineage %s, boot %d, term %d\n",
			meta.Owner.Member, meta.Owner.Cluster, meta.Identity.Store, meta.Identity.Lineage, meta.Boot, meta.HardState.Term)
		fmt.Fprintf(out, "log: last %d, committed at least %d, checkpoint at %d, whole from %d; %d bytes of entries, %d of checkpoint\n",
			b.Last(), meta.HardState.Commit, meta.CheckpointIndex, meta.Horizon+1, log, checkpoint)
	}
	fmt.Fprintf(out, "%d entries are right, %d are not\n", b.entries, len(b.damaged))
}
