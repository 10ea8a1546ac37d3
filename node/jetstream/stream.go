package jetstream

import (
	"fmt"
	"maps"
	"slices"

	"holdfast/node/machine"
)

// stream is what the door keeps of a stream while it leads.
type stream struct {
	subjects []string // that it is subscribed to
	// pubAck begins every PubAck: {"stream":"NAME","seq":
	pubAck []byte
	// waiting are the consumers to look at when messages arrive: those with
	// pull requests, and push consumers. consumer.place is the index here.
	waiting []*consumer
	touched bool   // is in Door.touched
	written uint64 // number of the last batch with something for it, see arrival.go

	transforms transforms
	endAt      int64 // its messages are not ended before, see marker.go
	fireAt     int64 // its schedules do not fire before, see schedule.go

	staged  map[string]*staged // atomic batches that are not committed, by ID
	ingests map[string]*ingest // fast-ingest batches that have not ended, by ID
}

// openStream begins to listen to a stream's subjects.
func (d *Door) openStream(s *machine.Stream) *stream {
	name := s.Name()
	st := &stream{}
	if d.options.Domain == "" {
		st.pubAck = fmt.Appendf(nil, "{%q:%q,%q:", "stream", name, "seq")
	} else {
		st.pubAck = fmt.Appendf(nil, "{%q:%q,%q:%q,%q:", "stream", name, "domain", d.options.Domain, "seq")
	}
	d.streams[s.Incarnation()] = st
	d.lastStream, d.last = nil, nil
	d.followMessages(st, s)
	d.listen(st, listenSubjects(s))
	return st
}

// followMessages takes over what a stream's configuration says about messages.
func (d *Door) followMessages(st *stream, s *machine.Stream) {
	st.transforms.follow(s.Config())
	if leavesMarkers(s) {
		d.marking[s.Incarnation()] = st
	} else {
		delete(d.marking, s.Incarnation())
	}
	if !s.Config().AllowAtomicPublish {
		d.unstageAll(st)
	}
	if !s.Config().AllowBatchPublish {
		d.closeIngests(st)
	}
	if s.Config().AllowMsgSchedules {
		d.scheduling[s.Incarnation()] = st
	}
}

func listenSubjects(s *machine.Stream) []string {
	config := s.Config()
	if config.Mirror != nil {
		return nil
	}
	return config.Subjects
}

// streamOf returns the door's part of a stream; the last one is remembered.
func (d *Door) streamOf(s *machine.Stream) *stream {
	if s != d.lastStream {
		d.lastStream, d.last = s, d.streams[s.Incarnation()]
	}
	return d.last
}

// listen changes what a stream is subscribed to.
func (d *Door) listen(st *stream, subjects []string) {
	for _, subject := range subjects {
		if slices.Contains(st.subjects, subject) {
			continue
		}
		if d.subjects[subject]++; d.subjects[subject] == 1 {
			d.bus.Subscribe(subject, queueGroup)
			d.reserved += reservedSubject(subject)
			d.relisten(subject)
		}
	}
	for _, subject := range st.subjects {
		if slices.Contains(subjects, subject) {
			continue
		}
		if d.subjects[subject]--; d.subjects[subject] == 0 {
			delete(d.subjects, subject)
			d.bus.Unsubscribe(subject, queueGroup)
			d.reserved -= reservedSubject(subject)
			d.relisten(subject)
		}
	}
	st.subjects = slices.Clone(subjects)
	d.matching++
}

// reservedSubject is 1 for a subject that messages to JetStream itself could
// match, such as > or $JS.EVENT.>.
func reservedSubject(subject string) int {
	if subject != "" && (subject[0] == '$' || subject[0] == '>' || subject[0] == '*') {
		return 1
	}
	return 0
}

// closeStream stops listening to a stream that is gone.
func (d *Door) closeStream(s *machine.Stream) {
	if st := d.streams[s.Incarnation()]; st != nil {
		d.listen(st, nil)
		d.unstageAll(st)
		d.closeIngests(st)
		delete(d.streams, s.Incarnation())
		delete(d.marking, s.Incarnation())
		delete(d.scheduling, s.Incarnation())
		d.lastStream, d.last = nil, nil
	}
}

// concerns reports whether an event is for the door: about its account, or about
// what is gone, which one door tells of.
func (d *Door) concerns(e *machine.Event) bool {
	return e.Stream != nil && e.Stream.Account() == d.machine || e.Stream == nil && d.queue.ticks(d)
}

// observe follows what an entry changed besides its results.
func (d *Door) observe(e *machine.Event) {
	now := d.node.Now()
	switch e.Kind {
	case machine.EventStored:
		if st := d.streams[e.Stream.Incarnation()]; st != nil {
			for _, c := range st.waiting {
				d.schedule(c)
			}
		}
		for _, f := range d.feeds.local[e.Stream.Name()] {
			d.scheduleFeed(f)
		}
	case machine.EventRepublish:
		d.republish(e)
	case machine.EventStreamCreated:
		d.openStream(e.Stream)
		d.followStream(e)
	case machine.EventStreamUpdated:
		if st := d.streams[e.Stream.Incarnation()]; st != nil {
			d.listen(st, listenSubjects(e.Stream))
			d.followMessages(st, e.Stream)
		}
		d.followStream(e)
	case machine.EventStreamDeleted:
		d.closeStream(e.Stream)
		d.followStream(e)
	case machine.EventConsumerCreated:
		d.openConsumer(e.Consumer, now)
	case machine.EventConsumerPaused:
		if c := d.consumers[e.Consumer.Incarnation()]; c != nil {
			d.updatePause(c, now)
			d.schedule(c)
		}
	case machine.EventConsumerUpdated:
		d.updateConsumer(e.Consumer, now)
	case machine.EventConsumerDeleted:
		d.closeConsumer(e.Consumer)
	case machine.EventStale:
		d.counts.Stale += uint64(e.Count)
		d.logger.Warn("stale reference dropped", "what", e.Text, "count", e.Count)
	}
	d.advise(e)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
