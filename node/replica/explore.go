//go:build explore

package replica

import (
	"fmt"

	"holdfast/protocol"
	"holdfast/replication"
)

// SwitchOff turns one clause of the rules off, wherever it lives. It exists only
// in builds with the tag "explore"; a production build has no way to reach the
// switches.
func (r *Replica) SwitchOff(clause string) error {
	switch clause {
	case "remove-then-add":
		r.off.removeThenAdd = true
		if r.raft != nil {
			if err := r.raft.SwitchOff("single-change"); err != nil {
				return err
			}
		}
	case "release-by-members":
		if r.raft != nil {
			return r.raft.SwitchOff(clause)
		}
		return nil
	case "promise-stays":
		r.off.liftPromise = liftPromise
		return nil
	}
	if err := r.mesh.SwitchOff(clause); err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	return nil
}

// liftPromise accepts any log whose epoch is above the promise.
func liftPromise(r *Replica, m *replication.Message) {
	if !r.frozen() || m.Type != replication.Append {
		return
	}
	for i := range m.Entries {
		e := &m.Entries[i]
		if e.Kind != protocol.KindBump {
			continue
		}
		if epoch, err := protocol.DecodeEpoch(e.Data); err == nil && epoch > r.promise.Epoch {
			r.raft.Thaw()
		}
	}
}
