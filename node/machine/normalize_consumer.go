package machine

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// flowControlHeartbeat is the only idle heartbeat of consumers whose acks are
// flow control (sourceHealthHB of the NATS server).
const flowControlHeartbeat = time.Second

// minHeartbeat is the shortest idle heartbeat of a push consumer.
const minHeartbeat = 100 * time.Millisecond

var validGroupName = regexp.MustCompile(`^[a-zA-Z0-9/_=-]{1,16}$`)

// ValidGroup says whether a priority group may be called that.
func ValidGroup(name string) bool { return validGroupName.MatchString(name) }

// NormalizeConsumer returns a copy of a requested consumer configuration with
// the defaults filled in, or why it is invalid for a stream of that
// configuration: setConsumerConfigDefaults and checkConsumerCfg of the NATS
// server, in their order. Pedantic refuses what would otherwise be corrected.
func NormalizeConsumer(requested *server.ConsumerConfig, stream *server.StreamConfig, limits Limits, pedantic bool) (*server.ConsumerConfig, *server.ApiError) {
	if requested == nil {
		return nil, server.NewJSConsumerConfigRequiredError()
	}
	copied := *requested
	c := &copied
	if c.PauseUntil != nil {
		utc := c.PauseUntil.UTC()
		c.PauseUntil = &utc
	}
	steps := []func() *server.ApiError{
		func() *server.ApiError { return defaultConsumerNumbers(c, pedantic) },
		func() *server.ApiError { return defaultConsumerPolicies(c, stream, limits, pedantic) },
		func() *server.ApiError { return checkConsumerIdentity(c, stream) },
		func() *server.ApiError { return checkConsumerAcks(c) },
		func() *server.ApiError { return checkConsumerMode(c, stream, limits) },
		func() *server.ApiError { return checkConsumerLimits(c, stream, limits) },
		func() *server.ApiError { return checkConsumerFilters(c) },
		func() *server.ApiError { return checkConsumerStart(c) },
		func() *server.ApiError { return checkConsumerRest(c) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	c.Metadata = setLevel(c.Metadata, consumerLevel(c))
	return c, nil
}

// defaultConsumerNumbers replaces numbers below their range.
func defaultConsumerNumbers(c *server.ConsumerConfig, pedantic bool) *server.ApiError {
	if c.MaxDeliver < -1 && pedantic {
		return server.NewJSPedanticError(errors.New("max_deliver must be set to -1"))
	}
	if c.MaxDeliver < 1 {
		c.MaxDeliver = -1
	}
	if pedantic {
		for _, n := range []struct {
			bad  bool
			text string
		}{
			{c.MaxWaiting < 0, "max_waiting must not be negative"},
			{c.MaxAckPending < -1, "max_ack_pending must be set to -1"},
			{c.MaxRequestBatch < 0, "max_batch must not be negative"},
			{c.MaxRequestExpires < 0, "max_expires must not be negative"},
			{c.MaxRequestMaxBytes < 0, "max_bytes must not be negative"},
			{c.Heartbeat < 0, "idle_heartbeat must not be negative"},
			{c.InactiveThreshold < 0, "inactive_threshold must not be negative"},
			{c.PinnedTTL < 0, "priority_timeout must not be negative"},
		} {
			if n.bad {
				return server.NewJSPedanticError(errors.New(n.text))
			}
		}
	}
	c.MaxWaiting = max(c.MaxWaiting, 0)
	c.MaxAckPending = max(c.MaxAckPending, -1)
	c.MaxRequestBatch = max(c.MaxRequestBatch, 0)
	c.MaxRequestExpires = max(c.MaxRequestExpires, 0)
	c.MaxRequestMaxBytes = max(c.MaxRequestMaxBytes, 0)
	c.Heartbeat = max(c.Heartbeat, 0)
	c.InactiveThreshold = max(c.InactiveThreshold, 0)
	c.PinnedTTL = max(c.PinnedTTL, 0)
	return nil
}

// defaultConsumerPolicies fills in what depends on the policies, the stream
// and the node's limits.
func defaultConsumerPolicies(c *server.ConsumerConfig, stream *server.StreamConfig, limits Limits, pedantic bool) *server.ApiError {
	if c.DeliverSubject == "" && c.MaxWaiting == 0 {
		c.MaxWaiting = server.JSWaitQueueDefaultMax
	}
	if c.AckWait == 0 && (c.AckPolicy == server.AckExplicit || c.AckPolicy == server.AckAll) {
		c.AckWait = server.JsAckWaitDefault
	}
	if len(c.BackOff) > 0 {
		if pedantic && c.AckWait != c.BackOff[0] {
			return server.NewJSPedanticError(errors.New("first backoff value has to equal batch AckWait"))
		}
		c.AckWait = c.BackOff[0]
	}
	if c.MaxAckPending == 0 {
		if pedantic && stream.ConsumerLimits.MaxAckPending > 0 {
			return server.NewJSPedanticError(errors.New("max_ack_pending must be set if it's configured in stream limits"))
		}
		c.MaxAckPending = stream.ConsumerLimits.MaxAckPending
	}
	if c.InactiveThreshold == 0 {
		if pedantic && stream.ConsumerLimits.InactiveThreshold > 0 {
			return server.NewJSPedanticError(errors.New("inactive_threshold must be set if it's configured in stream limits"))
		}
		c.InactiveThreshold = stream.ConsumerLimits.InactiveThreshold
	}
	if c.MaxAckPending == 0 && c.AckPolicy != server.AckNone {
		c.MaxAckPending = server.JsDefaultMaxAckPending
		if limits.MaxAckPending > 0 {
			c.MaxAckPending = min(c.MaxAckPending, limits.MaxAckPending)
		}
	}
	if c.DeliverSubject == "" && c.MaxRequestBatch == 0 && limits.MaxRequestBatch > 0 {
		if pedantic {
			return server.NewJSPedanticError(errors.New("max_request_batch must be set if it's JetStream limits are set"))
		}
		c.MaxRequestBatch = limits.MaxRequestBatch
	}
	if c.PriorityPolicy == server.PriorityPinnedClient && c.PinnedTTL == 0 {
		c.PinnedTTL = server.JsDefaultPinnedTTL
	}
	if c.AckPolicy == server.AckFlowControl && !pedantic {
		c.FlowControl, c.Heartbeat = true, flowControlHeartbeat
	}
	return nil
}

func checkConsumerIdentity(c *server.ConsumerConfig, stream *server.StreamConfig) *server.ApiError {
	switch {
	case c.Name != "" && !validAssetName(c.Name):
		return invalidStream("consumer name can not contain '.', '*', '>', '\\', '/'")
	case c.Durable != "" && !validAssetName(c.Durable):
		return invalidStream("consumer durable name can not contain '.', '*', '>', '\\', '/'")
	case c.Replicas > 0 && c.Replicas > stream.Replicas:
		return server.NewJSConsumerReplicasExceedsStreamError()
	case c.Replicas < 0:
		return server.NewJSReplicasCountCannotBeNegativeError()
	case stream.Retention != server.LimitsPolicy && c.Replicas != 0 && c.Replicas != stream.Replicas:
		return server.NewJSConsumerReplicasShouldMatchStreamError()
	}
	if _, err := c.AckPolicy.MarshalJSON(); err != nil {
		return server.NewJSConsumerAckPolicyInvalidError()
	}
	if _, err := c.ReplayPolicy.MarshalJSON(); err != nil {
		return server.NewJSConsumerReplayPolicyInvalidError()
	}
	return nil
}

func checkConsumerAcks(c *server.ConsumerConfig) *server.ApiError {
	if slices.ContainsFunc(c.BackOff, func(d time.Duration) bool { return d < 0 }) {
		return server.NewJSConsumerBackOffNegativeError()
	}
	if c.AckWait < 0 {
		return server.NewJSConsumerAckWaitNegativeError()
	}
	if c.AckPolicy == server.AckFlowControl {
		switch {
		case c.DeliverSubject == "":
			return server.NewJSConsumerAckFCRequiresPushError()
		case !c.FlowControl:
			return server.NewJSConsumerAckFCRequiresFCError()
		case c.Heartbeat != flowControlHeartbeat:
			return invalidStream("flow control ack policy heartbeat needs to be 1s")
		case c.MaxAckPending <= 0:
			return server.NewJSConsumerAckFCRequiresMaxAckPendingError()
		case c.AckWait != 0 || len(c.BackOff) > 0:
			return server.NewJSConsumerAckFCRequiresNoAckWaitError()
		case c.MaxDeliver > 0:
			return server.NewJSConsumerAckFCRequiresNoMaxDeliverError()
		}
	}
	if n := len(c.BackOff); n > 0 && c.MaxDeliver != -1 && n > c.MaxDeliver {
		return server.NewJSConsumerMaxDeliverBackoffError()
	}
	if len(c.Description) > server.JSMaxDescriptionLen {
		return server.NewJSConsumerDescriptionTooLongError(server.JSMaxDescriptionLen)
	}
	return nil
}

// checkConsumerMode checks what differs between push and pull.
func checkConsumerMode(c *server.ConsumerConfig, stream *server.StreamConfig, limits Limits) *server.ApiError {
	if c.DeliverSubject != "" {
		switch {
		case !isLiteral(c.DeliverSubject):
			return server.NewJSConsumerDeliverToWildcardsError()
		case !server.IsValidSubject(c.DeliverSubject):
			return server.NewJSConsumerInvalidDeliverSubjectError()
		case len(stream.Subjects) > 0 && coversAny(stream.Subjects, c.DeliverSubject):
			return server.NewJSConsumerDeliverCycleError()
		case c.MaxWaiting != 0:
			return server.NewJSConsumerPushMaxWaitingError()
		case c.MaxAckPending > 0 && c.AckPolicy == server.AckNone:
			return server.NewJSConsumerMaxPendingAckPolicyRequiredError()
		case c.Heartbeat > 0 && c.Heartbeat < minHeartbeat:
			return server.NewJSConsumerSmallHeartbeatError()
		}
		return nil
	}
	switch {
	case c.AckPolicy == server.AckNone && stream.Retention == server.WorkQueuePolicy:
		return server.NewJSConsumerPullRequiresAckError()
	case c.RateLimit > 0:
		return server.NewJSConsumerPullWithRateLimitError()
	case c.Heartbeat > 0:
		return server.NewJSConsumerHBRequiresPushError()
	case c.FlowControl:
		return server.NewJSConsumerFCRequiresPushError()
	case c.MaxRequestExpires != 0 && c.MaxRequestExpires < time.Millisecond:
		return server.NewJSConsumerMaxRequestExpiresTooSmallError()
	case limits.MaxRequestBatch > 0 && c.MaxRequestBatch > limits.MaxRequestBatch:
		return server.NewJSConsumerMaxRequestBatchExceededError(limits.MaxRequestBatch)
	}
	return nil
}

func checkConsumerLimits(c *server.ConsumerConfig, stream *server.StreamConfig, limits Limits) *server.ApiError {
	if limit := limits.MaxAckPending; limit > 0 && c.MaxAckPending > limit {
		return server.NewJSConsumerMaxPendingAckExcessError(limit)
	}
	if limit := stream.ConsumerLimits.MaxAckPending; limit > 0 && c.MaxAckPending > limit {
		return server.NewJSConsumerMaxPendingAckExcessError(limit)
	}
	if limit := stream.ConsumerLimits.InactiveThreshold; limit > 0 && c.InactiveThreshold > limit {
		return server.NewJSConsumerInactiveThresholdExcessError(limit)
	}
	if c.Direct {
		if c.DeliverSubject == "" {
			return server.NewJSConsumerDirectRequiresPushError()
		}
		if c.Durable != "" {
			return server.NewJSConsumerDirectRequiresEphemeralError()
		}
	}
	return nil
}

func checkConsumerFilters(c *server.ConsumerConfig) *server.ApiError {
	if c.FilterSubject != "" && len(c.FilterSubjects) > 0 {
		return server.NewJSConsumerDuplicateFilterSubjectsError()
	}
	if c.FilterSubject != "" && !server.IsValidSubject(c.FilterSubject) {
		return server.NewJSStreamInvalidConfigError(server.ErrBadSubject)
	}
	if slices.Contains(c.FilterSubjects, "") {
		return server.NewJSConsumerEmptyFilterError()
	}
	for i, filter := range c.FilterSubjects {
		if !server.IsValidSubject(filter) {
			return server.NewJSStreamInvalidConfigError(server.ErrBadSubject)
		}
		for j, other := range c.FilterSubjects {
			if i != j && covers(other, filter) {
				return server.NewJSConsumerOverlappingSubjectFiltersError()
			}
		}
	}
	return nil
}

// checkConsumerStart refuses a start that the deliver policy has no use for,
// and one that it misses.
func checkConsumerStart(c *server.ConsumerConfig) *server.ApiError {
	names := map[server.DeliverPolicy]string{
		server.DeliverAll: "all", server.DeliverLast: "last", server.DeliverLastPerSubject: "last per subject",
		server.DeliverNew: "new", server.DeliverByStartSequence: "by start sequence", server.DeliverByStartTime: "by start time",
	}
	name, known := names[c.DeliverPolicy]
	if !known {
		return nil
	}
	also := func(start string) *server.ApiError {
		return server.NewJSConsumerInvalidPolicyError(fmt.Errorf("consumer delivery policy is deliver %s, but optional start %s is also set", name, start))
	}
	missing := func(what string) *server.ApiError {
		return server.NewJSConsumerInvalidPolicyError(fmt.Errorf("consumer delivery policy is deliver %s, but optional %s is not set", name, what))
	}
	switch c.DeliverPolicy {
	case server.DeliverByStartSequence:
		if c.OptStartSeq == 0 {
			return missing("start sequence")
		}
		if c.OptStartTime != nil {
			return also("time")
		}
		return nil
	case server.DeliverByStartTime:
		if c.OptStartTime == nil {
			return missing("start time")
		}
		if c.OptStartSeq != 0 {
			return server.NewJSConsumerInvalidPolicyError(errors.New("consumer delivery policy is deliver by start time, but optional start start sequence is also set"))
		}
		return nil
	}
	if c.OptStartSeq > 0 {
		return also("sequence")
	}
	if c.OptStartTime != nil {
		return also("time")
	}
	if c.DeliverPolicy == server.DeliverLastPerSubject && c.FilterSubject == "" && len(c.FilterSubjects) == 0 {
		return missing("filter subject")
	}
	return nil
}

func checkConsumerRest(c *server.ConsumerConfig) *server.ApiError {
	if c.SampleFrequency != "" {
		n, err := strconv.Atoi(strings.TrimSuffix(c.SampleFrequency, "%"))
		if err != nil || n < 0 {
			return server.NewJSConsumerInvalidSamplingError(err)
		}
	}
	switch {
	case c.FlowControl && c.Heartbeat == 0:
		return server.NewJSConsumerWithFlowControlNeedsHeartbeatsError()
	case c.Durable != "" && c.Name != "" && c.Name != c.Durable:
		return server.NewJSConsumerCreateDurableAndNameMismatchError()
	case len(c.Durable) > server.JSMaxNameLen || len(c.Name) > server.JSMaxNameLen:
		return server.NewJSConsumerNameTooLongError(server.JSMaxNameLen)
	case metadataSize(c.Metadata) > server.JSMaxMetadataLen:
		return server.NewJSConsumerMetadataLengthError(fmt.Sprintf("%dKB", server.JSMaxMetadataLen/1024))
	}
	if c.PriorityPolicy == server.PriorityNone {
		if len(c.PriorityGroups) > 0 {
			return server.NewJSConsumerPriorityGroupWithPolicyNoneError()
		}
		if c.PinnedTTL > 0 {
			return server.NewJSConsumerPinnedTTLWithoutPriorityPolicyNoneError()
		}
		return nil
	}
	if c.DeliverSubject != "" {
		return server.NewJSConsumerPushWithPriorityGroupError()
	}
	if len(c.PriorityGroups) == 0 {
		return server.NewJSConsumerPriorityPolicyWithoutGroupError()
	}
	for _, group := range c.PriorityGroups {
		if group == "" {
			return server.NewJSConsumerEmptyGroupNameError()
		}
		if !ValidGroup(group) {
			return server.NewJSConsumerInvalidGroupNameError()
		}
	}
	return nil
}
