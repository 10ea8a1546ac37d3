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
		d.adviseConsumerLeader(e.Consumer)
		d.adviseConsumer(e.Consumer, server.JSAdvisoryConsumerCreatedPre, server.CreateEvent)
		if e.Consumer.PausedUntil() > d.node.Now() {
			d.advisePause(e.Consumer)
		}
	case machine.EventConsumerDeleted:
		d.adviseConsumer(e.Consumer, server.JSAdvisoryConsumerDeletedPre, server.DeleteEvent)
	case machine.EventConsumerPaused:
		d.advisePause(e.Consumer)
	case machine.EventMaxDeliveries:
		d.adviseMaxDeliveries(e)
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

// accountName is what advisories call the account.
func (d *Door) accountName() string {
	if d.options.Account == machine.DefaultAccount {
		return "$G"
	}
	return d.options.Account
}

// identifierSize is the length of an identifier of the NATS server.
const identifierSize = 22

func (d *Door) typed(kind string) server.TypedEvent {
	return server.TypedEvent{Type: kind, ID: d.randomName(identifierSize), Time: d.time()}
}

// audited reports whether somebody wants to hear of a request and its answer. Of
// private ones only refusals are told.
func (d *Door) audited(r *request, response any) bool {
	if r.endpoint == nil || r.endpoint.private && !failed(response) {
		return false
	}
	heard, stored := d.wanted(server.JSAuditAdvisory)
	return heard || stored
}

// adviseRequest tells of a request and its answer. Who asked is not known here
// beyond the account: the NATS server passes requests on without saying so.
func (d *Door) adviseRequest(r *request, answer []byte) {
	d.emit(server.JSAuditAdvisory, func() any {
		return server.JSAPIAudit{
			TypedEvent: d.typed(server.JSAPIAuditType),
			Server:     d.options.Name,
			Client:     &server.ClientInfo{Account: d.accountName()},
			Subject:    r.subject,
			Request:    string(r.payload),
			Response:   string(answer),
			Domain:     d.options.Domain,
		}
	})
}

// wanted reports whether an advisory has listeners, and whether a stream stores it.
func (d *Door) wanted(subject string) (heard, stored bool) {
	return d.bus.Interest(subject), d.role == leading && d.machine.Match([]byte(subject)) != nil
}

// emit publishes an advisory if anybody wants it. The bus does not give our own
// messages back, so a stream that stores advisories gets them here.
func (d *Door) emit(subject string, advisory func() any) {
	heard, stored := d.wanted(subject)
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
