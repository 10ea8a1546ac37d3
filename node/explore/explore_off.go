//go:build !explore

package explore

import (
	"fmt"

	"holdfast/node/replica"
)

// switchOff is possible only in builds with the tag "explore".
func switchOff(_ *replica.Replica, rule string) error {
	return fmt.Errorf("switch off %q: built without the tag \"explore\"", rule)
}
