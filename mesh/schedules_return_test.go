package mesh

import "testing"

// A mount failed, the node went on with a blank store; the mount is repaired,
// and the node restarts on the old one.

func TestR1BackBetweenConfirmAndPromise(t *testing.T) {
	for _, off := range []switches{{}, {exact: countListed}} {
		c := formed(t, off, weaknesses{}, "a", "b", "c")
		// 1. a, b are wiped. c starts n=2; a2 confirms.
		a1 := c.wipe("a")
		c.wipe("b")
		c.nodes["c"].following = ""
		c.withhold("c", TypeConfirmed)
		c.only("a", "b", "c")
		c.quiet()
		c.starts("c")
		c.quiet()
		c.must(c.attempting("c"), "1")
		// 2. a restarts on a1. {a1,c1} is electable again. c does not notice.
		delete(c.linked, pair("a", "c"))
		delete(c.linked, pair("a", "b"))
		c.returns("a", a1)
		c.must(len(c.judge.winners()) == 1, "2")
		// 3. b2 confirms, c promises 2 and stops.
		c.nodes["c"].stops = true
		c.release()
		c.must(c.nodes["c"].store.promise.Epoch == 2 && !c.nodes["c"].up, "3")
		// S3 fires in both runs: no rule foresees a store that comes back.
		c.must(c.judge.fired("S3"), "3: no S3")
		c.must(c.recovers() == (off == switches{}), "recovery with %+v", off)
		if (off == switches{}) {
			c.must(c.nodes["a"].store.lineage == c.judge.founds[1].lineage && len(c.judge.faults) == 1, "faults: %v", c.judge.faults)
		}
	}
}

// R2 and R3, step 1: D0 → {a1,b1} (i3). a, b are wiped. c starts n=2; both
// confirm; c promises 2; a2 grants; b2's grant is on its way.
func returning(c *cluster) (a1 *store) {
	c.t.Helper()
	c.write("a", "D0", "b")
	a1 = c.wipe("a")
	c.wipe("b")
	c.nodes["c"].following = ""
	c.withhold("b", TypeGrant)
	c.only("a", "b", "c")
	c.quiet()
	c.starts("c")
	c.quiet()
	c.must(c.nodes["a"].store.promise.Epoch == 2 && c.nodes["b"].store.promise.Epoch == 0, "1")
	return a1
}

func TestR2BackAfterItsSuccessorsGrant(t *testing.T) {
	c := formed(t, switches{}, weaknesses{}, "a", "b", "c")
	a1 := returning(c)
	// 2. a restarts on a1, which has D0. b2 grants. c founds L2@2 from i2.
	c.returns("a", a1)
	c.release()
	c.must(len(c.judge.founds) == 2 && c.elect("c"), "2")
	// S2 fires with all clauses on: a2's grant was honest. a1 is kept, alarmed.
	c.must(c.judge.fired("S2"), "no S2")
	c.only("a", "c")
	c.tick(4 * testRetryTicks)
	c.must(c.nodes["a"].store == a1 && c.alarmed("a", "stay/c"), "a1 is not kept")
	state, _, _ := c.nodes["a"].core.situation()
	c.must(state == StateAlarmed, "a is %s", state)
}

func TestR3BackAfterTheFounding(t *testing.T) {
	schedule(t, switches{leaveRule: true}, weaknesses{}, "S2", func(c *cluster, on bool) {
		a1 := returning(c)
		c.release()
		c.must(len(c.judge.founds) == 2 && c.elect("c"), "1")
		c.returns("a", a1)
		// 2. a1 restages from c and switches, if it may: a2 granted, a1 did not.
		c.only("a", "c")
		for range 4 * testRetryTicks {
			c.tick(1)
			c.copyWhole("a")
		}
		c.must((c.nodes["a"].store == a1) == on, "2")
		c.must(c.alarmed("a", "stay/c") == on, "2: alarm")
	})
}

// Why a blank majority does not found by itself.

func TestB1MinorityHoldsTheData(t *testing.T) {
	schedule(t, switches{everyMember: true}, weaknesses{}, "S2", func(c *cluster, on bool) {
		// 1. b is wiped (b2). D0 → {a1,c1}. a is wiped (a2); c is cut off.
		c.wipe("b")
		c.write("a", "D0", "c")
		c.wipe("a")
		c.cut("c")
		// 2. a2 and b2 are two of three.
		c.only("a", "b")
		c.tick(4 * testRetryTicks)
		c.must((len(c.judge.founds) == 1) == on, "2")
		if on {
			state, reason, remedy := c.nodes["a"].core.situation()
			c.must(state == StateWaiting && reason != "" && remedy != "", "%s %q %q", state, reason, remedy)
			c.must(c.recovers(), "no recovery")
		}
	})
}

func TestB2IntactQuorumOfASmallerConfiguration(t *testing.T) {
	for _, off := range []switches{{}, {everyMember: true}} {
		on := off == switches{}
		c := formed(t, off, weaknesses{}, "a", "b", "c", "d", "e")
		// 1. b is wiped (b2) and cut off from a and c.
		c.wipe("b")
		// 2. b2, d1, e1 are three of five.
		c.only("b", "d", "e")
		c.tick(4 * testRetryTicks)
		c.must((len(c.judge.founds) == 1) == on, "2")
		// 3. a commits D0 on {a1,c1}, a majority of {a1,b1,c1}.
		c.connect("a", "c")
		c.write("a", "D0", "c")
		c.must(c.judge.fired("S1") != on, "3: %v", c.judge.faults)
		if on {
			c.must(c.recovers(), "no recovery")
			c.spotless()
		}
	}
}
