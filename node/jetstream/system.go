package jetstream

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// The door of the system account serves what operators ask of the cluster as a
// whole, and answers for the accounts that have no JetStream. It has no streams.

// RefusedPrefix is where the NATS server sends the API requests of accounts
// without JetStream, in the system account.
const RefusedPrefix = "$JS.REFUSED.API."

// systemEndpoints are served in the system account, in a cluster.
var systemEndpoints = map[string]*endpoint{
	"META.LEADER.STEPDOWN":       {read: true, serve: (*Door).metaStepDown},
	"SERVER.REMOVE":              {read: true, serve: (*Door).serverRemove},
	"SERVER.EVACUATE":            {read: true, serve: (*Door).serverEvacuate},
	"ACCOUNT.PURGE":              {args: 1, serve: (*Door).accountPurge},
	"ACCOUNT.STREAM.MOVE":        {args: 2, read: true, serve: (*Door).streamMove},
	"ACCOUNT.STREAM.CANCEL_MOVE": {args: 2, read: true, serve: (*Door).streamCancelMove},
}

// systemSubjects are those that the door listens to in the system account.
var systemSubjects = []string{server.JSApiAccountInfo, apiPrefix + "META.>", apiPrefix + "SERVER.>", apiPrefix + "ACCOUNT.>", RefusedPrefix + ">"}

// imported reports whether a request comes from another account, which is not for
// the system account to answer: the NATS server imports the API there into every
// account with JetStream, as if the API were served from it, and notes about such
// a request who sent it. The door of that account has it as well.
func imported(r *Message) bool {
	return bytes.HasPrefix(r.Subject, []byte(apiPrefix)) && len(headerValue(r.Header, server.ClientInfoHdr)) > 0
}

// refusedEndpoint answers everything that is asked of an account without JetStream.
var refusedEndpoint = &endpoint{read: true, private: true, serve: (*Door).refuseAccount}

// findSystemEndpoint returns what serves a subject in the system account.
func findSystemEndpoint(subject string) (*endpoint, []string) {
	refused := strings.HasPrefix(subject, RefusedPrefix)
	if refused {
		subject = apiPrefix + strings.TrimPrefix(subject, RefusedPrefix)
	} else if e, args := lookUp(systemEndpoints, subject); e != nil {
		return e, args
	}
	if e, _ := lookUp(endpoints, subject); e != nil {
		return refusedEndpoint, nil
	}
	return nil, nil
}

// refuseAccount says that the account has no JetStream.
func (d *Door) refuseAccount(r *request) any {
	kind := responseType(strings.TrimPrefix(strings.TrimPrefix(r.subject, RefusedPrefix), apiPrefix))
	return &server.ApiResponse{Type: kind, Error: server.NewJSNotEnabledForAccountError()}
}

// responseType is the type of the answers to requests of a name.
func responseType(name string) string {
	switch tokens := strings.Split(name, "."); {
	case name == "INFO":
		return server.JSApiAccountInfoResponseType
	case len(tokens) > 2 && tokens[1] == "DURABLE":
		return server.JSApiConsumerCreateResponseType
	case len(tokens) > 2 && tokens[1] == "PEER":
		name = tokens[0] + "_" + tokens[2] + "_" + tokens[1]
	case len(tokens) > 2 && (tokens[1] == "MSG" || tokens[1] == "LEADER"):
		name = strings.Join(tokens[:3], "_")
	case len(tokens) > 1:
		name = tokens[0] + "_" + tokens[1]
	}
	return "io.nats.jetstream.api.v1." + strings.ToLower(name) + "_response"
}

// metaStepDown gives the leadership of everything to another member.
func (d *Door) metaStepDown(r *request) any {
	if d.node.Cluster() == nil {
		return nil
	}
	resp := &server.JSApiLeaderStepDownResponse{ApiResponse: responseOf(server.JSApiLeaderStepDownResponseType)}
	resp.Error = d.stepDown(r)
	resp.Success = resp.Error == nil
	return resp
}

var errFixedMembers = errors.New("the members are those of the configuration; take one out of it on every node, and start them again")

// serverRemove refuses to take a member out of the cluster: who belongs to it
// is configured.
func (d *Door) serverRemove(r *request) any {
	resp := &server.JSApiMetaServerRemoveResponse{ApiResponse: responseOf(server.JSApiMetaServerRemoveResponseType)}
	var body server.JSApiMetaServerRemoveRequest
	if resp.Error = d.namedMember(r, &body, &body.Peer, &body.Server); resp.Error == nil {
		resp.Error = server.NewJSRaftGeneralError(errFixedMembers)
	}
	return inCluster(d, resp)
}

