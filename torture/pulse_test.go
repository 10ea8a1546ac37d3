package main

import (
	"slices"
	"testing"
	"time"
)

// TestPulse: only what is late by more than a moment counts, and it is not said to be
// the servers' silence.
func TestPulse(t *testing.T) {
	var p pulse
	at := time.Duration(0)
	for _, pause := range []time.Duration{pulseBeat, pulseBeat + heldUp, 40 * time.Second, pulseBeat, pulseBeat + 2*heldUp} {
		p.came(at, at+pause)
		at += pause
	}
	want := pulse{{2*pulseBeat + heldUp + pulseBeat, 2*pulseBeat + heldUp + 40*time.Second}, {at - 2*heldUp, at}}
	if !slices.Equal(p, want) || p.total() != 40*time.Second-pulseBeat+2*heldUp {
		t.Errorf("got %v in all, %v, want %v", p.total(), p, want)
	}
	answered := []span{{want[0].from - pulseBeat, want[0].from - pulseBeat}, {want[0].to, want[0].to}}
	if longest, _ := longestSilence(answered, p); longest > pulseBeat {
		t.Errorf("a silence of %v", longest)
	}
}

func TestUnion(t *testing.T) {
	got := union([]span{{50, 60}, {10, 20}, {15, 18}, {20, 30}, {55, 70}})
	if !slices.Equal(got, []span{{10, 30}, {50, 70}}) {
		t.Errorf("got %v", got)
	}
}
