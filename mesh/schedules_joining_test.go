package mesh

import "testing"

func TestCE1OneStepReplacement(t *testing.T) {
	schedule(t, switches{removeThenAdd: true}, weaknesses{}, "S2", func(c *cluster, on bool) {
		// 1. {b1,c1} elect b, term 2 (no-op i3). a has not heard and leads term 1.
		c.must(c.elect("b", "c"), "1")
		// 2. b: D0 → {b1,c1} (i4).
		c.write("b", "D0", "b", "c")
		c.must(c.acked("D0"), "2")
		// 3. b is wiped (b2) and rejoins from a as b3, log to i2.
		c.wipe("b")
		c.rejoin("b", "a")
		// 4. a replaces b1: with the clause on it removes first, and c refuses.
		c.only("a", "b", "c")
		c.tick(testRetryTicks)
		c.must(c.serve("a"), "4: a wants no change")
		if on {
			c.must(!c.nodes["a"].store.config().Contains(c.nodes["b"].voter()), "4: added before removed")
			c.must(!c.replicate("a", "c"), "4: c accepts term 1")
			c.must(!c.elect("b", "a"), "5: b3 is elected")
			c.must(c.recovers(), "no recovery")
			return
		}
		c.must(c.replicate("a", "b"), "4")
		// 5. {a1,b3} elect b.
		c.must(c.elect("b", "a"), "5")
	})
}

func TestCE2PromiseOnAStaleView(t *testing.T) {
	schedule(t, switches{confirm: true}, weaknesses{}, "S3", func(c *cluster, on bool) {
		// 1. b is wiped (b2) and rejoins from a as b3 (i2).
		c.wipe("b")
		stale := c.nodes["b"].store.status("b")
		c.rejoin("b", "a")
		// 2. a removes b1: {a1,c1} (i3), committed on both.
		c.only("a", "b", "c")
		c.tick(testRetryTicks)
		c.must(c.serve("a") && c.replicate("a", "c") && !c.changePending(c.nodes["a"]), "2")
		// 3. c is wiped (c2).
		c.wipe("c")
		// 4. a adds b3: {a1,b3,c1} (i4), on a1 only. {a1,b3} is electable.
		a := c.nodes["a"]
		c.must(c.appendConfig("a", a.store.config().With(c.nodes["b"].voter())), "4")
		c.must(len(c.judge.winners()) == 1, "4: not electable")
		// 5. a starts n=2 from an old view: a hello of b2 was late.
		c.restart("a")
		c.connect("a", "c")
		c.linked[pair("a", "b")] = true
		a.core.Connected("b", stale)
		c.starts("a")
		c.must(c.attempting("a") || !on, "5: a does not try")
		c.quiet()
		if on {
			c.must(!c.attempting("a") && a.store.promise.Epoch == 0, "5: a promised")
			c.must(c.recovers(), "no recovery")
		}
	})
}

func TestCE3ConfirmingLeaderGoesOnLeading(t *testing.T) {
	schedule(t, switches{confirmStepsDown: true}, weaknesses{}, "S3", func(c *cluster, on bool) {
		// 1. a is wiped. {b1,c1} elect b, term 2, and commit its no-op (i3). a
		//    rejoins from b as a3.
		c.wipe("a")
		c.must(c.elect("b", "c") && c.replicate("b", "c"), "1")
		c.rejoin("a", "b")
		// 2. b removes a1: {b1,c1} (i4), committed on both.
		c.only("a", "b", "c")
		c.tick(testRetryTicks)
		c.must(c.serve("b") && c.replicate("b", "c") && !c.changePending(c.nodes["b"]), "2")
		// 3. a is wiped (a4), c is wiped (c2). a rejoins from b as a5 (i4), level
		//    with b1 and first by name. Nobody is electable.
		c.wipe("a")
		c.wipe("c")
		c.rejoin("a", "b")
		c.losesContact("b")
		c.must(len(c.judge.winners()) == 0, "3: electable")
		// 4. a starts n=2. b confirms.
		c.withhold("c", TypeConfirm)
		c.only("a", "b", "c")
		c.starts("a")
		c.quiet()
		c.must(c.attempting("a"), "4: a does not try")
		// 5. b adds a5: {a5,b1,c1} (i5), on b1 only. a does not hear of it.
		c.withhold("a", TypeStatus)
		b := c.nodes["b"]
		added := c.appendConfig("b", b.store.config().With(c.nodes["a"].voter()))
		c.must(added != on, "5: b leads: %v", added)
		// 6. c2 confirms. a promises 2.
		c.hold = nil
		c.withhold("a", TypeStatus)
		c.quiet()
		c.release()
		c.must(len(c.judge.founds) > 1 || !on, "6: a does not found")
		if on {
			c.must(c.recovers(), "no recovery")
		}
	})
}