// serverEvacuate refuses to move the streams of a member to others, which have
// them anyway.
func (d *Door) serverEvacuate(r *request) any {
	resp := &server.JSApiMetaServerEvacuateResponse{ApiResponse: responseOf(server.JSApiMetaServerEvacuateResponseType)}
	var body server.JSApiMetaServerEvacuateRequest
	if resp.Error = d.namedMember(r, &body, &body.Peer, &body.Server); resp.Error == nil {
		resp.Error = server.NewJSPeerRemapError()
	}
	return inCluster(d, resp)
}

// inCluster is the response, or silence from a node that is alone.
func inCluster(d *Door, resp any) any {
	if d.node.Cluster() == nil {
		return nil
	}
	return resp
}

// namedMember checks a request about a member, in the order in which the NATS
// server does. Peer and name are where decoding the body puts who is meant.
func (d *Door) namedMember(r *request, body any, peer, name *string) *server.ApiError {
	if requiresHigherLevel(r.header) {
		return server.NewJSRequiredApiLevelError()
	}
	if isEmpty(r.payload) {
		return server.NewJSBadRequestError()
	}
	if err := decode(r.payload, body); err != nil {
		return server.NewJSInvalidJSONError(err)
	}
	if *peer != "" {
		name = peer
	}
	if !isMember(d.node.Cluster(), *name) {
		return server.NewJSClusterServerNotMemberError()
	}
	return nil
}

// isMember reports whether a cluster has a member of that name.
func isMember(cluster *server.ClusterInfo, name string) bool {
	return cluster != nil && name != "" && (name == cluster.Leader ||
		slices.ContainsFunc(cluster.Replicas, func(p *server.PeerInfo) bool { return p.Name == name }))
}

// accountPurge deletes every stream of an account.
func (d *Door) accountPurge(r *request) any {
	resp := &server.JSApiAccountPurgeResponse{ApiResponse: responseOf(server.JSApiAccountPurgeResponseType)}
	switch {
	case strings.ContainsAny(r.args[0], `\/`):
		resp.Error = server.NewJSStreamGeneralError(errors.New("account name can not contain path separators"))
		return resp
	case d.node.Cluster() != nil && requiresHigherLevel(r.header):
		resp.Error = server.NewJSRequiredApiLevelError()
		return resp
	}
	streams := d.log.Account(machineAccount(r.args[0])).Streams()
	d.logger.Info("all streams of an account are deleted, as the system account asks", "account", r.args[0], "streams", len(streams))
	if resp.Initiated = true; len(streams) == 0 {
		return resp
	}
	for i, s := range streams {
		d.room(commandOverhead)
		d.batches.builder.DeleteStream(s.Incarnation())
		if i < len(streams)-1 {
			d.batches.wait(waiter{})
			continue
		}
		d.propose(r, func(*Door, *machine.Result) any { return resp })
	}
	return nil
}

// machineAccount is what the machine calls an account of the NATS server.
func machineAccount(name string) string {
	if name == server.DEFAULT_GLOBAL_ACCOUNT {
		return machine.DefaultAccount
	}
	return name
}

// streamMove refuses to move a stream: every stream is on every member.
func (d *Door) streamMove(r *request) any {
	resp := &server.JSApiStreamUpdateResponse{ApiResponse: responseOf(server.JSApiStreamUpdateResponseType)}
	var body server.JSApiMetaServerStreamMoveRequest
	if requiresHigherLevel(r.header) {
		resp.Error = server.NewJSRequiredApiLevelError()
	} else if err := decode(r.payload, &body); err != nil {
		resp.Error = server.NewJSInvalidJSONError(err)
	} else if resp.Error = d.movable(r); resp.Error == nil {
		resp.Error = server.NewJSClusterNoPeersError(errors.New("every member has the stream already"))
		if body.Server != "" && !isMember(d.node.Cluster(), body.Server) {
			resp.Error = server.NewJSClusterServerNotMemberError()
		}
	}
	return inCluster(d, resp)
}

// streamCancelMove says that no stream is being moved.
func (d *Door) streamCancelMove(r *request) any {
	resp := &server.JSApiStreamCancelMoveResponse{ApiResponse: responseOf(server.JSApiStreamCancelMoveResponseType)}
	if requiresHigherLevel(r.header) {
		resp.Error = server.NewJSRequiredApiLevelError()
	} else if resp.Error = d.movable(r); resp.Error == nil {
		resp.Error = server.NewJSStreamReconfigureNotInProgressError()
	}
	return inCluster(d, resp)
}

// movable looks for the account and the stream that a request names.
func (d *Door) movable(r *request) *server.ApiError {
	name := machineAccount(r.args[0])
	account := d.log.Account(name)
	served := slices.ContainsFunc(d.queue.doors, func(o *Door) bool { return o.machine == account })
	switch {
	case !served && account.StreamCount() == 0:
		return server.NewJSNoAccountError()
	case account.Stream(r.args[1]) == nil:
		return server.NewJSStreamNotFoundError()
	}
	return nil
}
