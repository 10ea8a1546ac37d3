package explore

// budget counts actions by kind.
type budget [opCount]uint8
