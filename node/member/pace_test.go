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
