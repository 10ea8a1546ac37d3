package jetstream

import (
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
)

// Control messages are empty messages whose first header line is a status. The
// words are those of nats-server: clients compare them.
const (
	statusEmptyRequest     = "NATS/1.0 408 Empty Request\r\n\r\n"
	statusMalformedRequest = "NATS/1.0 408 Malformed Request\r\n\r\n"
	statusBadRequest       = "NATS/1.0 408 Bad Request\r\n\r\n"
	statusRequestsPending  = "NATS/1.0 408 Requests Pending\r\n\r\n"
	statusNotFound         = "NATS/1.0 404 Message Not Found\r\n\r\n"
	statusNoResults        = "NATS/1.0 404 No Results\r\n\r\n"
	statusTooManyResults   = "NATS/1.0 413 Too Many Results\r\n\r\n"
	statusNoMessages       = "NATS/1.0 404 No Messages\r\n\r\n"
	statusPushBased        = "NATS/1.0 409 Consumer is push based\r\n\r\n"
	statusMaxWaiting       = "NATS/1.0 409 Exceeded MaxWaiting\r\n\r\n"
	statusConsumerDeleted  = "NATS/1.0 409 Consumer Deleted\r\n\r\n"
	statusLeadershipChange = "NATS/1.0 409 Leadership Change\r\n\r\n"
	statusRequiredLevel    = "NATS/1.0 412 Required Api Level\r\n\r\n"
	statusPinMismatch      = "NATS/1.0 423 Nats-Pin-Id mismatch\r\n\r\n"
	statusTooManyRequests  = "NATS/1.0 429 Too Many Requests\r\n\r\n"
	statusFlowControl      = "NATS/1.0 100 FlowControl Request\r\n\r\n"
	// statusUnreadable: the message is there, and other nodes can read it. To clients any
	// 503 means that there is no answer, and nothing about the message.
	statusUnreadable = "NATS/1.0 503 Message Unreadable\r\n\r\n"

	// The following are continued by the pending counts of a pull request.
	statusTimeout        = "NATS/1.0 408 Request Timeout\r\n"
	statusTooLarge       = "NATS/1.0 409 Message Size Exceeds MaxBytes\r\n"
	statusBatchCompleted = "NATS/1.0 409 Batch Completed\r\n"
	statusWrongPin       = "NATS/1.0 423 Nats-Wrong-Pin-Id\r\n"
	statusShutdown       = "NATS/1.0 409 Server Shutdown\r\n"
)

// sendStatus sends a control message without further headers.
func (d *Door) sendStatus(to []byte, status string) {
	d.scratch = append(d.scratch[:0], status...)
	d.bus.Publish(to, nil, d.scratch, nil)
}

// sendPullStatus sends a control message that tells how many messages and bytes
// of a pull request remain.
func (d *Door) sendPullStatus(to []byte, status string, messages, bytes int) {
	b := append(d.scratch[:0], status...)
	b = appendNumberLine(b, server.JSPullRequestPendingMsgs, uint64(max(messages, 0)))
	b = appendNumberLine(b, server.JSPullRequestPendingBytes, uint64(max(bytes, 0)))
	d.scratch = append(b, crlf...)
	d.bus.Publish(to, nil, d.scratch, nil)
}

// sendHeartbeat tells a client that the consumer lives and how far it is, so
// that the client can notice a message that it missed.
func (d *Door) sendHeartbeat(to []byte, consumerSeq, streamSeq uint64, stalled []byte) {
	b := append(d.scratch[:0], "NATS/1.0 100 Idle Heartbeat\r\n"...)
	b = appendNumberLine(b, server.JSLastConsumerSeq, consumerSeq)
	b = appendNumberLine(b, server.JSLastStreamSeq, streamSeq)
	if len(stalled) > 0 {
		b = append(b, server.JSConsumerStalled+": "...)
		b = append(b, stalled...)
		b = append(b, crlf...)
	}
	d.scratch = append(b, crlf...)
	d.bus.Publish(to, nil, d.scratch, nil)
}

// sendNoResponders answers as the NATS server answers when nobody listens on a
// subject. The door listens on whole families of subjects, so it has to say
// itself that a consumer or a stream is not there. Where the account imports a
// service of another one, that may have an answer.
func (d *Door) sendNoResponders(to, subject []byte) {
	if len(to) == 0 {
		return
	}
	for _, service := range d.options.Imports {
		if server.SubjectsCollide(service, string(subject)) {
			return
		}
	}
	b := append(d.scratch[:0], "NATS/1.0 503\r\nNats-Subject: "...)
	b = append(b, subject...)
	d.scratch = append(b, crlf+crlf...)
	d.bus.Publish(to, nil, d.scratch, nil)
}

func appendNumberLine(dst []byte, name string, value uint64) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = strconv.AppendUint(dst, value, 10)
	return append(dst, crlf...)
}
