package servers

import (
	"errors"
	"testing"
	"time"
)

// TestAwaitTriesAgainAfterItWasHeldUp: a probe during which the limit passes, as it does
// when this process is stopped meanwhile, is not the last one.
func TestAwaitTriesAgainAfterItWasHeldUp(t *testing.T) {
	const limit = 20 * time.Millisecond
	probes := 0
	err := Await(t.Context(), limit, 0, func() error {
		if probes++; probes > 1 {
			return nil
		}
		time.Sleep(2 * limit)
		return errors.New("it took too long")
	})
	if err != nil || probes != 2 {
		t.Errorf("%d probes, %v", probes, err)
	}
	never := errors.New("never")
	if err := Await(t.Context(), limit, 0, func() error { return never }); !errors.Is(err, never) {
		t.Errorf("got %v", err)
	}
}
