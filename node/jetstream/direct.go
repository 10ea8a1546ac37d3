package jetstream

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// directGet answers with one stored message as it is, described by headers. The
// subject of the request may name the subject whose last message is wanted.
func (d *Door) directGet(r *request) any {
	s := d.machine.Stream(r.args[0])
	if s == nil || !s.Config().AllowDirect {
		d.sendNoResponders(r.reply, []byte(r.subject))
		return nil
	}
	if len(r.reply) == 0 {
		return nil
	}
	if requiresHigherLevel(r.header) {
		d.sendStatus(r.reply, statusRequiredLevel)
		return nil
	}
	body, refusal := directRequest(r)
	if refusal != "" {
		d.sendStatus(r.reply, refusal)
		return nil
	}
	stored, found := findMessage(s, body)
	if !found {
		d.sendStatus(r.reply, statusNotFound)
		return nil
	}
	m, ok := d.read(stored.Location)
	if !ok {
		d.sendStatus(r.reply, statusNotFound)
		return nil
	}
	d.counts.Requests++
	var header []byte
	if !body.NoHeaders {
		d.scratch = appendDirectHeader(d.scratch[:0], s.Name(), &m, stored)
		header = d.scratch
	}
	if len(header)+len(m.Payload) > d.options.MaxPayload {
		d.counts.Oversized++
		d.logger.Warn("stored message is too large to be sent with its description; raise max_payload",
			"stream", s.Name(), "sequence", stored.Seq)
		d.sendStatus(r.reply, statusNotFound)
		return nil
	}
	d.bus.Publish(r.reply, nil, header, m.Payload)
	return nil
}

// directRequest reads what is asked for, or says why it is refused.
func directRequest(r *request) (*server.JSApiMsgGetRequest, string) {
	var body server.JSApiMsgGetRequest
	bySubject := len(r.args) > 1
	if len(r.payload) == 0 && !bySubject {
		return nil, statusEmptyRequest
	}
	if len(r.payload) > 0 && json.Unmarshal(r.payload, &body) != nil {
		return nil, statusMalformedRequest
	}
	nothing := body.Seq == 0 && body.LastFor == "" && body.NextFor == "" && len(body.MultiLastFor) == 0 && body.StartTime == nil
	// Several messages in one request have no answer here.
	several := len(body.MultiLastFor) > 0 || body.Batch != 0 || body.UpToSeq != 0 || body.UpToTime != nil
	switch {
	case bySubject:
		if !nothing || several {
			return nil, statusBadRequest
		}
		body.LastFor = strings.Join(r.args[1:], ".")
	case nothing:
		return nil, statusEmptyRequest
	case several || conflicting(&body):
		return nil, statusBadRequest
	}
	return &body, ""
}

// appendDirectHeader appends the headers that describe a stored message, after
// its own.
func appendDirectHeader(dst []byte, stream string, m *machine.Message, stored machine.Stored) []byte {
	dst = appendHeaderStart(dst, m.Header)
	dst = appendLine(dst, server.JSStream, stream)
	dst = append(dst, server.JSSubject+": "...)
	dst = append(dst, m.Subject...)
	dst = append(dst, crlf+server.JSSequence+": "...)
	dst = strconv.AppendUint(dst, stored.Seq, 10)
	dst = append(dst, crlf+server.JSTimeStamp+": "...)
	dst = time.Unix(0, stored.Stamp).UTC().AppendFormat(dst, time.RFC3339Nano)
	return append(dst, crlf+crlf...)
}

func appendLine(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, crlf...)
}
