package member

import (
	"errors"

	"holdfast/protocol"
	"holdfast/wal"
)

// Committer makes writes durable: all of them in one transaction, in order.
type Committer interface {
	Commit(writes ...*protocol.Write) error
}

// Commit is how an environment makes queued writes durable. A full disk
// (wal.ErrDiskFull) is no failure: nothing is lost, the store is unharmed, and
// the environment calls again with the same writes after a while. Those of them
// that free room, checkpoints and what lets dead entries go, have then been made on
// their own: they refer to nothing that is not durable.
func Commit(store Committer, writes []*protocol.Write) error {
	err := store.Commit(writes...)
	if !errors.Is(err, wal.ErrDiskFull) {
		return err
	}
	for i, write := range writes {
		if (write.Checkpoint != nil || write.Drop) && store.Commit(write) == nil {
			writes[i] = &protocol.Write{}
		}
	}
	return err
}
