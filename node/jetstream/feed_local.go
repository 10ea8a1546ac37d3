package jetstream

import (
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// advanceFeed proposes the next messages of an origin that is a stream here.
func (d *Door) advanceFeed(f *feed, now int64) {
	origin := d.machine.Stream(f.source.Name)
	if origin == nil {
		f.err = server.NewJSStreamNotFoundError()
		return
	}
	if !d.mayPropose(f, now) {
		return
	}
	if f.broken {
		if f.flying > 0 {
			return // what flies is refused as well, or has become the state
		}
		d.beginLocal(f, origin)
	}
	f.err, f.heard = nil, now
	for steps := feedSteps; steps > 0 && d.mayPropose(f, now); {
		stored, found, next := origin.Seek(f.next, f.filters, steps)
		steps -= int(min(next-f.next, feedSteps))
		f.next = next
		if !found {
			break
		}
		m, ok := d.read(stored.Location)
		if !ok {
			f.broken, f.retryAt = true, now+feedPause
			return
		}
		from := machine.Origin{Seq: stored.Seq, Stamp: stored.Stamp, Pending: origin.State().LastSeq - stored.Seq}
		if !d.proposeFrom(f, &from, string(m.Subject), m.Header, m.Payload) {
			return
		}
	}
	if f.next <= origin.State().LastSeq && d.mayPropose(f, now) {
		d.scheduleFeed(f) // there is more; others first
	}
}

// beginLocal finds where to go on, from what the stream has taken over.
func (d *Door) beginLocal(f *feed, origin *machine.Stream) {
	f.broken = false
	state := f.stream.State()
	if f.name == "" {
		f.previous = state.LastSeq
		f.next = state.LastSeq + 1
		if state.LastSeq == 0 && state.Msgs == 0 {
			f.next = f.firstWanted(origin, f.next)
		}
		f.next = max(f.next, origin.State().FirstSeq)
		if f.next-1 > f.previous {
			d.room(commandOverhead)
			d.batches.builder.SkipTo(f.stream.Incarnation(), f.next-1)
			d.batches.wait(waiter{})
			f.previous = f.next - 1
		}
		return
	}
	f.identity = machine.StreamIdentity(origin.Created())
	taken, identity := f.stream.Taken(f.name)
	if f.again = identity != "" && identity != f.identity; f.again {
		d.logger.Warn("the origin was created again: it is sourced from its beginning", "stream", f.stream.Name(), "source", f.source.Name)
		taken = 0
	}
	f.previous, f.next = taken, taken+1
	if taken > 0 {
		return
	}
	if f.source.OptStartSeq > 0 {
		f.next = f.source.OptStartSeq
	} else if at := startTime(f.source, &state, f.again); at != nil {
		f.next = max(origin.SequenceAt(at.UnixNano()), 1)
	}
}

// startTime is the time at which a source of which nothing was taken begins; nil
// for its first message. A stream that had messages before is not given what is
// older than they were.
func startTime(source *server.StreamSource, state *server.StreamState, again bool) *time.Time {
	switch at := source.OptStartTime; {
	case at != nil && !state.LastTime.IsZero() && at.Before(state.LastTime):
		return &state.LastTime
	case at != nil:
		return at
	case state.FirstSeq > 1 && !state.LastTime.IsZero() && !again:
		return &state.LastTime
	}
	return nil
}

// firstWanted is where the configuration says to begin.
func (f *feed) firstWanted(origin *machine.Stream, otherwise uint64) uint64 {
	switch {
	case f.source.OptStartSeq > 0:
		return f.source.OptStartSeq
	case f.source.OptStartTime != nil:
		return max(origin.SequenceAt(f.source.OptStartTime.UnixNano()), 1)
	}
	return otherwise
}

// behind counts the messages that are still to be taken.
func (f *feed) behind(origin *machine.Stream) uint64 {
	from := f.next
	if f.broken {
		from = f.stream.State().LastSeq + 1
		if f.name != "" {
			taken, _ := f.stream.Taken(f.name)
			from = taken + 1
		}
	}
	if len(f.filters) == 0 {
		return origin.Pending(from, "")
	}
	pending := uint64(0)
	for _, filter := range f.filters {
		pending += origin.Pending(from, filter)
	}
	return pending
}
