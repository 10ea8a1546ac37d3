package jetstream

import (
	"slices"

	"github.com/nats-io/nats-server/v2/server"
)

// consumerRemovePeer refuses to take a member out of a consumer: every consumer is
// on every member, so there is none that could take the place.
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
	if _, apiErr := d.lookupConsumer(r); apiErr != nil {
		return apiErr
	}
	if *peer != cluster.Leader && !slices.ContainsFunc(cluster.Replicas, func(p *server.PeerInfo) bool { return p.Name == *peer }) {
		return server.NewJSClusterPeerNotMemberError()
	}
	return server.NewJSPeerRemapError()
}
