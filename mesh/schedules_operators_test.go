package mesh

import (
	"testing"

	"holdfast/protocol"
)

func TestO1SoleVoterAcknowledges(t *testing.T) {
	schedule(t, switches{}, weaknesses{acknowledgeWithoutMembers: true}, "S1", func(c *cluster, on bool) {
		// 1. a appends D0 (i3) on a1 only; the client waits.
		c.write("a", "D0")
		// 2. {b1,c1} elect b, term 2.
		c.must(c.elect("b", "c") && c.replicate("b", "c"), "2")
		// 3. Operator at a without b, c (both alive). a promises 2 and founds
		//    L2@2 as a2, sole voter, with D0 in its log.
		c.only("b", "c")
		c.must(c.order("a", "b", "c") == nil && c.elect("a"), "3")
		c.must(c.nodes["a"].store.holds("D0") && c.acked("D0") != on, "3: acknowledged: %v", c.acked("D0"))
		// 4. b: D1 → {b1,c1} in L1.
		c.write("b", "D1", "b", "c")
		c.must(c.acked("D1"), "4")
		if on {
			c.must(c.recovers(), "no recovery")
		}
	})
}

func TestO2HigherEpochTakenForBetter(t *testing.T) {
	schedule(t, switches{leaveRule: true}, weaknesses{}, "S2", func(c *cluster, on bool) {
		// 1. D0 → {a1,b1} (i3).
		c.write("a", "D0", "b")
		// 2. Operator at c without a, b (both alive). c founds L2@2 as c2 from i2.
		c.only("a", "b")
		c.must(c.order("c", "a", "b") == nil && c.elect("c"), "2")
		// 3. a1 sees epoch 2. It may not go over to it.
		a1 := c.nodes["a"].store
		c.only("a", "c")
		for range 4 * testRetryTicks {
			c.tick(1)
			c.copyWhole("a")
		}
		c.must((c.nodes["a"].store == a1) == on, "3")
		if on {
			c.must(c.alarmed("a", "rival/") && c.alarmed("c", "rival/"), "3: no alarm")
			c.must(c.nodes["a"].bump == 0 && c.nodes["c"].bump == 0, "3: one of two live lineages bumps")
			c.must(c.recovers(), "no recovery")
		}
	})
}

func TestO3BumpLiftsThePromise(t *testing.T) {
	schedule(t, switches{}, weaknesses{bumpThaws: true}, "S2", func(c *cluster, on bool) {
		// 1. b is wiped. a appends D0 (i3) on a1 only. b rejoins from a as b3 (i2).
		c.wipe("b")
		c.write("a", "D0")
		c.rejoin("b", "a")
		// 2. Operator at b without a (alive, leading). b3, level with c1, is first
		//    by name: c confirms, b promises 2, c1 grants.
		c.withhold("b", TypeGranted)
		c.only("b", "c")
		c.must(c.order("b", "a") == nil, "2")
		c.quiet()
		c.must(c.nodes["c"].store.promise.Epoch == 2, "2")
		// 3. a hears of it and sends D0 and BUMP 3 (i4) to c1.
		c.only("a", "c")
		c.tick(1)
		c.must(c.serve("a") && c.nodes["a"].store.epoch() == 3, "3")
		c.must(c.replicate("a", "c") != on && c.acked("D0") != on, "3: c accepts")
		// 4. b founds L2@2 as b4 from i2.
		c.release()
		c.must(c.nodes["b"].store.lineage.Epoch == 2, "4")
		if on {
			c.must(c.recovers(), "no recovery")
		}
	})
}

func TestO4FounderKeepsItsStoreID(t *testing.T) {
	schedule(t, switches{freshStore: true}, weaknesses{bumpThaws: true}, "identity", func(c *cluster, on bool) {
		// 1. Operator at a without b, c (both alive). a founds L2@2.
		c.only("b", "c")
		c.must(c.order("a", "b", "c") == nil && c.nodes["a"].store.lineage.Epoch == 2, "1")
		// 2. {b1,c1} elect a leader of L1, which sees that a1 is missing.
		c.must(c.elect("b", "c") && c.replicate("b", "c"), "2")
		c.must(c.nodes["b"].store.config().Contains(c.nodes["a"].voter()) != on, "2: a counts in L1")
		if on {
			c.must(c.recovers(), "no recovery")
		}
	})
}

func TestO5FoundingAfterAWrongOverride(t *testing.T) {
	schedule(t, switches{leaveTest: true}, weaknesses{}, "S2", func(c *cluster, on bool) {
		// 1. D0 → {a1,b1} (i3). a is wiped (a2).
		c.write("a", "D0", "b")
		c.wipe("a")
		// 2. Operator at c without a, b (b1 is alive). c founds L2@2 as c2 from i2.
		c.only("a")
		c.must(c.order("c", "a", "b") == nil && c.elect("c"), "2")
		// 3. a stages L2 from c and switches: a3; c is wiped (c3). Nobody is
		//    electable.
		c.rejoin("a", "c")
		c.wipe("c")
		c.must(len(c.judge.winners()) == 0, "3")
		// 4. a starts n=3 by itself, first by founding epoch. b1 may not leave.
		c.only("a", "b", "c")
		c.starts("a")
		c.quiet()
		c.must((len(c.judge.founds) == 2) == on, "4")
		if on {
			c.must(c.alarmed("b", "leave/a") && c.alarmed("a", "refused/b"), "4: no alarm")
			c.must(c.nodes["b"].store.promise.Epoch == 0 && c.nodes["a"].store.promise.Epoch == 0, "4: a promise")
			// The operator gives up what only b1 holds.
			c.must(c.nodes["b"].core.Discard(c.nodes["b"].store.id) == nil, "discard")
			c.nodes["b"].gaveUp = true
			c.judge.acked = nil
			c.proceed = true
			c.nodes["a"].core.options.Continue = true
			c.must(c.settleDown() == "", "no recovery: %s", c.judge.formed())
		}
	})
}

