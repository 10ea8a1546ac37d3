package node

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notifier tells systemd how the node is; without systemd it does nothing.
type notifier struct {
	logger   *slog.Logger
	interval time.Duration // between signs of life; zero: no watchdog
	last     time.Time
	ready    bool
	asked    time.Time // when more time to start was last asked for
}

// waitingInterval is the pause between two requests for more time to start.
const waitingInterval = 10 * time.Second

func newNotifier(logger *slog.Logger) *notifier {
	n := &notifier{logger: logger}
	if limit, err := daemon.SdWatchdogEnabled(false); err != nil {
		logger.Warn("the watchdog is misconfigured", "cause", err)
	} else {
		n.interval = limit / 3
	}
	return n
}

func (n *notifier) send(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.logger.Warn("cannot notify systemd", "cause", err)
	}
}

// serving says once that the node is ready.
func (n *notifier) serving() {
	if !n.ready {
		n.ready = true
		n.send(daemon.SdNotifyReady)
	}
}

// alive is called by the loop that does the work; it feeds the watchdog.
func (n *notifier) alive() {
	if now := time.Now(); n.interval > 0 && now.Sub(n.last) >= n.interval {
		n.last = now
		n.send(daemon.SdNotifyWatchdog)
	}
}

// waiting asks for more time to start, now and then, and says what for: waiting
// for other members is no reason to be restarted.
func (n *notifier) waiting(reason string) {
	if now := time.Now(); !n.ready && now.Sub(n.asked) >= waitingInterval {
		n.asked = now
		n.send(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d\nSTATUS=waiting: %s", (2 * time.Minute).Microseconds(), reason))
	}
}

// restoring asks for more time to start and says how far a copy is.
func (n *notifier) restoring(percent uint64) {
	n.send(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d\nSTATUS=receiving a copy of the store, %d %%", (2 * time.Minute).Microseconds(), percent))
}

func (n *notifier) stopping() { n.send(daemon.SdNotifyStopping) }