func TestCE4StagedCopyActivatedAfterAGrant(t *testing.T) {
	schedule(t, switches{promiseDropsStage: true}, weaknesses{}, "S2", func(c *cluster, on bool) {
		// 1. D0 → {a1,b1} (i3).
		c.write("a", "D0", "a", "b")
		// 2. b is wiped (b2) and stages a's prefix; it does not switch yet.
		c.wipe("b")
		b := c.nodes["b"]
		b.held = true
		c.only("a", "b")
		c.copyWhole("b")
		c.must(b.stage != nil && b.stage.whole, "2")
		// 3. a is wiped (a2); b does not notice. Only c1 (i2) holds a log.
		delete(c.linked, pair("a", "b"))
		c.wipe("a")
		c.nodes["c"].following = ""
		c.changed(c.nodes["c"])
		// 4. c starts n=2. a2, b2 confirm; c promises 2; a2, b2 grant.
		c.withhold("c", TypeGranted)
		c.link("a", "b", "c")
		c.quiet()
		c.starts("c")
		c.quiet()
		c.must(b.store.promise.Epoch == 2 && c.nodes["a"].store.promise.Epoch == 2, "4")
		// 5. b switches, if it still can: b3 holds D0.
		b.held = false
		c.must(c.copyWhole("b") != on, "5")
		// 6. c founds L2@2 as c2 from i2.
		c.release()
		c.must(len(c.judge.founds) == 2, "6")
	})
}

func TestCE5UncommittedBumpOutranksData(t *testing.T) {
	schedule(t, switches{rankByFounding: true}, weaknesses{}, "S2", func(c *cluster, on bool) {
		// 1. {b1,c1} elect b, term 2; D0 → {b1,c1} (i4). a still leads term 1.
		c.must(c.elect("b", "c"), "1")
		c.write("b", "D0", "b", "c")
		c.must(c.acked("D0"), "1")
		// 2. b is wiped (b2).
		c.wipe("b")
		// 3. Operator at c without a, b. c1 promises 2, then stops.
		c.cut("c")
		c.nodes["c"].stops = true
		c.must(c.order("c", "a", "b") == nil && c.nodes["c"].store.promise.Epoch == 2, "3")
		c.start("c")
		// 4. a hears of promise 2 and appends BUMP 3 (i3, term 1), on a1 only.
		c.only("a", "c")
		c.tick(1)
		c.must(c.serve("a") && c.nodes["a"].store.epoch() == 3, "4")
		// 5. c1 is frozen, nobody is electable. The best survivor founds.
		c.losesContact("a")
		c.only("a", "b", "c")
		c.starts("a")
		c.quiet()
		c.starts("c")
		c.quiet()
		c.must(len(c.judge.founds) == 2, "5: nobody founds")
		c.must((c.nodes["c"].store.lineage == c.judge.founds[1].lineage) == on, "5: who founds")
		if on {
			c.must(c.recovers(), "no recovery")
		}
	})
}

func TestCE6LateGrantOnANonVoter(t *testing.T) {
	schedule(t, switches{bump: true}, weaknesses{}, "L1", func(c *cluster, on bool) {
		// 1. a, b are wiped. c starts n=2; both confirm; c promises 2; its grant
		//    requests are delayed.
		c.lateGrants()
		// 2. c is wiped (c2). The attempt is dead. The request to a is lost.
		c.wipe("c")
		c.drop("a", TypeGrant)
		c.restart("a")
		// 3. Operator at a without b (cut off). All seen are blank: n=1. c2
		//    confirms, a promises 1, c2 grants, a founds L2@1 as a3.
		c.only("a", "c")
		c.must(c.order("a", "b") == nil, "3")
		c.quiet()
		c.must(c.nodes["a"].store.lineage.Epoch == 1 && len(c.judge.founds) == 2, "3")
		// 4. The delayed request reaches b2: b2 promises 2.
		c.release()
		c.must(c.nodes["b"].store.promise.Epoch == 2, "4")
		c.recovers()
	})
}

