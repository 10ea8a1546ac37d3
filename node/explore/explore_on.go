//go:build explore

package explore

import "holdfast/node/replica"

// switchOff turns one clause of the rules off.
func switchOff(r *replica.Replica, rule string) error { return r.SwitchOff(rule) }
