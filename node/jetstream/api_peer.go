package jetstream

import (
	"github.com/nats-io/nats-server/v2/server"
)

// streamRemovePeer refuses to take a member out of a stream: every stream is on
// every member, so there is none that could take the place.
func (d *Door) streamRemovePeer(r *request) any {
	resp := &server.JSApiStreamRemovePeerResponse{ApiResponse: responseOf(server.JSApiStreamRemovePeerResponseType)}
	var body server.JSApiStreamRemovePeerRequest
	resp.Error = d.refusePeer(r, &body, &body.Peer)
	return resp
}

// streamEvacuatePeer does the same.
func (d *Door) streamEvacuatePeer(r *request) any {
	resp := &server.JSApiStreamEvacuatePeerResponse{ApiResponse: responseOf(server.JSApiStreamEvacuatePeerResponseType)}
	var body server.JSApiStreamEvacuatePeerRequest
	resp.Error = d.refusePeer(r, &body, &body.Peer)
	return resp
}

// consumerRemovePeer refuses to take a member out of a consumer.
func (d *Door) consumerRemovePeer(r *request) any {
	resp := &server.JSApiConsumerRemovePeerResponse{ApiResponse: responseOf(server.JSApiConsumerRemovePeerResponseType)}
	var body server.JSApiConsumerRemovePeerRequest
	resp.Error = d.refusePeer(r, &body, &body.Peer)
	return resp
}

// consumerEvacuatePeer does the same.
func (d *Door) consumerEvacuatePeer(r *request) any {
	resp := &server.JSApiConsumerEvacuatePeerResponse{ApiResponse: responseOf(server.JSApiConsumerEvacuatePeerResponseType)}
	var body server.JSApiConsumerEvacuatePeerRequest
	resp.Error = d.refusePeer(r, &body, &body.Peer)
	return resp
}

// refusePeer says why, in the order in which a cluster of the NATS server does.
// Peer is where decoding the body puts the member's name.
func (d *Door) refusePeer(r *request, body any, peer *string) *server.ApiError {
	cluster := d.node.Cluster()
	switch {
	case cluster == nil:
		return server.NewJSClusterRequiredError()
	case requiresHigherLevel(r.header):
		return server.NewJSRequiredApiLevelError()
	case isEmpty(r.payload):
		return server.NewJSBadRequestError()
	}
	if err := decode(r.payload, body); err != nil {
		return server.NewJSInvalidJSONError(err)
	}
	if *peer == "" {
		return server.NewJSBadRequestError()
	}
	if len(r.args) > 1 {
		if _, apiErr := d.lookupConsumer(r); apiErr != nil {
			return apiErr
		}
	} else if d.machine.Stream(r.args[0]) == nil {
		return server.NewJSStreamNotFoundError()
	}
	if !isMember(cluster, *peer) {
		return server.NewJSClusterPeerNotMemberError()
	}
	return server.NewJSPeerRemapError()
}