// lateGrants is CE6, step 1: two blank members confirmed c's attempt n=2, and
// the requests for their grants are on their way.
func (c *cluster) lateGrants() {
	c.t.Helper()
	c.wipe("a")
	c.wipe("b")
	c.withhold("a", TypeGrant)
	c.withhold("b", TypeGrant)
	c.only("a", "b", "c")
	c.nodes["c"].following = ""
	c.changed(c.nodes["c"])
	c.quiet()
	c.starts("c")
	c.quiet()
	c.must(c.nodes["c"].store.promise.Epoch == 2, "c does not promise")
}

// drop loses the packets of a type to a member.
func (c *cluster) drop(to string, types ...Type) {
	kept := c.net[:0]
	for _, p := range c.net {
		lost := false
		for _, t := range types {
			lost = lost || p.to == to && p.m.Type == t
		}
		if !lost {
			kept = append(kept, p)
		}
	}
	c.net = kept
}

func ce7(c *cluster) {
	// 1. As CE6, steps 1 and 2, the delayed request being the one to a.
	c.lateGrants()
	c.wipe("c")
	c.drop("b", TypeGrant)
	c.restart("a")
	c.restart("b")
	// 2. a starts n=1; b2, c2 confirm; a promises 1; both grant.
	late := c.net
	c.net = nil
	c.hold = nil
	c.withhold("a", TypeGranted)
	c.only("a", "b", "c")
	c.tick(1)
	c.must(c.attempting("a") && c.nodes["a"].store.promise.Epoch == 1 && c.nodes["c"].store.promise.Epoch == 1, "2")
	// 3. The delayed request reaches a2.
	for _, p := range late {
		if p.to == "a" && p.m.Type == TypeGrant {
			c.nodes["a"].core.Step(p.from, p.m)
			c.settle(c.nodes["a"])
		}
	}
	// 4. a founds L2@1 as a3, if it still may.
	c.release()
}

func TestCE7FounderPromisedAgainBeforeFounding(t *testing.T) {
	off := switches{ownPromise: true, exact: countListed, counter: true}
	schedule(t, off, weaknesses{}, "L1", func(c *cluster, on bool) {
		ce7(c)
		if !on {
			c.must(c.judge.fired("own promise"), "4: no founding that the own promise does not name")
		}
		c.recovers()
	})
	t.Run("own promise alone", func(t *testing.T) {
		// The status counter off: the late request is granted, and only the
		// founder's look at its own promise stops it. It tries again, higher.
		c := formed(t, switches{counter: true}, weaknesses{}, "a", "b", "c")
		ce7(c)
		c.must(c.nodes["a"].store.promise.Epoch == 2 && c.nodes["a"].store.lineage.Blank(), "a founds")
		c.must(c.recovers(), "no recovery")
		c.spotless()
	})
}

func TestCE8RestagingGoesBackwards(t *testing.T) {
	schedule(t, switches{holderStays: true}, weaknesses{}, "S2", func(c *cluster, on bool) {
		// 1. {b1,c1} elect b, term 2; a still leads term 1. D0 → {b1,c1} (i4).
		c.must(c.elect("b", "c"), "1")
		c.write("b", "D0", "b", "c")
		// 2. c is wiped (c2) and rejoins from b as c3, D0 included; b has not
		//    added it yet.
		c.wipe("c")
		c.rejoin("c", "b")
		c3 := c.nodes["c"].store
		c.must(c3.holds("D0"), "2")
		// 3. c3 restages from a (i2), if it may.
		c.only("a", "c")
		for range 4 * testRetryTicks {
			c.tick(1)
			c.copyWhole("c")
		}
		c.must((c.nodes["c"].store == c3) == on, "3")
		if on {
			c.must(c.recovers(), "no recovery")
		}
	})
}

func TestCE9CountingInsteadOfElectability(t *testing.T) {
	schedule(t, switches{exact: countAbove}, weaknesses{}, "L1", func(c *cluster, on bool) {
		// 1. b is wiped (b2).
		c.wipe("b")
		// 2. Operator at c without a, b. c1 promises 2, then stops.
		c.cut("c")
		c.nodes["c"].stops = true
		c.must(c.order("c", "a", "b") == nil && c.nodes["c"].store.promise.Epoch == 2, "2")
		c.start("c")
		// 3. a hears of promise 2 and appends BUMP 3, on a1 only.
		c.only("a", "c")
		c.tick(1)
		c.must(c.serve("a") && c.nodes["a"].store.epoch() == 3, "3")
		c.recovers()
	})
}
