package jetstream

import (
	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

func (d *Door) adviseConsumer(m *machine.Consumer, prefix string, action server.ActionAdvisoryType) {
	stream := m.Stream().Name()
	d.emit(prefix+"."+stream+"."+m.Name(), func() any {
		return server.JSConsumerActionAdvisory{
			TypedEvent: d.typed(server.JSConsumerActionAdvisoryType),
			Stream:     stream,
			Consumer:   m.Name(),
			Action:     action,
			Domain:     d.options.Domain,
		}
	})
}

// adviseConsumerLeader tells that this node leads a consumer, as it does all of
// them. A consumer that JetStream would not replicate has no leader to tell of.
func (d *Door) adviseConsumerLeader(m *machine.Consumer) {
	if !replicated(m.Config(), m.Stream().Config()) {
		return
	}
	stream := m.Stream().Name()
	subject := server.JSAdvisoryConsumerLeaderElectedPre + "." + stream + "." + m.Name()
	if heard, stored := d.wanted(subject); !heard && !stored {
		return // a new leader asks this for every consumer
	}
	cluster := d.node.Cluster()
	if cluster == nil {
		return
	}
	d.emit(subject, func() any {
		return server.JSConsumerLeaderElectedAdvisory{
			TypedEvent: d.typed(server.JSConsumerLeaderElectedAdvisoryType),
			Stream:     stream,
			Consumer:   m.Name(),
			Leader:     cluster.Leader,
			Replicas:   append([]*server.PeerInfo{{Name: cluster.Leader, Current: true}}, cluster.Replicas...),
			Domain:     d.options.Domain,
		}
	})
}

// replicated reports whether a consumer has more than one replica
// (ConsumerConfig.replicas of the NATS server).
func replicated(config *server.ConsumerConfig, stream *server.StreamConfig) bool {
	switch {
	case config.Replicas > 0 && config.Replicas <= stream.Replicas:
		return config.Replicas > 1
	case config.Replicas == 0 && config.Durable == "" && stream.Retention == server.LimitsPolicy:
		return false
	}
	return stream.Replicas > 1
}

// adviseMaxDeliveries tells of a message that was delivered as often as it may be.
func (d *Door) adviseMaxDeliveries(e *machine.Event) {
	stream, consumer := e.Consumer.Stream().Name(), e.Consumer.Name()
	d.emit(server.JSAdvisoryConsumerMaxDeliveryExceedPre+"."+stream+"."+consumer, func() any {
		return server.JSConsumerDeliveryExceededAdvisory{
			TypedEvent: d.typed(server.JSConsumerDeliveryExceededAdvisoryType),
			Stream:     stream,
			Consumer:   consumer,
			StreamSeq:  e.Seq,
			Deliveries: e.Deliveries,
			Domain:     d.options.Domain,
		}
	})
}

// advisePause tells that a consumer was paused, or that its pause is over.
func (d *Door) advisePause(m *machine.Consumer) {
	stream := m.Stream().Name()
	d.emit(server.JSAdvisoryConsumerPausePre+"."+stream+"."+m.Name(), func() any {
		advisory := server.JSConsumerPauseAdvisory{
			TypedEvent: d.typed(server.JSConsumerPauseAdvisoryType),
			Stream:     stream,
			Consumer:   m.Name(),
			Domain:     d.options.Domain,
		}
		if until := m.Config().PauseUntil; until != nil {
			advisory.PauseUntil = *until
			advisory.Paused = d.time().Before(*until)
		}
		return advisory
	})
}

// advisePinned tells which client alone gets a consumer's messages from now on.
func (d *Door) advisePinned(c *consumer) {
	d.emit(server.JSAdvisoryConsumerPinnedPre+"."+c.key, func() any {
		return server.JSConsumerGroupPinnedAdvisory{
			TypedEvent:     d.typed(server.JSConsumerGroupPinnedAdvisoryType),
			Account:        d.accountName(),
			Stream:         c.machine.Stream().Name(),
			Consumer:       c.machine.Name(),
			Domain:         d.options.Domain,
			Group:          c.pin.group,
			PinnedClientId: c.pin.id,
		}
	})
}

// adviseUnpinned tells that no client is pinned any more.
func (d *Door) adviseUnpinned(c *consumer, group, reason string) {
	d.emit(server.JSAdvisoryConsumerUnpinnedPre+"."+c.key, func() any {
		return server.JSConsumerGroupUnpinnedAdvisory{
			TypedEvent: d.typed(server.JSConsumerGroupUnpinnedAdvisoryType),
			Account:    d.accountName(),
			Stream:     c.machine.Stream().Name(),
			Consumer:   c.machine.Name(),
			Domain:     d.options.Domain,
			Group:      group,
			Reason:     reason,
		}
	})
}

// adviseAck tells how long a message was with its client.
func (d *Door) adviseAck(c *consumer, a *ackSubject, given int64) {
	d.emit(server.JSMetricConsumerAckPre+"."+c.key, func() any {
		return server.JSConsumerAckMetric{
			TypedEvent:  d.typed(server.JSConsumerAckMetricType),
			Stream:      c.machine.Stream().Name(),
			Consumer:    c.machine.Name(),
			ConsumerSeq: a.consumerSeq,
			StreamSeq:   a.streamSeq,
			Delay:       d.node.Now() - given,
			Deliveries:  a.deliveries,
			Domain:      d.options.Domain,
		}
	})
}

// adviseNak tells of a negative acknowledgement.
func (d *Door) adviseNak(c *consumer, a *ackSubject) {
	d.emit(server.JSAdvisoryConsumerMsgNakPre+"."+c.key, func() any {
		return server.JSConsumerDeliveryNakAdvisory{
			TypedEvent:  d.typed(server.JSConsumerDeliveryNakAdvisoryType),
			Stream:      c.machine.Stream().Name(),
			Consumer:    c.machine.Name(),
			ConsumerSeq: a.consumerSeq,
			StreamSeq:   a.streamSeq,
			Deliveries:  a.deliveries,
			Domain:      d.options.Domain,
		}
	})
}

// adviseTerminated tells of a message that is never to be delivered again.
func (d *Door) adviseTerminated(c *consumer, a *ackSubject, reason []byte) {
	d.emit(server.JSAdvisoryConsumerMsgTerminatedPre+"."+c.key, func() any {
		return server.JSConsumerDeliveryTerminatedAdvisory{
			TypedEvent:  d.typed(server.JSConsumerDeliveryTerminatedAdvisoryType),
			Stream:      c.machine.Stream().Name(),
			Consumer:    c.machine.Name(),
			ConsumerSeq: a.consumerSeq,
			StreamSeq:   a.streamSeq,
			Deliveries:  a.deliveries,
			Reason:      string(reason),
			Domain:      d.options.Domain,
		}
	})
}
