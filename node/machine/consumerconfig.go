package machine

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// createConsumer applies a create command with its action.
func (m *Machine) createConsumer(s *Stream, action server.ConsumerAction, encoded []byte, result *Result) {
	config := &server.ConsumerConfig{}
	if err := json.Unmarshal(encoded, config); err != nil {
		result.Err = server.NewJSInvalidJSONError(err)
		return
	}
	name := config.Durable
	if name == "" {
		name = config.Name
	}
	if name == "" || encodeJSON(config) == nil { // it could not be kept
		result.Err = server.NewJSConsumerBadDurableNameError()
		return
	}
	if c := s.byName[name]; c != nil {
		result.Consumer = c
		result.Err = c.update(config, action)
		return
	}
	if action == server.ActionUpdate {
		result.Err = server.NewJSConsumerDoesNotExistError()
		return
	}
	if result.Err = s.admitConsumer(name, config); result.Err != nil {
		return
	}
	c := &Consumer{
		stream: s, incarnation: newIncarnation(m.index, m.slot), name: name,
		created: m.now + int64(m.slot), nextSeq: 1,
	}
	c.setConfig(config)
	c.start()
	s.insertConsumer(c)
	c.changed.config = true
	c.touch()
	result.Consumer, result.Created = c, true
	if !s.intake { // told of when the intake ends
		m.event(Event{Kind: EventConsumerCreated, Stream: s, Consumer: c})
	}
}

// setConfig also derives the filters from the configuration.
func (c *Consumer) setConfig(config *server.ConsumerConfig) {
	c.config, c.encoded = config, encodeJSON(config)
	c.filters, c.matches = consumerFilters(config), nil
	c.peekCursor, c.peekSeq = 0, 0
	if len(c.filters) > 0 {
		c.matches = c.stream.matching(c.filters)
	}
}

func consumerFilters(config *server.ConsumerConfig) []string {
	filters := config.FilterSubjects
	if config.FilterSubject != "" {
		filters = []string{config.FilterSubject}
	}
	if slices.Contains(filters, anyTail) {
		return nil // everything, which needs no filter
	}
	return filters
}

// limitable reports whether a consumer counts against MaxConsumers and the
// rules of work queues.
func limitable(config *server.ConsumerConfig) bool { return !config.Direct && !config.Sourcing }

// admitConsumer decides whether a new consumer fits the stream.
func (s *Stream) admitConsumer(name string, config *server.ConsumerConfig) *server.ApiError {
	if !limitable(config) {
		return nil
	}
	others := 0
	for _, c := range s.consumers {
		if limitable(c.config) {
			others++
		}
	}
	if limit := s.maxConsumers(); limit > 0 && others >= limit {
		return server.NewJSMaximumConsumersLimitError()
	}
	if s.config.Retention != server.WorkQueuePolicy {
		return nil
	}
	if config.AckPolicy != server.AckExplicit && config.AckPolicy != server.AckFlowControl {
		return server.NewJSConsumerWQRequiresExplicitAckError()
	}
	if config.DeliverPolicy != server.DeliverAll {
		return server.NewJSConsumerWQConsumerNotDeliverAllError()
	}
	if others > 0 {
		if config.FilterSubject == "" && len(config.FilterSubjects) == 0 {
			return server.NewJSConsumerWQMultipleUnfilteredError()
		}
		return s.checkPartition(name, config)
	}
	return nil
}

// checkPartition refuses a consumer of a work queue whose messages another
// consumer gets as well.
func (s *Stream) checkPartition(name string, config *server.ConsumerConfig) *server.ApiError {
	filters := consumerFilters(config)
	for _, c := range s.consumers {
		if c.name == name || !limitable(c.config) {
			continue
		}
		overlap := len(c.filters) == 0 || len(filters) == 0
		for _, a := range filters {
			for _, b := range c.filters {
				overlap = overlap || server.SubjectsCollide(a, b)
			}
		}
		if overlap {
			return server.NewJSConsumerWQConsumerNotUniqueError()
		}
	}
	return nil
}

// update applies a create command to a consumer that exists.
func (c *Consumer) update(config *server.ConsumerConfig, action server.ConsumerAction) *server.ApiError {
	s := c.stream
	if action == server.ActionCreate {
		keepLevel(&config.Metadata, c.config.Metadata)
		if !bytes.Equal(encodeJSON(config), c.encoded) {
			return server.NewJSConsumerAlreadyExistsError()
		}
		return nil
	}
	if s.config.Retention == server.WorkQueuePolicy && limitable(config) {
		if err := s.checkPartition(c.name, config); err != nil {
			return err
		}
	}
	if err := checkConsumerUpdate(c.config, config); err != nil {
		return server.NewJSConsumerCreateError(err, server.Unless(err))
	}
	if bytes.Equal(encodeJSON(config), c.encoded) {
		return nil
	}
	old, oldFilters := c.config, c.filters
	c.setConfig(config)
	c.changed.config = true
	c.touch()
	c.retime(old)
	if !slices.Equal(oldFilters, c.filters) {
		c.countWaiting()
		s.setWatcher(c)
		if s.config.Retention == server.InterestPolicy {
			s.startReview(c.floorStream, true)
		}
	}
	s.machine.event(Event{Kind: EventConsumerUpdated, Stream: s, Consumer: c})
	return nil
}

