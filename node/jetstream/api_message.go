package jetstream

import (
	"bytes"
	"errors"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// messageGet answers with one stored message.
func (d *Door) messageGet(r *request) any {
	resp := &server.JSApiMsgGetResponse{ApiResponse: responseOf(server.JSApiMsgGetResponseType)}
	s, body, apiErr := d.messageGetRequest(r)
	if apiErr != nil {
		resp.Error = apiErr
		return resp
	}
	stored, found := findMessage(s, body)
	if !found {
		resp.Error = server.NewJSNoMessageFoundError()
		return resp
	}
	m, ok := d.read(stored.Location)
	if !ok { // it is there, and other nodes can read it
		resp.Error = server.NewJSClusterNotAvailError()
		return resp
	}
	resp.Message = &server.StoredMsg{
		Subject:  string(m.Subject),
		Sequence: stored.Seq,
		Data:     bytes.Clone(m.Payload),
		Time:     time.Unix(0, stored.Stamp).UTC(),
	}
	if !body.NoHeaders {
		resp.Message.Header = bytes.Clone(m.Header)
	}
	return resp
}

// streamRequest finds the stream that a request names and reads its body, which
// must not be empty.
func (d *Door) streamRequest(r *request, body any) (*machine.Stream, *server.ApiError) {
	s, apiErr := d.findStream(r)
	if apiErr != nil {
		return nil, apiErr
	}
	if isEmpty(r.payload) {
		return nil, server.NewJSBadRequestError()
	}
	if err := decode(r.payload, body); err != nil {
		return nil, server.NewJSInvalidJSONError(err)
	}
	return s, nil
}

func (d *Door) messageGetRequest(r *request) (*machine.Stream, *server.JSApiMsgGetRequest, *server.ApiError) {
	var body server.JSApiMsgGetRequest
	s, apiErr := d.streamRequest(r, &body)
	if apiErr != nil {
		return nil, nil, apiErr
	}
	nothing := body.Seq == 0 && body.LastFor == "" && body.NextFor == "" && body.StartTime == nil
	if nothing || body.Batch > 0 || body.MaxBytes > 0 || conflicting(&body) {
		return nil, nil, server.NewJSBadRequestError()
	}
	return s, &body, nil
}

// conflicting reports whether a request names its message in two ways. Only
// next-by-subject goes together with a sequence or a time to start at.
func conflicting(body *server.JSApiMsgGetRequest) bool {
	return body.Seq > 0 && body.LastFor != "" ||
		body.Seq > 0 && body.StartTime != nil ||
		body.StartTime != nil && body.LastFor != "" ||
		body.LastFor != "" && body.NextFor != ""
}

// findMessage returns the message that a request names.
func findMessage(s *machine.Stream, body *server.JSApiMsgGetRequest) (machine.Stored, bool) {
	seq := body.Seq
	if body.StartTime != nil {
		seq = s.SequenceAt(body.StartTime.UnixNano())
	}
	switch {
	case seq > 0 && body.NextFor == "":
		return s.Message(seq)
	case body.NextFor != "":
		return s.Next(max(seq, 1), body.NextFor)
	default:
		return s.Last(body.LastFor)
	}
}

// messageDelete deletes one message.
func (d *Door) messageDelete(r *request) any {
	resp := &server.JSApiMsgDeleteResponse{ApiResponse: responseOf(server.JSApiMsgDeleteResponseType)}
	s, body, apiErr := d.messageDeleteRequest(r)
	if apiErr != nil {
		resp.Error = apiErr
		return resp
	}
	d.room(commandOverhead)
	d.batches.builder.DeleteMessage(s.Incarnation(), body.Seq, !body.NoErase)
	d.propose(r, func(_ *Door, result *machine.Result) any {
		resp.Error = result.Err
		resp.Success = result.Err == nil
		return resp
	})
	return nil
}

func (d *Door) messageDeleteRequest(r *request) (*machine.Stream, *server.JSApiMsgDeleteRequest, *server.ApiError) {
	var body server.JSApiMsgDeleteRequest
	s, apiErr := d.streamRequest(r, &body)
	if apiErr != nil {
		return nil, nil, apiErr
	}
	if s.Config().Sealed {
		return nil, nil, server.NewJSStreamSealedError()
	}
	if s.Config().DenyDelete {
		return nil, nil, server.NewJSStreamMsgDeleteFailedError(errors.New("message delete not permitted"))
	}
	return s, &body, nil
}
