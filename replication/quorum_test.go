package replication

import (
	"testing"
	"testing/quick"
)

// TestReached compares with counting: the largest value that enough of the
// values reach.
func TestReached(t *testing.T) {
	same := func(values []uint16, need uint8) bool {
		wide := make([]uint64, len(values))
		for i, v := range values {
			wide[i] = uint64(v % 20) // equal values are common
		}
		needed := int(need)%(len(wide)+3) + 1
		want := uint64(0)
		for _, candidate := range wide {
			have := 0
			for _, v := range wide {
				if v >= candidate {
					have++
				}
			}
			if have >= needed {
				want = max(want, candidate)
			}
		}
		return reached(wide, needed) == want
	}
	if err := quick.Check(same, &quick.Config{MaxCount: 2000}); err != nil {
		t.Error(err)
	}
}

// TestMajoritiesMeet: any two majorities share a voter, also across a single
// membership change (thesis, section 4.1).
func TestMajoritiesMeet(t *testing.T) {
	for n := 1; n <= 9; n++ {
		if 2*majority(n) <= n {
			t.Errorf("two majorities of %d need not meet", n)
		}
		if majority(n)+majority(n+1) <= n+1 {
			t.Errorf("majorities of %d and of %d need not meet", n, n+1)
		}
	}
}

// TestSingleChange compares with what it means: some voter more or less.
func TestSingleChange(t *testing.T) {
	all := voters("a", "b", "c", "d")
	for from := range 1 << 4 {
		for to := range 1 << 4 {
			x, y := all, all
			differ := 0
			for i, v := range all.Voters {
				if from>>i&1 == 0 {
					x = x.Without(v.Name)
				}
				if to>>i&1 == 0 {
					y = y.Without(v.Name)
				}
				differ += (from ^ to) >> i & 1
			}
			if got := singleChange(x, y); got != (differ == 1 && to != 0) {
				t.Errorf("from %s to %s: %v", x, y, got)
			}
		}
	}
}
