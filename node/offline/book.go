package offline

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
	"holdfast/protocol"
	"holdfast/wal"
)

// book is a store file that is being read.
type book struct {
	*wal.Salvage
	// machine is the state after the whole log; nil: the checkpoint or the log
	// above it is damaged, so that nobody can tell which messages live, and under
	// which numbers.
	machine *machine.Machine
	why     error // why machine is nil
	entries int   // that are right
	damaged []error
	entry   protocol.Entry // the one that was read last
}

// open reads a store file and checks every byte of its log and checkpoint.
func open(path string) (*book, error) {
	salvage, err := wal.SalvageFile(path)
	if err != nil {
		return nil, err
	}
	b := &book{Salvage: salvage}
	err = salvage.Indices(func(index uint64) error {
		if _, err := salvage.Entry(index); err != nil {
			b.damaged = append(b.damaged, err)
		} else {
			b.entries++
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, salvage.Close())
	}
	if b.why = b.restore(); b.why != nil {
		b.machine = nil
	}
	return b, nil
}

// restore reads the checkpoint and applies the log above it: all of it, also what
// may not have been committed. It is better to show too much.
func (b *book) restore() (err error) {
	meta, ok := b.Meta()
	if !ok {
		return errors.New("the records that say where the log ends are damaged")
	}
	whole := false
	b.machine, err = machine.Restore(machine.Options{}, meta.CheckpointIndex, meta.Horizon, meta.Stamp, func(yield func(key, value []byte) error) error {
		whole, err = b.Pairs(yield)
		return err
	})
	if err != nil {
		return err
	}
	if !whole {
		return errors.New("the checkpoint has lost pages")
	}
	var results machine.Results
	for index := meta.CheckpointIndex + 1; index <= b.Last(); index++ {
		entry, err := b.Entry(index)
		if err != nil {
			return err
		}
		if entry.Kind != protocol.KindBatch {
			b.machine.Skip(index)
		} else if err := b.machine.Apply(index, entry.Data, &results); err != nil {
			return err
		}
	}
	return nil
}

// read returns the bytes of a message, which are valid until the next call.
func (b *book) read(at machine.Location) ([]byte, error) {
	if b.entry.Index != at.Index {
		entry, err := b.Entry(at.Index)
		if err != nil {
			return nil, err
		}
		b.entry = entry
	}
	if uint64(at.Offset)+uint64(at.Size) > uint64(len(b.entry.Data)) {
		return nil, fmt.Errorf("entry %d has %d bytes, a message is said to be at %d+%d", at.Index, len(b.entry.Data), at.Offset, at.Size)
	}
	return b.entry.Data[at.Offset : at.Offset+at.Size], nil
}

// stream is what is known of one stream without a machine.
type stream struct {
	account string
	config  *server.StreamConfig
}

// streams finds the streams of a store without a machine: in what is left of the
// checkpoint, and in the log.
func (b *book) streams() map[machine.Incarnation]stream {
	found := map[machine.Incarnation]stream{}
	b.eachBatch(func(e *protocol.Entry) error {
		return machine.EachCreate(e.Index, e.Data, func(inc machine.Incarnation, account string, config *server.StreamConfig) {
			found[inc] = stream{account, config}
		})
	})
	b.Pairs(func(key, value []byte) error {
		if inc, account, config, ok := machine.StreamOf(key, value); ok {
			found[inc] = stream{account, config}
		}
		return nil
	})
	return found
}

// eachBatch calls fn with every batch of the log that is right; what fn cannot
// understand is passed over.
func (b *book) eachBatch(fn func(e *protocol.Entry) error) {
	b.Indices(func(index uint64) error {
		if entry, err := b.Entry(index); err == nil && entry.Kind == protocol.KindBatch {
			_ = fn(&entry)
		}
		return nil
	})
}
