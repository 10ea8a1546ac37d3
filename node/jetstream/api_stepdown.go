package jetstream

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats-server/v2/server"
)

// The streams and consumers of a cluster have one leader, which is that of the
// log. Whichever of them a client asks to step down, another member leads all of
// them afterwards.

// streamStepDown gives the leadership to another member.
func (d *Door) streamStepDown(r *request) any {
	resp := &server.JSApiStreamLeaderStepDownResponse{ApiResponse: responseOf(server.JSApiStreamLeaderStepDownResponseType)}
	if d.node.Cluster() == nil {
		resp.Error = server.NewJSClusterRequiredError()
	} else if d.machine.Stream(r.args[0]) == nil {
		resp.Error = server.NewJSStreamNotFoundError()
	} else {
		resp.Error = d.stepDown(r)
	}
	resp.Success = resp.Error == nil
	return resp
}

// consumerStepDown does the same.
func (d *Door) consumerStepDown(r *request) any {
	resp := &server.JSApiConsumerLeaderStepDownResponse{ApiResponse: responseOf(server.JSApiConsumerLeaderStepDownResponseType)}
	if d.node.Cluster() == nil {
		resp.Error = server.NewJSClusterRequiredError()
	} else if d.machine.Stream(r.args[0]) == nil {
		resp.Error = server.NewJSStreamNotFoundError()
	} else if _, resp.Error = d.findConsumer(r); resp.Error == nil {
		resp.Error = d.stepDown(r)
	}
	resp.Success = resp.Error == nil
	return resp
}

// stepDown asks the node to give the leadership away, to the member that the
// request prefers. It happens once the answer is on its way.
func (d *Door) stepDown(r *request) *server.ApiError {
	if requiresHigherLevel(r.header) {
		return server.NewJSRequiredApiLevelError()
	}
	var body server.JSApiLeaderStepdownRequest
	if isObject(r.payload) {
		if err := decode(r.payload, &body); err != nil {
			return server.NewJSInvalidJSONError(err)
		}
	}
	to, err := successor(d.node.Cluster(), body.Placement)
	if err != nil {
		return server.NewJSClusterNoPeersError(err)
	}
	d.node.StepDown(to)
	return nil
}

// successor is the member that a placement names; empty for any
// (getStepDownPreferredPlacement of the NATS server). Members have no tags.
func successor(cluster *server.ClusterInfo, placement *server.Placement) (string, error) {
	if placement == nil {
		return "", nil
	}
	if preferred := placement.Preferred; preferred != "" {
		if preferred == cluster.Leader {
			return "", fmt.Errorf("preferred server %q is already leader", preferred)
		}
		for _, replica := range cluster.Replicas {
			if replica.Name == preferred {
				return preferred, nil
			}
		}
		return "", fmt.Errorf("preferred server %q not known", preferred)
	}
	online := false
	for _, replica := range cluster.Replicas {
		online = online || !replica.Offline
	}
	if !online || placement.Cluster != "" && placement.Cluster != cluster.Name || len(placement.Tags) > 0 {
		return "", errors.New("no replacement peer connected")
	}
	return "", nil
}
