//go:build explore

package mesh

import "fmt"

// SwitchOff turns one clause of the rules off. It exists only in builds with the
// tag "explore", for checks outside this package that have to show that the
// clause is needed; a production build has no way to reach the switches.
func (c *Core) SwitchOff(clause string) error {
	fields := map[string]*bool{
		"confirm": &c.off.confirm, "confirm-steps-down": &c.off.confirmStepsDown, "leader-refuses": &c.off.leaderRefuses, "own-picture": &c.off.ownPicture,
		"promise-drops-stage": &c.off.promiseDropsStage,
		"rank-by-founding":    &c.off.rankByFounding, "bump": &c.off.bump, "one-live": &c.off.oneLive, "own-promise": &c.off.ownPromise,
		"counter": &c.off.counter, "remove-then-add": &c.off.removeThenAdd, "nonce": &c.off.nonce, "holder-stays": &c.off.holderStays,
		"above-epoch": &c.off.aboveEpoch, "leave-rule": &c.off.leaveRule, "leave-test": &c.off.leaveTest,
		"exact-attempt": &c.off.exactAttempt, "fresh-store": &c.off.freshStore, "every-member": &c.off.everyMember,
		"remember": &c.off.remember, "serve-lagging": &c.off.serveLagging,
	}
	switch field := fields[clause]; {
	case field != nil:
		*field = true
	case clause == "exact-electability/listed":
		c.off.exact = countListed
	case clause == "exact-electability/above":
		c.off.exact = countAbove
	default:
		return fmt.Errorf("switch off %q: no such clause", clause)
	}
	return nil
}
