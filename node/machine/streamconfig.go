package machine

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// createStream applies a create command.
func (a *Account) createStream(encoded []byte, result *Result) {
	config, err := decodeStreamConfig(encoded)
	if err != nil {
		result.Err = err
		return
	}
	if err := a.CheckOrigins(config, false); err != nil {
		result.Err = err
		return
	}
	if err := a.checkStreamBytes(config); err != nil {
		result.Err = err
		return
	}
	if old := a.streams[config.Name]; old != nil {
		result.Stream = old
		keepLevel(&config.Metadata, old.config.Metadata)
		if !bytes.Equal(encodeJSON(config), old.encoded) {
			result.Err = server.NewJSStreamNameExistError()
		}
		return
	}
	if config.Sealed {
		result.Err = server.NewJSStreamInvalidConfigError(errors.New("stream configuration for create can not be sealed"))
		return
	}
	if a.taken(config.Name) {
		result.Err = server.NewJSStreamNameExistError()
		return
	}
	if a.overlaps(config.Subjects, nil) {
		result.Err = server.NewJSStreamSubjectOverlapError()
		return
	}
	if result.Err = a.admitStream(config); result.Err != nil {
		return
	}
	s := a.newStream(config)
	if config.FirstSeq > 0 {
		s.first, s.last = config.FirstSeq, config.FirstSeq-1
	}
	a.register(s)
	result.Stream, result.Created = s, true
	a.machine.event(Event{Kind: EventStreamCreated, Stream: s})
}

// newStream makes a stream that nobody finds by its name yet.
func (a *Account) newStream(config *server.StreamConfig) *Stream {
	m := a.machine
	s := &Stream{
		machine:     m,
		account:     a,
		incarnation: newIncarnation(m.index, m.slot),
		created:     m.now + int64(m.slot),
		byName:      make(map[string]*Consumer),
		index:       index{size: m.blockSize},
	}
	s.setConfig(config)
	m.byID[s.incarnation] = s
	s.changed.config = true
	s.touch()
	return s
}

func (s *Stream) setConfig(config *server.StreamConfig) {
	if s.counted != nil {
		*s.counted -= s.bytes
	}
	s.config, s.encoded = config, encodeJSON(config)
	s.counted = s.account.usage.of(config)
	*s.counted += s.bytes
	s.listOrigins()
}

func decodeStreamConfig(encoded []byte) (*server.StreamConfig, *server.ApiError) {
	config := &server.StreamConfig{}
	if err := json.Unmarshal(encoded, config); err != nil {
		return nil, server.NewJSInvalidJSONError(err)
	}
	if config.Name == "" {
		return nil, server.NewJSStreamInvalidConfigError(errors.New("stream name is required"))
	}
	if encodeJSON(config) == nil { // it could not be kept
		return nil, server.NewJSStreamInvalidConfigError(errors.New("a policy of the stream is missing"))
	}
	return config, nil
}

// keepLevel carries the required API level over from an older configuration,
// so that a repeated request compares equal (copyStreamMetadata of the NATS
// server).
func keepLevel(metadata *map[string]string, old map[string]string) {
	level, ok := old[server.JSRequiredLevelMetadataKey]
	if _, has := (*metadata)[server.JSRequiredLevelMetadataKey]; !ok && !has {
		return
	}
	*metadata = maps.Clone(*metadata)
	if *metadata == nil {
		*metadata = make(map[string]string)
	}
	if ok {
		(*metadata)[server.JSRequiredLevelMetadataKey] = level
	} else {
		delete(*metadata, server.JSRequiredLevelMetadataKey)
	}
}

// updateStream applies an update command.
func (a *Account) updateStream(encoded []byte, result *Result) {
	config, err := decodeStreamConfig(encoded)
	if err != nil {
		result.Err = err
		return
	}
	s := a.streams[config.Name]
	if s == nil {
		result.Err = server.NewJSStreamNotFoundError()
		return
	}
	result.Stream = s
	if result.Err = a.CheckOrigins(config, false); result.Err != nil {
		return
	}
	if result.Err = a.checkStreamBytes(config); result.Err != nil {
		return
	}
	if result.Err = checkStreamUpdate(s.config, config); result.Err != nil {
		return
	}
	if config.Sealed {
		seal(config)
	}
	if result.Err = a.admitReservation(config, max(config.MaxBytes, 0)); result.Err != nil {
		return
	}
	if a.overlaps(config.Subjects, s) {
		result.Err = server.NewJSStreamSubjectOverlapError()
		return
	}
	if err := s.checkConsumerLimits(config); err != nil {
		result.Err = server.NewJSStreamUpdateError(err)
		return
	}
	old := s.config
	a.unregister(s)
	s.setConfig(config)
	a.register(s)
	s.changed.config = true
	s.touch()
	s.adopt(old)
	if !config.AllowBatchPublish {
		s.fast = nil
	}
	a.machine.event(Event{Kind: EventStreamUpdated, Stream: s})
}