func TestO6OwnGrantRecognisedByNumber(t *testing.T) {
	schedule(t, switches{exactAttempt: true, oneLive: true}, weaknesses{}, "S2", func(c *cluster, on bool) {
		// 0. a1 promised 1 to an attempt that came to nothing, before it joined L1.
		a1 := c.nodes["a"].store
		a1.promise = protocol.Attempt{Epoch: 1, ID: 0x99}
		a1.granted = append(a1.granted, a1.promise)
		c.changed(c.nodes["a"])
		c.serve("a")
		// 1. b is wiped (b2). D0 → {a1,c1} (i3).
		c.wipe("b")
		c.write("a", "D0", "c")
		// 2. Operator at b without a, c (both alive). b2 is blank and knows no
		//    epoch: n=1, L2@1 as b3.
		c.must(c.order("b", "a", "c") == nil && c.elect("b"), "2")
		c.must(c.nodes["b"].store.lineage.Epoch == 1, "2")
		// 3. b hears of L1 at epoch 1. 4. a1 takes its promise for a grant.
		c.only("a", "b")
		for range 4 * testRetryTicks {
			c.tick(1)
			c.serve("b")
			c.round("b")
			c.copyWhole("a")
		}
		c.must((c.nodes["a"].store == a1) == on, "4")
		if on {
			c.must(c.alarmed("a", "rival/"), "4: no alarm")
			c.must(c.recovers(), "no recovery")
		}
	})
}

func TestO6GrantInheritedByASwitch(t *testing.T) {
	schedule(t, switches{aboveEpoch: true, oneLive: true}, weaknesses{inheritBySwitch: true}, "S2", func(c *cluster, on bool) {
		// 1. b is wiped; D0 → {a1,c1}; c is wiped (c2).
		c.wipe("b")
		c.write("a", "D0", "c")
		c.wipe("c")
		// 2. Operator at b without a: c2 grants n=1.
		c.withhold("b", TypeGranted)
		c.only("b", "c")
		c.must(c.order("b", "a") == nil, "2")
		c.quiet()
		c.must(c.nodes["c"].store.promise.Epoch == 1, "2")
		// 3. c2 stages from a, but does not switch yet. The rule that its epoch is
		//    above the promise forbids that, too; it is off in the other run.
		c.nodes["c"].held = true
		c.only("a", "c")
		c.copyWhole("c")
		staged := c.nodes["c"].stage != nil && c.nodes["c"].stage.whole
		c.must(staged != on, "3")
		if on {
			return
		}
		// 4. b founds L2@1.
		c.release()
		c.must(c.nodes["b"].store.lineage.Epoch == 1 && c.elect("b"), "4")
		// 5. c switches (c3, with D0), then leaves for L2 on c2's grant.
		c.nodes["c"].held = false
		c.must(c.copyWhole("c") && c.nodes["c"].store.holds("D0"), "5")
		c.only("b", "c")
		for range 4 * testRetryTicks {
			c.tick(1)
			c.copyWhole("c")
		}
	})
}

func TestO6GrantInheritedByFounding(t *testing.T) {
	schedule(t, switches{}, weaknesses{inheritByFounding: true}, "S2", func(c *cluster, on bool) {
		// 1. a, b are wiped; c founds L2@2 as c2 with both grants.
		c.wipe("a")
		c.wipe("b")
		c.nodes["c"].following = ""
		c.only("a", "b", "c")
		c.starts("c")
		c.quiet()
		c.must(c.nodes["c"].store.lineage.Epoch == 2 && c.elect("c"), "1")
		c2 := c.nodes["c"].store
		// 2. a rejoins as a3, c adds it; b stages from c.
		c.rejoin("a", "c")
		c.tick(testRetryTicks)
		for range 3 {
			c.round("c")
			c.tick(testRetryTicks)
		}
		c.must(c2.config().Contains(c.nodes["a"].voter()), "2: %s", c2.config())
		b := c.nodes["b"]
		b.held = true
		c.only("b", "c")
		c.tick(2 * testRetryTicks)
		c.copyWhole("b")
		c.must(b.stage != nil && b.stage.whole, "2")
		// 3. D0 → {a3,c2}; b switches, without D0.
		c.connect("a", "c")
		c.write("c", "D0", "a")
		c.must(c.acked("D0"), "3")
		b.held = false
		c.must(c.copyWhole("b") && b.store.lineage == c2.lineage && !b.store.holds("D0"), "3")
		// 4. Operator at b without a, c founds L3@3.
		c.only("a", "c")
		c.must(c.order("b", "a", "c") == nil && c.elect("b"), "4")
		// 5. c2 leaves for L3 if it takes the FOUND of L2 for its own grant.
		c.only("b", "c")
		for range 4 * testRetryTicks {
			c.tick(1)
			c.copyWhole("c")
		}
		c.must((c.nodes["c"].store == c2) == on, "5")
		if on {
			c.must(c.alarmed("c", "rival/"), "5: no alarm")
			c.must(c.recovers(), "no recovery")
		}
	})
}
