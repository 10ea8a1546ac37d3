package replication

// switches turns rules off, one by one, to show that each of them is needed. The
// zero value has every rule on; nothing that a production build contains sets a
// field.
type switches struct {
	singleChange     bool // P2: a membership change adds or removes exactly one voter
	releaseByMembers bool // P2: a batch is released when a majority of the members stores it
}
