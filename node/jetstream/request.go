package jetstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// request is one API request, with memory of its own.
type request struct {
	endpoint *endpoint
	subject  string
	args     []string // tokens of the subject after the endpoint's name
	reply    []byte
	header   []byte
	payload  []byte
	fresh    bool   // a barrier was passed since it came
	after    uint64 // number of the last batch that it has to see, see arrival.go
	arrived  int64  // the log's time, nanoseconds

	answerHeader []byte // of an answer that carries no error
}

// endpoint is one kind of API request.
type endpoint struct {
	args int  // tokens after the name
	open bool // more tokens may follow
	read bool // changes nothing
	// private: nobody is told of the requests.
	private bool
	// serve returns the response; nil for none, or none yet.
	serve func(*Door, *request) any
}

// endpoints by the part of the subject after $JS.API. and before the arguments.
var endpoints = map[string]*endpoint{
	"INFO":                     {read: true, serve: (*Door).accountInfo},
	"STREAM.CREATE":            {args: 1, serve: (*Door).streamCreate},
	"STREAM.UPDATE":            {args: 1, serve: (*Door).streamUpdate},
	"STREAM.DELETE":            {args: 1, serve: (*Door).streamDelete},
	"STREAM.PURGE":             {args: 1, serve: (*Door).streamPurge},
	"STREAM.INFO":              {args: 1, read: true, serve: (*Door).streamInfo},
	"STREAM.SNAPSHOT":          {args: 1, read: true, serve: (*Door).streamSnapshot},
	"STREAM.RESTORE":           {args: 1, read: true, serve: (*Door).streamRestore},
	"STREAM.LIST":              {read: true, serve: (*Door).streamList},
	"STREAM.NAMES":             {read: true, serve: (*Door).streamNames},
	"STREAM.MSG.GET":           {args: 1, read: true, private: true, serve: (*Door).messageGet},
	"STREAM.MSG.DELETE":        {args: 1, serve: (*Door).messageDelete},
	"STREAM.LEADER.STEPDOWN":   {args: 1, read: true, serve: (*Door).streamStepDown},
	"STREAM.PEER.REMOVE":       {args: 1, read: true, serve: (*Door).streamRemovePeer},
	"STREAM.PEER.EVACUATE":     {args: 1, read: true, serve: (*Door).streamEvacuatePeer},
	"CONSUMER.CREATE":          {args: 1, open: true, serve: (*Door).consumerCreate},
	"CONSUMER.DURABLE.CREATE":  {args: 2, serve: (*Door).consumerCreateDurable},
	"CONSUMER.DELETE":          {args: 2, serve: (*Door).consumerDelete},
	"CONSUMER.PAUSE":           {args: 2, serve: (*Door).consumerPause},
	"CONSUMER.RESET":           {args: 2, private: true, serve: (*Door).consumerReset},
	"CONSUMER.UNPIN":           {args: 2, read: true, serve: (*Door).consumerUnpin},
	"CONSUMER.INFO":            {args: 2, read: true, serve: (*Door).consumerInfo},
	"CONSUMER.LIST":            {args: 1, read: true, serve: (*Door).consumerList},
	"CONSUMER.NAMES":           {args: 1, read: true, serve: (*Door).consumerNames},
	"CONSUMER.LEADER.STEPDOWN": {args: 2, read: true, serve: (*Door).consumerStepDown},
	"CONSUMER.PEER.REMOVE":     {args: 2, read: true, serve: (*Door).consumerRemovePeer},
	"CONSUMER.PEER.EVACUATE":   {args: 2, read: true, serve: (*Door).consumerEvacuatePeer},
}

const (
	nextPrefix   = apiPrefix + "CONSUMER.MSG.NEXT."
	directPrefix = apiPrefix + "DIRECT.GET."
)

// findEndpoint returns the endpoint of a subject with its arguments.
func (d *Door) findEndpoint(subject string) (*endpoint, []string) {
	if d.options.System {
		return findSystemEndpoint(subject)
	}
	return lookUp(endpoints, subject)
}

func lookUp(endpoints map[string]*endpoint, subject string) (*endpoint, []string) {
	tokens := strings.Split(strings.TrimPrefix(subject, apiPrefix), ".")
	name := ""
	for used, token := range tokens[:min(len(tokens), 3)] {
		name += token
		e := endpoints[name]
		args := tokens[used+1:]
		if e != nil && (len(args) == e.args || e.open && len(args) > e.args) {
			// CONSUMER.CREATE takes more tokens, but a name there is not one.
			return e, args
		}
		name += "."
	}
	return nil, nil
}

