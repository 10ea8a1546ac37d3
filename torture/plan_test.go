package main

import (
	"reflect"
	"testing"
	"time"
)

// A plan is a function of its seed, in which every kind has its turns, and which
// never destroys more than a minority at a time.
func TestPlan(t *testing.T) {
	for _, size := range []int{3, 5} {
		for seed := range uint64(50) {
			p, same := newPlan(seed, size, true, true), newPlan(seed, size, true, true)
			counts := map[kind]int{}
			settled := true
			for range 200 {
				a := p.act()
				if b := same.act(); !reflect.DeepEqual(a, b) {
					t.Fatalf("seed %d: %v and %v", seed, a, b)
				}
				destroyed := 0
				for _, f := range a.faults {
					counts[f.kind]++
					if f.kind.destroys() {
						destroyed++
					}
					if f.node != leading && (f.node < 0 || f.node >= size) || f.hold < 0 || f.after < 0 {
						t.Fatalf("seed %d: %+v", seed, f)
					}
					if f.kind.everywhere() && len(a.faults) > 1 {
						t.Errorf("seed %d: %v does not go alone", seed, a)
					}
				}
				if destroyed > (size-1)/2 {
					t.Errorf("seed %d: %v destroys too much", seed, a)
				}
				if destroyed > 0 && (!settled || !a.settles) {
					t.Errorf("seed %d: %v does not wait for what it needs", seed, a)
				}
				settled = a.settles
			}
			for k := range kindCount {
				if counts[k] < 200/int(kindCount)/2 {
					t.Errorf("seed %d: %v only %d times", seed, k, counts[k])
				}
			}
		}
	}
}

// Without disks and networks of the nodes' own, no fault needs them.
func TestPlanOnLoopback(t *testing.T) {
	p := newPlan(1, 3, false, false)
	for range 200 {
		for _, f := range p.act().faults {
			if f.kind.needsDisk() || f.kind.needsNetwork() {
				t.Fatal(f)
			}
		}
	}
}

// An outage is when no member is connected with a majority that can store.
func TestConditions(t *testing.T) {
	clock := time.Duration(0)
	c := newConditions(3, func() time.Duration { return clock })
	at := func(when time.Duration, able bool, do func()) {
		t.Helper()
		clock = when
		if c.change(do); c.isAble() != able {
			t.Errorf("at %v: able %v", when, c.isAble())
		}
	}
	at(1, true, func() { c.down[0]++ })
	at(2, false, func() { c.full[1]++ })
	at(3, true, func() { c.down[0]-- })
	at(4, false, func() { c.cuts[direction{2, 0}]++ })
	at(5, true, func() { c.full[1]-- })
	at(6, true, func() { c.blank[0]++ })
	at(7, false, func() { c.cuts[direction{1, 2}]++ })
	clock = 9
	want := []span{{2, 3}, {4, 5}, {7, 9}}
	if got := c.spans(); !reflect.DeepEqual(got, want) {
		t.Errorf("outages %v, want %v", got, want)
	}
	if got := (span{0, 8}).without(want); got != 5 {
		t.Errorf("%v of 8 are without an outage, want 5", got)
	}
}

// Recovery is counted from a fault, or from its end, to the first answer to
// something that was sent after it; silence leaves out what was unavoidable.
func TestRecovery(t *testing.T) {
	h := history{publishers: []*publisher{
		{noted: noted[sent]{values: []sent{{began: 0, ended: 5, seq: 1}, {began: 20, ended: 90, seq: 2}, {began: 95, ended: 0}}}},
		{noted: noted[sent]{values: []sent{{began: 30, ended: 60, seq: 3}, {began: 100, ended: 110, seq: 4}}}},
	}}
	answered := h.answered()
	got := recovery(answered, []*record{{kind: killed, from: 10}, {kind: killed, from: 61}, {kind: frozen, from: 105}})
	if want := (map[kind]durations{killed: {50, 49}}); !reflect.DeepEqual(got, want) {
		t.Errorf("recovery %v, want %v", got, want)
	}
	if longest, at := longestSilence(answered, nil); longest != 55 || at != 5 {
		t.Errorf("silence %v from %v on", longest, at)
	}
	if longest, at := longestSilence(answered, []span{{10, 50}}); longest != 30 || at != 60 {
		t.Errorf("silence %v from %v on, without the outage", longest, at)
	}
	d := durations{}
	for i := range 10 {
		d = append(d, time.Duration(10-i)*time.Second)
	}
	if got := d.String(); got != "5.00 / 9.00 / 10.00 s" {
		t.Errorf("durations %s", got)
	}
}
