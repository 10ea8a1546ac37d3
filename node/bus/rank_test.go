package bus

import (
	"fmt"
	"strconv"
	"testing"
)

// TestTheHigherRankIsPicked has two links in one queue group, one of which might
// as well be gone: what clients send goes to the other, from each server, and
// both share again when the ranks are equal again.
func TestTheHigherRankIsPicked(t *testing.T) {
	const each = 100
	nodes := answeringCluster(t, 3*3*each)
	gone, present := nodes[0], nodes[1]
	next := 0
	// share publishes through every server and returns how many messages the
	// first of the two got.
	share := func() int {
		first := next
		for _, n := range nodes {
			nc := n.client()
			for range each {
				if _, err := nc.Request("orders.new", strconv.AppendInt(nil, int64(next), 10), patience); err != nil {
					t.Fatal(err)
				}
				next++
			}
		}
		got := 0
		gone.do(func() {
			for id := first; id < next; id++ {
				got += gone.seen[id]
			}
		})
		return got
	}
	rank := func(rank int) {
		present.do(func() { present.link.SetRank(rank) })
		present.known(t, nodes, fmt.Sprintf("rank.%d", rank))
	}
	gone.takeOver(t, nodes, 0)
	gone.do(func() { gone.link.SetRank(0) })
	present.takeOver(t, nodes, 1)
	if got := share(); got > 0 { // one in a million
		t.Errorf("the lower rank got %d of %d messages", got, 3*each)
	}
	gone.do(func() { gone.link.SetRank(1) })
	rank(MaxRank)
	if got := share(); got > 10 { // one in a thousand
		t.Errorf("the middle rank got %d of %d messages", got, 3*each)
	}
	gone.do(func() { gone.link.SetRank(0) })
	rank(0)
	if got := share(); got < each/2 || got > 3*each-each/2 {
		t.Errorf("of equal ranks one got %d of %d messages", got, 3*each)
	}
}