// seal makes the adjustments that sealing implies.
func seal(config *server.StreamConfig) {
	config.MaxAge = 0
	config.Discard = server.DiscardNew
	config.DenyDelete, config.DenyPurge = true, true
	config.AllowRollup = false
}

// checkStreamUpdate says which fields may not change (configUpdateCheck of the
// NATS server).
func checkStreamUpdate(old, config *server.StreamConfig) *server.ApiError {
	refuse := func(reason string) *server.ApiError {
		return server.NewJSStreamInvalidConfigError(errors.New(reason))
	}
	switch {
	case config.Storage != old.Storage:
		return refuse("stream configuration update can not change storage type")
	case config.Retention != old.Retention && (config.Retention == server.WorkQueuePolicy || old.Retention == server.WorkQueuePolicy):
		return refuse("stream configuration update can not change retention policy to/from workqueue")
	case old.Sealed && !config.Sealed:
		return refuse("stream configuration update can not unseal a sealed stream")
	case old.DenyDelete && !config.DenyDelete:
		return refuse("stream configuration update can not cancel deny message deletes")
	case old.DenyPurge && !config.DenyPurge:
		return refuse("stream configuration update can not cancel deny purge")
	case config.Mirror != nil && !bytes.Equal(encodeJSON(config.Mirror), encodeJSON(old.Mirror)):
		return server.NewJSStreamMirrorNotUpdatableError()
	case old.AllowMsgTTL && !config.AllowMsgTTL:
		return refuse("message TTL status can not be disabled")
	case old.AllowMsgCounter != config.AllowMsgCounter:
		return refuse("stream configuration update can not change message counter setting")
	case old.AllowMsgSchedules && !config.AllowMsgSchedules:
		return refuse("message schedules can not be disabled")
	case old.PersistMode != config.PersistMode:
		return refuse("stream configuration update can not change persist mode")
	}
	return nil
}

// checkConsumerLimits refuses limits that existing consumers exceed.
func (s *Stream) checkConsumerLimits(config *server.StreamConfig) error {
	old, limits := s.config.ConsumerLimits, config.ConsumerLimits
	inactive, ackPending := limits.InactiveThreshold, limits.MaxAckPending
	if (inactive <= 0 || inactive == old.InactiveThreshold) && (ackPending <= 0 || ackPending == old.MaxAckPending) {
		return nil
	}
	var over []string
	for _, c := range s.Consumers() {
		if inactive > 0 && c.config.InactiveThreshold > inactive || ackPending > 0 && c.config.MaxAckPending > ackPending {
			over = append(over, c.name)
		}
	}
	if len(over) > 0 {
		return fmt.Errorf("change to limits violates consumers: %s", strings.Join(over, ", "))
	}
	return nil
}

// adopt lets a changed configuration take effect on the messages.
func (s *Stream) adopt(old *server.StreamConfig) {
	review, unneeded := false, false
	if s.config.Retention != old.Retention && s.config.Retention == server.InterestPolicy {
		if len(s.consumers) == 0 && s.msgs > 0 {
			s.clear(0)
		} else {
			review, unneeded = true, true
		}
	}
	if s.chained() != (old.MaxMsgsPer > 1) {
		s.unlink()
		review = review || s.chained()
	}
	if limit := s.config.MaxMsgsPer; limit > 0 && (old.MaxMsgsPer <= 0 || limit < old.MaxMsgsPer) {
		review = true
	}
	if review {
		s.startReview(s.first, unneeded)
	} else {
		s.settle()
	}
	if s.config.AllowMsgTTL && !old.AllowMsgTTL {
		s.collectTTLs()
	}
	for kind := range expiryKinds {
		s.reschedule(kind)
	}
}

// deleteStream applies a delete command.
func (m *Machine) deleteStream(s *Stream) {
	for _, c := range s.Consumers() {
		m.unregisterConsumer(c)
	}
	s.clear(0)
	s.account.unregister(s)
	delete(m.byID, s.incarnation)
	s.deleted = true
	s.listBehind()
	s.forgetSaved()
	if m.recentStream == s {
		m.recentStream = nil
	}
	if !s.intake {
		m.event(Event{Kind: EventStreamDeleted, Stream: s})
	}
}

// insertConsumer keeps s.consumers in the order of creation.
func (s *Stream) insertConsumer(c *Consumer) {
	at, _ := slices.BinarySearchFunc(s.consumers, c.incarnation, func(o *Consumer, inc Incarnation) int {
		return cmp.Compare(o.incarnation, inc)
	})
	s.consumers = slices.Insert(s.consumers, at, c)
	s.byName[c.name] = c
	s.machine.consumers[c.incarnation] = c
	s.setWatcher(c)
}

// setWatcher lists c among the watchers if, and only if, it is one.
func (s *Stream) setWatcher(c *Consumer) {
	at := slices.Index(s.watchers, c)
	if c.watches && at < 0 {
		s.watchers = append(s.watchers, c)
	} else if !c.watches && at >= 0 {
		s.watchers = slices.Delete(s.watchers, at, at+1)
	}
}
