package machine

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// NormalizeStream returns a copy of a requested stream configuration with the
// defaults filled in, or why it is invalid. It makes the checks of the NATS
// server's checkStreamCfg that depend on the request alone, in its order;
// pedantic refuses what would otherwise be corrected.
func NormalizeStream(requested *server.StreamConfig, limits Limits, pedantic bool) (*server.StreamConfig, *server.ApiError) {
	if requested == nil {
		return nil, invalidStream("stream configuration invalid")
	}
	copied := *requested
	c := &copied
	c.Metadata = setLevel(requested.Metadata, streamLevel(requested))
	c.Subjects = slices.Clone(requested.Subjects)
	if requested.RePublish != nil {
		republish := *requested.RePublish
		c.RePublish = &republish
	}
	steps := []func() *server.ApiError{
		func() *server.ApiError { return checkStreamText(c) },
		func() *server.ApiError { return checkStreamPolicies(c) },
		func() *server.ApiError { return defaultStreamLimits(c, pedantic) },
		func() *server.ApiError { return defaultDuplicates(c, limits, pedantic) },
		func() *server.ApiError { return checkStreamFeatures(c, pedantic) },
		func() *server.ApiError { return checkStreamPersistence(c) },
		func() *server.ApiError { return checkMirror(c) },
		func() *server.ApiError { return checkSources(c) },
		func() *server.ApiError { return defaultSubjects(c) },
		func() *server.ApiError { return checkTransforms(c, pedantic) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if c.Placement != nil && reflect.DeepEqual(c.Placement, &server.Placement{}) {
		c.Placement = nil
	}
	if c.Placement != nil && c.Placement.Preferred != "" {
		return nil, invalidStream("preferred server not permitted in placement")
	}
	return c, nil
}

func invalidStream(format string, args ...any) *server.ApiError {
	return server.NewJSStreamInvalidConfigError(fmt.Errorf(format, args...))
}

func checkStreamText(c *server.StreamConfig) *server.ApiError {
	switch {
	case !validAssetName(c.Name):
		return invalidStream("stream name is required and can not contain '.', '*', '>', '\\', '/'")
	case len(c.Name) > server.JSMaxNameLen:
		return invalidStream("stream name is too long, maximum allowed is %d", server.JSMaxNameLen)
	case len(c.Description) > server.JSMaxDescriptionLen:
		return invalidStream("stream description is too long, maximum allowed is %d", server.JSMaxDescriptionLen)
	case metadataSize(c.Metadata) > server.JSMaxMetadataLen:
		return invalidStream("stream metadata exceeds maximum size of %d bytes", server.JSMaxMetadataLen)
	}
	return nil
}

func checkStreamPolicies(c *server.StreamConfig) *server.ApiError {
	if _, err := c.Retention.MarshalJSON(); err != nil {
		return invalidStream("invalid retention")
	}
	if _, err := c.Discard.MarshalJSON(); err != nil {
		return invalidStream("invalid discard policy")
	}
	if _, err := c.Compression.MarshalJSON(); err != nil {
		return invalidStream("invalid compression")
	}
	if c.Storage == 0 {
		c.Storage = server.FileStorage
	}
	if _, err := c.Storage.MarshalJSON(); err != nil {
		return invalidStream("invalid storage type")
	}
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	if c.Replicas > server.StreamMaxReplicas {
		return invalidStream("maximum replicas is %d", server.StreamMaxReplicas)
	}
	if c.Replicas < 0 {
		return server.NewJSReplicasCountCannotBeNegativeError()
	}
	return nil
}

// defaultStreamLimits makes -1, no limit, of what is not set.
func defaultStreamLimits(c *server.StreamConfig, pedantic bool) *server.ApiError {
	maxMsgSize, maxConsumers := int64(c.MaxMsgSize), int64(c.MaxConsumers)
	for _, limit := range []struct {
		name  string
		value *int64
	}{
		{"max_msgs", &c.MaxMsgs}, {"max_msgs_per_subject", &c.MaxMsgsPer}, {"max_bytes", &c.MaxBytes},
		{"max_msg_size", &maxMsgSize}, {"max_consumers", &maxConsumers},
	} {
		if pedantic && *limit.value < -1 {
			return server.NewJSPedanticError(fmt.Errorf("%s must be set to -1", limit.name))
		}
		if *limit.value <= 0 {
			*limit.value = -1
		}
	}
	c.MaxMsgSize, c.MaxConsumers = int32(maxMsgSize), int(maxConsumers)
	if c.MaxAge < 0 {
		return invalidStream("max age can not be negative")
	}
	if c.MaxAge != 0 && c.MaxAge < 100*time.Millisecond {
		return invalidStream("max age needs to be >= 100ms")
	}
	return nil
}

func defaultDuplicates(c *server.StreamConfig, limits Limits, pedantic bool) *server.ApiError {
	if c.Duplicates == 0 && c.Mirror == nil && len(c.Sources) == 0 {
		window := time.Duration(server.StreamDefaultDuplicatesWindow)
		if limits.Duplicates > 0 && window > limits.Duplicates {
			if pedantic {
				return server.NewJSPedanticError(errors.New("duplicate window limits are higher than current limits"))
			}
			window = limits.Duplicates
		}
		if c.MaxAge != 0 && c.MaxAge < window {
			if pedantic {
				return server.NewJSPedanticError(errors.New("duplicate window cannot be bigger than max age"))
			}
			window = c.MaxAge
		}
		c.Duplicates = window
	}
	switch {
	case c.Duplicates < 0:
		return invalidStream("duplicates window can not be negative")
	case c.MaxAge != 0 && c.Duplicates > c.MaxAge:
		return invalidStream("duplicates window can not be larger then max age")
	case limits.Duplicates > 0 && c.Duplicates > limits.Duplicates:
		return invalidStream("duplicates window can not be larger then server limit of %v", limits.Duplicates)
	case c.Duplicates > 0 && c.Duplicates < 100*time.Millisecond:
		return invalidStream("duplicates window needs to be >= 100ms")
	case c.DenyPurge && c.AllowRollup:
		return invalidStream("roll-ups require the purge permission")
	}
	return nil
}

// checkStreamFeatures refuses features that exclude each other, and allows
// what a feature needs.
func checkStreamFeatures(c *server.StreamConfig, pedantic bool) *server.ApiError {
	if c.AllowMsgCounter {
		switch {
		case c.Discard == server.DiscardNew:
			return invalidStream("counter stream cannot use discard new")
		case c.AllowMsgTTL:
			return invalidStream("counter stream cannot use message TTLs")
		case c.AllowMsgSchedules:
			return invalidStream("counter stream cannot use message schedules")
		case c.Retention != server.LimitsPolicy:
			return invalidStream("counter stream can only use limits retention")
		}
	}
	if c.DiscardNewPer {
		if c.Discard != server.DiscardNew {
			return invalidStream("discard new per subject requires discard new policy to be set")
		}
		if c.MaxMsgsPer <= 0 {
			return invalidStream("discard new per subject requires max msgs per subject > 0")
		}
	}
	switch {
	case c.SubjectDeleteMarkerTTL < 0:
		return invalidStream("subject delete marker TTL must not be negative")
	case c.SubjectDeleteMarkerTTL == 0:
	case c.SubjectDeleteMarkerTTL < time.Second:
		return invalidStream("subject delete marker TTL must be at least 1 second")
	case pedantic && !c.AllowMsgTTL:
		return invalidStream("subject delete marker cannot be set if message TTLs are disabled")
	case pedantic && !c.AllowRollup:
		return invalidStream("subject delete marker cannot be set if roll-ups are disabled")
	default:
		c.AllowMsgTTL = true
		if !c.AllowRollup {
			c.AllowRollup, c.DenyPurge = true, false
		}
	}
	if c.AllowMsgSchedules {
		if c.Discard == server.DiscardNew {
			return invalidStream("message scheduling cannot use discard new")
		}
		if !c.AllowRollup {
			if pedantic {
				return invalidStream("message scheduling cannot be set if roll-ups are disabled")
			}
			c.AllowRollup, c.DenyPurge = true, false
		}
	}
	return nil
}

func checkStreamPersistence(c *server.StreamConfig) *server.ApiError {
	if c.PersistMode != server.AsyncPersistMode {
		return nil
	}
	switch {
	case c.Storage != server.FileStorage:
		return invalidStream("async persist mode is only supported on file storage")
	case c.Replicas > 1:
		return invalidStream("async persist mode is not supported on replicated streams")
	case c.AllowAtomicPublish:
		return invalidStream("async persist mode is not supported with atomic batch publish")
	}
	return nil
}

// defaultSubjects makes the name the subject of a stream that has no other
// origin, and checks what is given.
func defaultSubjects(c *server.StreamConfig) *server.ApiError {
	if len(c.Subjects) == 0 {
		if c.Mirror == nil && len(c.Sources) == 0 {
			c.Subjects = []string{c.Name}
		}
		return nil
	}
	for i, subject := range c.Subjects {
		if !server.IsValidSubject(subject) {
			return invalidStream("invalid subject")
		}
		if err := checkReservedSubject(c, subject); err != nil {
			return err
		}
		for _, other := range c.Subjects[i+1:] {
			if server.SubjectsCollide(other, subject) {
				return invalidStream("subject %q overlaps with %q", subject, other)
			}
		}
	}
	return nil
}

// checkReservedSubject keeps streams that acknowledge off the subjects that
// the server itself uses.
func checkReservedSubject(c *server.StreamConfig, subject string) *server.ApiError {
	if subject == anyTail {
		if !c.NoAck {
			return invalidStream("capturing all subjects requires no-ack to be true")
		}
		if c.Replicas != 1 {
			return invalidStream("capturing all subjects requires replicas of 1")
		}
	}
	if c.NoAck {
		return nil
	}
	for _, namespace := range []string{"$JS.>", "$JSC.>", "$NRG.>"} {
		if server.SubjectsCollide(subject, namespace) && !covers("$JS.EVENT.>", subject) {
			return invalidStream("subjects that overlap with jetstream api require no-ack to be true")
		}
	}
	if server.SubjectsCollide(subject, "$SYS.>") && !covers("$SYS.ACCOUNT.>", subject) {
		return invalidStream("subjects that overlap with system api require no-ack to be true")
	}
	return nil
}

func checkTransforms(c *server.StreamConfig, pedantic bool) *server.ApiError {
	if t := c.SubjectTransform; t != nil {
		if t.Source != "" && !server.IsValidSubject(t.Source) {
			return server.NewJSStreamTransformInvalidSourceError(fmt.Errorf("%w %s", server.ErrBadSubject, t.Source))
		}
		if err := server.ValidateMapping(t.Source, t.Destination); err != nil {
			return server.NewJSStreamTransformInvalidDestinationError(err)
		}
	}
	r := c.RePublish
	if r == nil {
		return nil
	}
	if r.Source == "" {
		if pedantic {
			return server.NewJSPedanticError(errors.New("republish source can not be empty"))
		}
		r.Source = anyTail
	}
	if t := c.SubjectTransform; r.Destination == anyTail && r.Source == anyTail && t != nil && len(c.Subjects) == 1 && t.Source == c.Subjects[0] {
		if pedantic {
			return server.NewJSPedanticError(errors.New("implicit republish based on subject transform"))
		}
		r.Source, r.Destination = t.Destination, t.Destination
	}
	for _, subject := range c.Subjects {
		if server.SubjectsCollide(r.Destination, subject) {
			return invalidStream("stream configuration for republish destination forms a cycle")
		}
	}
	if _, err := server.NewSubjectTransform(r.Source, r.Destination); err != nil {
		return invalidStream("stream configuration for republish with transform from '%s' to '%s' not valid", r.Source, r.Destination)
	}
	return nil
}
