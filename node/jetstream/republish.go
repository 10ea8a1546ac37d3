package jetstream

import (
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// transforms are the subject mappings of a stream's configuration, ready to use.
type transforms struct {
	// input changes the subject under which a message is stored, before the log
	// sees it; nil for none. A subject that it does not match is kept.
	input server.SubjectTransformer
	// republish makes the subject under which a stored message is sent out again;
	// nil for none.
	republish   server.SubjectTransformer
	headersOnly bool
}

// follow takes over what a stream's configuration says about subjects. The
// configuration was checked: its transforms can be made.
func (t *transforms) follow(config *server.StreamConfig) {
	*t = transforms{}
	if m := config.SubjectTransform; m != nil {
		if made, err := server.NewSubjectTransform(m.Source, m.Destination); err == nil && made != nil {
			t.input = made
		}
	}
	if m := config.RePublish; m != nil {
		if made, err := server.NewSubjectTransform(m.Source, m.Destination); err == nil && made != nil {
			t.republish, t.headersOnly = made, m.HeadersOnly
		}
	}
}

// storedSubject is the subject under which a stream stores a message.
func (t *transforms) storedSubject(subject []byte) []byte {
	if t.input != nil {
		if changed, err := t.input.Match(string(subject)); err == nil {
			return []byte(changed)
		}
	}
	return subject
}

// republish sends a message that was stored out again, as the stream asks for. A
// leaf does not get back what it publishes, so a stream that listens to the new
// subject gets the message here.
func (d *Door) republish(e *machine.Event) {
	st := d.streams[e.Stream.Incarnation()]
	if st == nil || st.transforms.republish == nil || d.role != leading {
		return
	}
	m, ok := d.read(e.Location)
	if !ok {
		return
	}
	subject, err := st.transforms.republish.Match(string(m.Subject))
	if err != nil || !server.IsValidPublishSubject(subject) {
		return
	}
	out := Message{Subject: []byte(subject), Header: appendRepublished(nil, e, &m, st.transforms.headersOnly)}
	if !st.transforms.headersOnly {
		out.Payload = append([]byte(nil), m.Payload...)
	}
	if len(out.Header)+len(out.Payload) > d.options.MaxPayload {
		d.counts.Oversized++
		return
	}
	d.bus.Publish(out.Subject, nil, out.Header, out.Payload)
	if d.machine.Match(out.Subject) != nil {
		d.publish(&out)
	}
}

// appendRepublished appends the headers of a republished message: its own, and
// what tells a client whether it missed one (ADR-28).
func appendRepublished(dst []byte, e *machine.Event, m *machine.Message, headersOnly bool) []byte {
	dst = appendHeaderStart(dst, m.Header)
	dst = appendLine(dst, server.JSStream, e.Stream.Name())
	dst = appendLine(dst, server.JSSubject, string(m.Subject))
	dst = appendNumberLine(dst, server.JSSequence, e.Seq)
	dst = append(dst, server.JSTimeStamp+": "...)
	dst = time.Unix(0, e.Stamp).UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, crlf...)
	dst = appendNumberLine(dst, server.JSLastSequence, e.Previous)
	if headersOnly {
		dst = append(dst, server.JSMsgSize+": "...)
		dst = strconv.AppendInt(dst, int64(len(m.Payload)), 10)
		dst = append(dst, crlf...)
	}
	return append(dst, crlf...)
}
