package replica

import "holdfast/replication"

// switches turns rules off that live in the replica, to show that each of them
// is needed. The zero value has every rule on; nothing that a production build
// contains sets a field.
type switches struct {
	removeThenAdd bool // P2: a replacement removes first
	// liftPromise, if set, sees every message of another replication core before
	// this one does. P3: a promise is never lifted in place.
	liftPromise func(*Replica, *replication.Message)
}
