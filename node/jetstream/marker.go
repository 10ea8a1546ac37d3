package jetstream

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

const (
	// endsAtOnce bounds how many messages of a stream are ended in one round.
	endsAtOnce = 512
	// endAgain is when a round whose outcome nobody told is tried again.
	endAgain = int64(time.Second)
)

// leavesMarkers reports whether messages of a stream are ended from here, with
// delete markers (ADR-43); the machine ends those of other streams.
func leavesMarkers(s *machine.Stream) bool { return s.Config().SubjectDeleteMarkerTTL > 0 }

// tickMarkers ends the messages whose time is over in streams that leave markers.
func (d *Door) tickMarkers(now int64) {
	stamp := d.nextStamp(now)
	var due []machine.Incarnation
	for inc, st := range d.marking {
		if s := d.machine.StreamOf(inc); s != nil && now >= st.endAt {
			if next := s.NextEnd(); next != 0 && next <= stamp {
				due = append(due, inc)
			}
		}
	}
	slices.Sort(due)
	for _, inc := range due {
		st := d.marking[inc]
		st.endAt = now + endAgain
		d.endMessages(d.machine.StreamOf(inc), st, stamp)
	}
}

// endMessages proposes a marker in the place of each message that is the last of
// its subject, and the end of the others. A marker leaves none itself.
func (d *Door) endMessages(s *machine.Stream, st *stream, stamp int64) {
	type last struct {
		subject []byte
		seq     uint64
	}
	var over []uint64
	var lasts []last
	told := make(map[string]int) // of the messages told, by subject
	s.Ended(stamp, func(e machine.Ended) bool {
		m, ok := d.read(e.Location)
		if !ok {
			return true
		}
		told[string(m.Subject)]++
		if e.Left >= told[string(m.Subject)]+1 || isMarker(m.Header) {
			over = append(over, e.Seq)
		} else {
			lasts = append(lasts, last{bytes.Clone(m.Subject), e.Seq})
		}
		return len(over)+len(lasts) < endsAtOnce
	})
	done := func(*Door, *machine.Result) any {
		st.endAt = 0
		return nil
	}
	header := markerHeader(s.Config().SubjectDeleteMarkerTTL)
	for _, one := range lasts {
		d.room(len(header) + len(one.subject) + 2*commandOverhead)
		d.batches.say(said{kind: machine.PrefaceMarker, a: one.seq})
		d.batches.builder.Publish(s.Incarnation(), one.subject, header, nil)
		d.batches.waitForCall(waitCall, call{complete: done})
		d.touch(s)
	}
	if len(over) > 0 {
		d.room(10*len(over) + commandOverhead)
		d.batches.builder.End(s.Incarnation(), over)
		d.batches.waitForCall(waitCall, call{complete: done})
	}
}

// isMarker reports whether a message tells itself that its subject is gone.
func isMarker(header []byte) bool {
	return len(headerValue(header, server.JSMarkerReason)) > 0 || string(headerValue(header, "KV-Operation")) == "PURGE"
}

func markerHeader(ttl time.Duration) []byte {
	return fmt.Appendf(nil, "%s%s: %s\r\n%s: %s\r\n%s: %s\r\n\r\n", headerLine,
		server.JSMarkerReason, server.JSMarkerReasonMaxAge,
		server.JSMessageTTL, ttl.Truncate(time.Second),
		server.JSMsgRollup, server.JSMsgRollupSubject)
}

// withLeastTTL raises the time to live in a header to that of the stream's
// markers: a message must not end before the marker that it replaces would.
func (d *Door) withLeastTTL(s *machine.Stream, header []byte) []byte {
	least := int64(s.Config().SubjectDeleteMarkerTTL / time.Second)
	value := headerValue(header, server.JSMessageTTL)
	if len(value) == 0 || s.Config().MaxMsgsPer == 1 {
		return header
	}
	if ttl := machine.TTLSeconds(value); ttl <= 0 || ttl >= least {
		return header
	}
	header = withoutHeader(bytes.Clone(header), server.JSMessageTTL)
	return withLine(header, server.JSMessageTTL, strconv.FormatInt(least, 10))
}
