package simulation

import "testing"

// What hunts have found, by the seed and what went wrong under it before.
var found = []struct {
	seed uint64
	what string
}{
	{603697535016, "a copy that was given up was begun again although the store had caught up"},
	{603697535028, "an offer to the process before made a store that had just caught up copy everything again"},
	{928586754309, "a report that waited for a process which was held up set its clock back"},
	{975328839128, "a message that could not be read was said not to be there"},
	{907143000007, "a message whose removal a founding had lost counted as removed"},
}

func TestSeedsThatFoundSomething(t *testing.T) {
	if testing.Short() {
		return
	}
	c := &campaign{TB: t}
	for _, f := range found {
		c.run(f.seed)
	}
}
