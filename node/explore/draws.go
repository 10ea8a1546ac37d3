package explore

// draws is the source of randomness of one member. It makes the random choices
// of the cores choices of the explorer:
//
//   - Drawn as a number below some bound, a value gives the least (timeouts and
//     back-offs are the shortest possible; that they may be longer is explored by
//     the order in which members' clocks advance).
//   - Drawn as an ID, a value is unique: IDs are only ever compared for equality,
//     and the fingerprint renames them in the order in which it meets them.
type draws struct {
	member uint64
	next   uint64
}

// The upper half of a value is what bounded numbers are made of; 2 falls on the
// least number below each bound that the cores use, and on a pause of two ticks
// where a leader's connection broke.
const drawHigh = 2 << 32

// Uint64 returns the next value.
func (d *draws) Uint64() uint64 {
	d.next++
	return drawHigh | (d.member+1)<<24 | d.next
}

// drawer tells which member drew an ID; -1 for IDs that the explorer made.
func drawer(id uint64) int { return int(id>>24&0xff) - 1 }
