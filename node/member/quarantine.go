package member

import (
	"fmt"
	"time"

	"holdfast/wal"
)

// quarantine is what is known of the stores that were set aside. Nothing removes
// them but a person, and no number of them keeps a node from healing; so what is
// bounded is only how much is kept without a word.
type quarantine struct {
	stores []wal.Quarantined // oldest first
	bytes  int64
	said   uint64 // tick at which the log was told last that it is too much
}

// grumbleTicks is the pause between two lines about a quarantine that is too full.
const grumbleTicks = uint64(10 * time.Minute / TickInterval)

// look reads the folder again.
func (q *quarantine) look(m *Member) {
	stores, err := m.options.Dir.Quarantined()
	if err != nil {
		m.options.Logger.Warn("cannot list the stores that were set aside", "cause", err)
		return
	}
	q.stores, q.bytes, q.said = stores, 0, 0
	for i := range stores {
		q.bytes += stores[i].Bytes
	}
}

// excess says that more is set aside than the configuration wants, which is the
// oldest, and how to remove it; "" when it is not too much.
func (q *quarantine) excess(o *Options) string {
	if len(q.stores) == 0 || len(q.stores) <= o.QuarantineStores && q.bytes <= o.QuarantineBytes {
		return ""
	}
	oldest := &q.stores[0]
	return fmt.Sprintf("%d stores with %d bytes are set aside, more than the %d or the %d bytes of the configuration; the oldest is %s (%d bytes, %s, lineage %s: %s); when nothing in it is wanted any more, run `holdfast discard %s` on %s",
		len(q.stores), q.bytes, o.QuarantineStores, o.QuarantineBytes, oldest.Path, oldest.Bytes,
		oldest.Time.Format(time.DateOnly), oldest.Lineage, oldest.Reason, oldest.Name(), o.Name)
}

// grumble says so in the log, now and then.
func (m *Member) grumble() {
	q := &m.quarantine
	if q.said != 0 && m.ticks < q.said+grumbleTicks {
		return
	}
	if text := q.excess(&m.options); text != "" {
		q.said = m.ticks
		m.options.Logger.Warn(text)
	}
}

// Quarantine lists the stores that are set aside in the folder, oldest first, as
// they were when the store in use was opened.
func (m *Member) Quarantine() []wal.Quarantined { return m.quarantine.stores }

// QuarantineExcess says that too much is set aside, and what to do; "" otherwise.
func (m *Member) QuarantineExcess() string { return m.quarantine.excess(&m.options) }
