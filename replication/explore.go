//go:build explore

package replication

import "fmt"

// SwitchOff turns one rule off. It exists only in builds with the tag "explore",
// for checks outside this package that have to show that the rule is needed; a
// production build has no way to reach the switches.
func (c *Core) SwitchOff(rule string) error {
	switch rule {
	case "single-change":
		c.off.singleChange = true
	case "release-by-members":
		c.off.releaseByMembers = true
	default:
		return fmt.Errorf("switch off %q: no such rule", rule)
	}
	return nil
}

// Thaw undoes Freeze, which nothing may (rule P3).
func (c *Core) Thaw() {
	c.frozen = false
	c.restTimer()
}
