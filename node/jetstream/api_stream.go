package jetstream

import (
	"errors"
	"strings"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// streamCreate creates a stream, or finds one with the same configuration.
func (d *Door) streamCreate(r *request) any {
	resp := &server.JSApiStreamCreateResponse{ApiResponse: responseOf(server.JSApiStreamCreateResponseType)}
	config, apiErr := d.streamConfig(r, true)
	if apiErr != nil {
		resp.Error = apiErr
		return resp
	}
	if d.queue.admitted <= 0 && d.machine.Stream(config.Name) == nil {
		resp.Error = server.NewJSStorageResourcesExceededError()
		return resp
	}
	d.batches.builder.CreateStream(config)
	d.propose(r, func(d *Door, result *machine.Result) any {
		if resp.Error = result.Err; resp.Error == nil {
			resp.StreamInfo = d.describeStream(result.Stream)
			resp.DidCreate = result.Created
		}
		return resp
	})
	return nil
}

// streamUpdate changes a stream's configuration.
func (d *Door) streamUpdate(r *request) any {
	resp := &server.JSApiStreamUpdateResponse{ApiResponse: responseOf(server.JSApiStreamUpdateResponseType)}
	config, apiErr := d.streamConfig(r, false)
	if apiErr == nil && d.machine.Stream(config.Name) == nil {
		apiErr = server.NewJSStreamNotFoundError()
	}
	if apiErr != nil {
		resp.Error = apiErr
		return resp
	}
	d.batches.builder.UpdateStream(config)
	d.propose(r, func(d *Door, result *machine.Result) any {
		if resp.Error = result.Err; resp.Error == nil {
			resp.StreamInfo = d.describeStream(result.Stream)
		}
		return resp
	})
	return nil
}

// streamConfig reads and checks the configuration in a request, with the
// defaults filled in, and makes room for it in the batch.
func (d *Door) streamConfig(r *request, create bool) (*server.StreamConfig, *server.ApiError) {
	if requiresHigherLevel(r.header) {
		return nil, server.NewJSRequiredApiLevelError()
	}
	var body server.StreamConfigRequest
	if err := decode(r.payload, &body); err != nil {
		return nil, server.NewJSInvalidJSONError(err)
	}
	body.Metadata = streamLevel(&body.StreamConfig)
	if create {
		if apiErr := checkCreate(r, &body.StreamConfig); apiErr != nil {
			return nil, apiErr
		}
	}
	config, apiErr := machine.NormalizeStream(&body.StreamConfig, d.options.Limits, body.Pedantic)
	if apiErr != nil {
		return nil, apiErr
	}
	if body.Pedantic {
		asked := *config
		if apiErr := d.machine.CheckOrigins(&asked, true); apiErr != nil {
			return nil, apiErr
		}
	}
	if r.args[0] != config.Name {
		return nil, server.NewJSStreamMismatchError()
	}
	d.room(len(r.payload) + commandOverhead)
	return config, nil
}

func checkCreate(r *request, config *server.StreamConfig) *server.ApiError {
	switch {
	case r.args[0] != config.Name:
		return server.NewJSStreamMismatchError()
	case strings.ContainsAny(config.Name, `\/`):
		return server.NewJSStreamNameContainsPathSeparatorsError()
	case config.Sealed:
		return server.NewJSStreamInvalidConfigError(errors.New("stream configuration for create can not be sealed"))
	case config.MirrorDirect && config.Mirror == nil:
		return server.NewJSStreamInvalidConfigError(errors.New("stream has no mirror but does have mirror direct"))
	}
	return nil
}

// streamDelete deletes a stream.
func (d *Door) streamDelete(r *request) any {
	resp := &server.JSApiStreamDeleteResponse{ApiResponse: responseOf(server.JSApiStreamDeleteResponseType)}
	s, apiErr := d.findStream(r)
	if !isEmpty(r.payload) {
		apiErr = server.NewJSNotEmptyRequestError()
	}
	if apiErr != nil {
		resp.Error = apiErr
		return resp
	}
	d.room(commandOverhead)
	d.batches.builder.DeleteStream(s.Incarnation())
	d.propose(r, func(_ *Door, result *machine.Result) any {
		resp.Error = result.Err
		resp.Success = result.Err == nil
		return resp
	})
	return nil
}

// streamPurge removes messages of a stream.
func (d *Door) streamPurge(r *request) any {
	resp := &server.JSApiStreamPurgeResponse{ApiResponse: responseOf(server.JSApiStreamPurgeResponseType)}
	s, body, apiErr := d.purgeRequest(r)
	if apiErr != nil {
		resp.Error = apiErr
		return resp
	}
	if body.Keep > 0 || body.Sequence > 0 || body.Subject != "" {
		d.purgeSteps(r, s, body, resp)
		return nil
	}
	d.room(len(r.payload) + commandOverhead)
	d.batches.builder.PurgeStream(s.Incarnation(), body)
	d.propose(r, func(_ *Door, result *machine.Result) any {
		if resp.Error = result.Err; resp.Error == nil {
			resp.Success, resp.Purged = true, result.Seq
		}
		return resp
	})
	return nil
}

// purgeStep is how many messages are purged before others have their turn: some
// milliseconds' worth.
const purgeStep = uint64(20_000)

// purgeSteps purges a part of a stream without holding up the others. What was
// stored after the first step is left alone.
func (d *Door) purgeSteps(r *request, s *machine.Stream, body server.JSApiStreamPurgeRequest, resp *server.JSApiStreamPurgeResponse) {
	step := max(1, purgeStep/uint64(1+s.State().Consumers/8)) // each consumer is told of each message
	d.room(len(r.payload) + commandOverhead)
	d.batches.builder.PurgeStep(s.Incarnation(), step, body)
	d.batches.waitForCall(waitCall, call{request: r, complete: func(d *Door, result *machine.Result) any {
		resp.Purged += result.Seq
		if result.Err == nil && (result.Seq == step || result.Unmet) {
			if body.Sequence == 0 {
				body.Sequence = result.Last + 1
			}
			d.purgeSteps(r, s, body, resp)
			return nil
		}
		if resp.Error = result.Err; resp.Error == nil {
			resp.Success = true
		} else {
			resp.Purged = 0
		}
		return resp
	}})
}

func (d *Door) purgeRequest(r *request) (*machine.Stream, server.JSApiStreamPurgeRequest, *server.ApiError) {
	var body server.JSApiStreamPurgeRequest
	if requiresHigherLevel(r.header) {
		return nil, body, server.NewJSRequiredApiLevelError()
	}
	if isObject(r.payload) {
		if err := decode(r.payload, &body); err != nil {
			return nil, body, server.NewJSInvalidJSONError(err)
		}
		if body.Sequence > 0 && body.Keep > 0 {
			return nil, body, server.NewJSBadRequestError()
		}
	}
	s, apiErr := d.findStream(r)
	switch {
	case apiErr != nil:
	case s.Config().Sealed:
		apiErr = server.NewJSStreamSealedError()
	case s.Config().DenyPurge:
		apiErr = server.NewJSStreamPurgeFailedError(errors.New("stream purge not permitted"))
	}
	return s, body, apiErr
}

// findStream returns the stream that the request's first argument names.
func (d *Door) findStream(r *request) (*machine.Stream, *server.ApiError) {
	if requiresHigherLevel(r.header) {
		return nil, server.NewJSRequiredApiLevelError()
	}
	if s := d.machine.Stream(r.args[0]); s != nil {
		return s, nil
	}
	return nil, server.NewJSStreamNotFoundError()
}
