package jetstream

import (
	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// prepareSourcing adapts a request for a consumer through which another stream,
// here or elsewhere, sources from this one. The name in the request is the same
// each time the other side asks. A stream that keeps all messages makes a new
// consumer each time; one that keeps them as long as they are needed makes a
// durable one, whose flow control acknowledges what the other side has stored,
// and which begins again behind that.
func (d *Door) prepareSourcing(r *request, s *machine.Stream, config *server.ConsumerConfig) *server.ApiError {
	if !config.Direct && !config.Sourcing {
		return nil
	}
	if config.Direct && config.Sourcing && config.Name != "" {
		if s.Config().Retention == server.LimitsPolicy {
			config.Name += "-" + d.randomName(8)
		} else {
			config.Direct = false
			config.Durable, config.AckPolicy = config.Name, server.AckFlowControl
			config.AckWait, config.MaxDeliver, config.InactiveThreshold = 0, 0, 0
		}
	}
	identity := machine.StreamIdentity(s.Created())
	if asked := headerValue(r.header, server.JSStreamIdentity); len(asked) > 0 && string(asked) != identity {
		return server.NewJSConsumerStreamIdentityMismatchError(identity)
	}
	r.identify(identity)
	if existing := s.Consumer(config.Name); existing != nil && config.Sourcing && config.Durable != "" {
		old := existing.Config()
		config.DeliverPolicy, config.OptStartSeq, config.OptStartTime = old.DeliverPolicy, old.OptStartSeq, old.OptStartTime
	}
	return nil
}

// resetSourcing puts a durable sourcing consumer that is there already back to
// its ack floor, behind the command that creates or updates it. The request is
// then answered for this command, if the other one succeeded. It reports whether
// there is such a consumer.
func (d *Door) resetSourcing(r *request, s *machine.Stream, config *server.ConsumerConfig, resp *server.JSApiConsumerCreateResponse) bool {
	existing := s.Consumer(config.Name)
	if existing == nil || !config.Sourcing || config.Durable == "" {
		return false
	}
	d.propose(r, func(_ *Door, result *machine.Result) any {
		resp.Error = result.Err
		return nil
	})
	d.batches.builder.ResetConsumer(existing.Incarnation(), 0)
	return true
}

// identify has the request answered with the identity of the stream.
func (r *request) identify(identity string) {
	r.answerHeader = []byte(headerLine + server.JSStreamIdentity + ": " + identity + crlf + crlf)
}

// identifyReset does so for a reset that asks for it.
func (r *request) identifyReset(s *machine.Stream) {
	if headerAt(r.header, server.JSStreamIdentity) >= 0 {
		r.identify(machine.StreamIdentity(s.Created()))
	}
}