// checkConsumerUpdate says which fields may not change (checkNewConsumerConfig
// of the NATS server).
func checkConsumerUpdate(old, config *server.ConsumerConfig) error {
	switch {
	case old.DeliverPolicy != config.DeliverPolicy:
		return errors.New("deliver policy can not be updated")
	case old.MemoryStorage != config.MemoryStorage:
		return errors.New("storage type can not be updated")
	case old.Direct != config.Direct:
		return errors.New("direct can not be updated")
	case old.Sourcing != config.Sourcing:
		return errors.New("sourcing can not be updated")
	case old.OptStartSeq != config.OptStartSeq:
		return errors.New("start sequence can not be updated")
	case !equalTime(old.OptStartTime, config.OptStartTime):
		return errors.New("start time can not be updated")
	case old.AckPolicy != config.AckPolicy:
		return errors.New("ack policy can not be updated")
	case old.ReplayPolicy != config.ReplayPolicy:
		return errors.New("replay policy can not be updated")
	case old.Heartbeat != config.Heartbeat:
		return errors.New("heart beats can not be updated")
	case old.FlowControl != config.FlowControl:
		return errors.New("flow control can not be updated")
	case old.DeliverSubject == "" && config.DeliverSubject != "":
		return errors.New("can not update pull consumer to push based")
	case old.DeliverSubject != "" && config.DeliverSubject == "":
		return errors.New("can not update push consumer to pull based")
	case old.MaxWaiting != config.MaxWaiting:
		return errors.New("max waiting can not be updated")
	}
	return nil
}

func equalTime(a, b *time.Time) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(*b)
}

// start sets where a new consumer begins (consumer.selectStartingSeqNo of the
// NATS server).
func (c *Consumer) start() {
	s, config := c.stream, c.config
	var at uint64
	switch config.DeliverPolicy {
	case server.DeliverAll:
		at = s.first
	case server.DeliverLast:
		at = s.last
		if len(c.filters) > 0 {
			at = c.lastMatching()
		}
	case server.DeliverLastPerSubject:
		at = c.startLastPerSubject()
	case server.DeliverByStartSequence:
		at = config.OptStartSeq
	case server.DeliverByStartTime:
		at = c.startByTime()
	default: // new
		at = s.last + 1
	}
	if config.DeliverPolicy != server.DeliverByStartSequence {
		at = min(at, s.last+1)
	}
	at = max(at, s.first, 1)
	c.cursor, c.lastGiven = at, at-1
	c.floorStream = at - 1
	if len(c.skips) > 0 {
		c.cursor = s.last + 1
	}
	c.countWaiting()
}

func (c *Consumer) lastMatching() uint64 {
	newest := uint64(0)
	for id := range c.matches.each() {
		newest = max(newest, c.stream.lastSeq(id))
	}
	return newest
}

// startLastPerSubject collects the last message of every subject. When a
// subject holds no more than one, that is the same as delivering all.
func (c *Consumer) startLastPerSubject() uint64 {
	s := c.stream
	if s.config.MaxMsgsPer == 1 {
		return s.first
	}
	ids := c.matches
	if len(c.filters) == 0 {
		ids = s.matching([]string{anyTail})
	}
	for id := range ids.each() {
		c.skips = append(c.skips, s.lastSeq(id))
	}
	slices.Sort(c.skips)
	if len(c.skips) == 0 {
		return s.last
	}
	return c.skips[0]
}

func (c *Consumer) startByTime() uint64 {
	s := c.stream
	if c.config.OptStartTime == nil {
		return s.last + 1
	}
	at, ok := s.index.sequenceAt(c.config.OptStartTime.UnixNano())
	if !ok {
		return s.last + 1
	}
	// With filters, start at the first match if one is ahead.
	nearest := s.last
	for _, f := range c.filters {
		if next, ok := s.Next(s.first, f); ok && next.Seq >= at && next.Seq < nearest {
			nearest = next.Seq
		}
	}
	if len(c.filters) > 0 && nearest > at && nearest < s.last {
		return nearest
	}
	return at
}

// countWaiting counts the messages still to be given out from scratch.
func (c *Consumer) countWaiting() {
	s := c.stream
	c.watches = len(c.filters) > 0 || c.cursor > s.last+1
	var ids idSet
	if len(c.filters) > 1 || len(c.filters) == 1 && !s.subjects.all(c.filters[0]) {
		ids = c.matches
	}
	c.setWaiting(uint64(len(c.skips)) + s.countFrom(c.cursor, ids))
}

// deleteConsumer applies a delete command.
func (m *Machine) deleteConsumer(c *Consumer) {
	s := c.stream
	m.unregisterConsumer(c)
	if s.config.Retention != server.InterestPolicy {
		return
	}
	if len(s.consumers) == 0 {
		s.clear(0)
	} else {
		s.startReview(max(c.floorStream, s.first), true)
	}
}

func (m *Machine) unregisterConsumer(c *Consumer) {
	s := c.stream
	s.consumers = slices.DeleteFunc(s.consumers, func(o *Consumer) bool { return o == c })
	c.watches = false
	s.setWatcher(c)
	delete(s.byName, c.name)
	delete(m.consumers, c.incarnation)
	if m.recentConsumer == c {
		m.recentConsumer = nil
	}
	c.deleted = true
	c.forgetSaved()
	s.touch()
	m.event(Event{Kind: EventConsumerDeleted, Stream: s, Consumer: c})
}
