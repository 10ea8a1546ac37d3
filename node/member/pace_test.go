package member

import "testing"

func TestPace(t *testing.T) {
	var p pace
	p.tick(1, 100)
	p.read(10 * copyTickBytes)
	if !p.allows(1) {
		t.Fatal("slowed down without a load")
	}
	p.tick(2, 100+busyTickBytes)
	p.read(copyTickBytes / 2)
	if !p.allows(2) {
		t.Fatal("it may read more")
	}
	p.read(copyTickBytes)
	if p.allows(2) {
		t.Fatal("not slowed down by a load")
	}
	p.tick(3, 100+busyTickBytes)
	if !p.allows(3) {
		t.Fatal("a new tick allows nothing")
	}
	p.read(copyTickBytes)
	if p.allows(1+busyTicks) || !p.allows(2+busyTicks) {
		t.Fatal("the load ends too early or too late")
	}
	p.tick(4, 5) // another term counts anew
	if p.applied != 5 {
		t.Fatal("not counted anew")
	}
}

// A copy gets the same share beside any load: it is never starved, and what a load
// costs it does not depend on how large the load is.
func TestPaceIsAFloorAndACeiling(t *testing.T) {
	const ticks, piece, most = 1000, 512 << 10, 12
	for _, c := range []struct {
		load, want int64 // bytes applied, and read, in a tick
	}{
		{0, most * piece},
		{busyTickBytes - 1, most * piece},
		{busyTickBytes, copyTickBytes},
		{1 << 20, copyTickBytes},
		{64 << 20, copyTickBytes},
	} {
		var p pace
		var read int64
		for now := int64(1); now <= ticks; now++ {
			p.tick(uint64(now), now*c.load)
			for n := 0; n < most && p.allows(uint64(now)); n++ {
				p.read(piece)
				read += piece
			}
		}
		if read != ticks*c.want {
			t.Errorf("beside %d bytes in a tick %d were read, want %d", c.load, read/ticks, c.want)
		}
	}
}