// handleRequest takes an API request.
func (d *Door) handleRequest(m *Message) {
	if bytes.HasPrefix(m.Subject, []byte(nextPrefix)) {
		d.handleNext(m)
		return
	}
	if d.options.System && imported(m) {
		return
	}
	subject := string(m.Subject)
	e, args := d.findEndpoint(subject)
	if e == nil {
		// The NATS server does not answer what means nothing: an account may import
		// the API under a name below which it also imports something else.
		if subject+"." == directPrefix {
			d.sendNoResponders(m.Reply, m.Subject)
		}
		return
	}
	r := &request{
		endpoint: e,
		subject:  subject,
		args:     args,
		reply:    bytes.Clone(m.Reply),
		header:   bytes.Clone(m.Header),
		payload:  bytes.Clone(m.Payload),
		arrived:  d.node.Now(),
	}
	r.after = d.lastBefore(r)
	if e.read {
		d.afterBarrier(r)
		return
	}
	d.serve(r)
}

// handleNext takes a pull request.
func (d *Door) handleNext(m *Message) {
	c := d.byName[string(m.Subject[len(nextPrefix):])]
	switch {
	case c == nil:
		d.sendNoResponders(m.Reply, m.Subject)
	case len(m.Reply) == 0:
	case c.push == nil && requiresHigherLevel(m.Header):
		d.sendStatus(m.Reply, statusRequiredLevel)
	default:
		d.handlePull(c, m.Reply, m.Payload, false)
	}
}

// serve runs a request. A change that is refused before a barrier is tried
// again after one: the refusal must not come from an old state.
func (d *Door) serve(r *request) {
	response := r.endpoint.serve(d, r)
	if response == nil {
		return
	}
	if !r.fresh && failed(response) {
		d.afterBarrier(r)
		return
	}
	d.answer(r, response)
}

// failed reports whether a response carries an error.
func failed(response any) bool {
	e, ok := response.(interface{ ToError() error })
	return ok && e.ToError() != nil
}

// answer sends a response. One that is too large is replaced by an error.
func (d *Door) answer(r *request, response any) {
	if response == nil {
		return
	}
	d.counts.Requests++
	if failed(response) {
		d.counts.RequestErrors++
	}
	audited := d.audited(r, response)
	if len(r.reply) == 0 && !audited {
		return
	}
	body, err := json.Marshal(response)
	if err != nil {
		d.logger.Error("response cannot be encoded", "subject", r.subject, "error", err)
		return
	}
	if len(body) > d.options.MaxAnswer {
		d.counts.Oversized++
		d.logger.Warn("response is too large to be sent", "subject", r.subject, "bytes", len(body), "most", d.options.MaxAnswer)
		body, _ = json.Marshal(&server.ApiResponse{
			Type:  server.JSApiSystemResponseType,
			Error: server.NewJSInsufficientResourcesError(),
		})
	}
	header := r.answerHeader
	if failed(response) {
		header = nil
	}
	if len(r.reply) > 0 {
		d.bus.Publish(r.reply, nil, header, body)
	}
	if audited {
		d.adviseRequest(r, body)
	}
}

// answerUnavailable tells a client that the cluster cannot serve it now. Direct
// reads have no such answer: the client hears that nobody listens. A pull request
// has to be sent again.
func (d *Door) answerUnavailable(r *request) {
	if r == nil {
		return
	}
	if strings.HasPrefix(r.subject, directPrefix) {
		d.sendNoResponders(r.reply, []byte(r.subject))
		return
	}
	if strings.HasPrefix(r.subject, nextPrefix) {
		d.sendStatus(r.reply, statusLeadershipChange)
		return
	}
	d.answer(r, &server.ApiResponse{Type: server.JSApiSystemResponseType, Error: server.NewJSClusterNotAvailError()})
}

// propose notes who answers a request once the command that was just added to
// the batch has been applied.
func (d *Door) propose(r *request, complete func(*Door, *machine.Result) any) {
	d.batches.asked = d.batches.open.number
	d.batches.waitForCall(waitCall, call{request: r, complete: complete})
}

// decode reads a request body, which is one object of known fields or nothing.
func decode(payload []byte, v any) error {
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.DisallowUnknownFields()
	for {
		err := decoder.Decode(v)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			var syntax *json.SyntaxError
			if errors.As(err, &syntax) {
				return fmt.Errorf("%w at offset %d", err, syntax.Offset)
			}
			return err
		}
	}
}

// isObject reports whether a payload may be a request body at all.
func isObject(payload []byte) bool {
	payload = bytes.TrimLeft(payload, " \t\r\n")
	return len(payload) > 0 && (payload[0] == '{' || payload[0] == '[')
}

// isEmpty reports whether a request body says nothing.
func isEmpty(payload []byte) bool {
	if len(payload) == 0 || string(payload) == "{}" {
		return true
	}
	var fields map[string]any
	return json.Unmarshal(payload, &fields) == nil && fields != nil && len(fields) == 0
}
