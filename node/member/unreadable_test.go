package member

import (
	"errors"
	"fmt"
	"testing"

	"holdfast/protocol"
)

// A store that a newer release went on with is left alone: setting it aside would
// copy everything anew, to meet the same again.
func TestNewerFormatStopsTheMember(t *testing.T) {
	l := &life{}
	l.storeFailed(fmt.Errorf("apply entry 7: %w", protocol.ErrNewerFormat))
	if l.ended != stop || !errors.Is(l.cause, ErrUnreadable) || !errors.Is(l.cause, protocol.ErrNewerFormat) {
		t.Errorf("ended by %v: %v", l.ended, l.cause)
	}
	l = &life{}
	if l.storeFailed(protocol.ErrMalformed); l.ended != setAside {
		t.Errorf("a damaged one ended by %v", l.ended)
	}
}
