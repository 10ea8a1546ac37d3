package jetstream

import (
	"encoding/json"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// advise publishes the advisory that belongs to an event.
func (d *Door) advise(e *machine.Event) {
	switch e.Kind {
	case machine.EventStreamCreated:
		d.adviseStreamLeader(e.Stream)
		d.adviseStream(e.Stream, server.JSAdvisoryStreamCreatedPre, server.CreateEvent)
	case machine.EventStreamUpdated:
		d.adviseStream(e.Stream, server.JSAdvisoryStreamUpdatedPre, server.ModifyEvent)
	case machine.EventStreamDeleted:
		d.adviseStream(e.Stream, server.JSAdvisoryStreamDeletedPre, server.DeleteEvent)
	case machine.EventConsumerCreated:
		d.adviseConsumer(e.Consumer, server.JSAdvisoryConsumerCreatedPre, server.CreateEvent)
	case machine.EventConsumerDeleted:
		d.adviseConsumer(e.Consumer, server.JSAdvisoryConsumerDeletedPre, server.DeleteEvent)
	case machine.EventMaxDeliveries:
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
}

func (d *Door) adviseStream(s *machine.Stream, prefix string, action server.ActionAdvisoryType) {
	d.emit(prefix+"."+s.Name(), func() any {
		return server.JSStreamActionAdvisory{
			TypedEvent: d.typed(server.JSStreamActionAdvisoryType),
			Stream:     s.Name(),
			Action:     action,
			Domain:     d.options.Domain,
		}
	})
}

// adviseStreamLeader tells that this node leads a stream, as it does all of them.
func (d *Door) adviseStreamLeader(s *machine.Stream) {
	cluster := d.node.Cluster()
	if cluster == nil || s.Config().Replicas < 2 {
		return
	}
	d.emit(server.JSAdvisoryStreamLeaderElectedPre+"."+s.Name(), func() any {
		return server.JSStreamLeaderElectedAdvisory{
			TypedEvent: d.typed(server.JSStreamLeaderElectedAdvisoryType),
			Stream:     s.Name(),
			Leader:     cluster.Leader,
			Replicas:   append([]*server.PeerInfo{{Name: cluster.Leader, Current: true}}, cluster.Replicas...),
			Domain:     d.options.Domain,
		}
	})
}

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

func (d *Door) typed(kind string) server.TypedEvent {
	return server.TypedEvent{Type: kind, ID: d.randomName(22), Time: d.time()}
}

// emit publishes an advisory if anybody wants it. The bus does not give our own
// messages back, so a stream that stores advisories gets them here.
func (d *Door) emit(subject string, advisory func() any) {
	heard := d.bus.Interest(subject)
	stored := d.role == leading && d.machine.Match([]byte(subject)) != nil
	if !heard && !stored {
		return
	}
	body, err := json.Marshal(advisory())
	if err != nil {
		d.logger.Error("advisory cannot be encoded", "subject", subject, "error", err)
		return
	}
	m := Message{Subject: []byte(subject), Payload: body}
	if heard {
		d.bus.Publish(m.Subject, nil, nil, body)
	}
	if stored {
		d.publish(&m)
	}
}
