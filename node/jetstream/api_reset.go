package jetstream

import (
	"encoding/json"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// consumerReset makes a consumer go on at a sequence, or behind its ack floor.
// With an empty payload it is the latter.
func (d *Door) consumerReset(r *request) any {
	resp := &server.JSApiConsumerResetResponse{ApiResponse: responseOf(server.JSApiConsumerResetResponseType)}
	var body server.JSApiConsumerResetRequest
	c, apiErr := d.resetRequest(r, &body)
	if apiErr != nil {
		resp.Error = apiErr
		return resp
	}
	r.identifyReset(c.Stream())
	d.room(commandOverhead)
	d.batches.builder.ResetConsumer(c.Incarnation(), body.Seq)
	d.propose(r, func(d *Door, result *machine.Result) any {
		if resp.Error = result.Err; resp.Error != nil {
			return resp
		}
		if c := d.consumers[result.Consumer.Incarnation()]; c != nil {
			d.schedule(c)
		}
		resp.ConsumerInfo, resp.ResetSeq = d.describeReset(result), result.Seq
		return resp
	})
	return nil
}

// describeReset describes a consumer as it was right after it was reset. The
// same entry of the log may have delivered to it again; who asks takes what the
// info says for delivered before.
func (d *Door) describeReset(result *machine.Result) *server.ConsumerInfo {
	info := d.describeConsumer(result.Consumer)
	if info.Delivered.Consumer > 0 {
		info.Delivered = server.SequenceInfo{Stream: result.Seq - 1}
		info.AckFloor = info.Delivered
	}
	return info
}

func (d *Door) resetRequest(r *request, body *server.JSApiConsumerResetRequest) (*machine.Consumer, *server.ApiError) {
	c, apiErr := d.lookupConsumer(r)
	if apiErr != nil {
		return nil, apiErr
	}
	if requiresHigherLevel(r.header) {
		return nil, server.NewJSRequiredApiLevelError()
	}
	if len(r.payload) > 0 {
		if err := json.Unmarshal(r.payload, body); err != nil {
			return nil, server.NewJSInvalidJSONError(err)
		}
	}
	return c, nil
}
