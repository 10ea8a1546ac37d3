package jetstream

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// Operators ask every server of a cluster for a report about its JetStream
// (`nats server report jetstream`). The embedded NATS server would say that its own
// is off, so it maps the subject of such a request, in the system account, to
// ReportSubject, and the door of that account answers: on every node that knows who
// leads, each for itself.

const (
	// ReportSource is the subject that the NATS server would answer itself. The
	// wildcard is the ID of a server, or PING for all.
	ReportSource = "$SYS.REQ.SERVER.*.JSZ"
	// ReportSubject is what it is mapped to, with the same token at the end.
	ReportSubject = reportPrefix + "{{wildcard(1)}}"

	reportPrefix = "$JS.REPORT.JSZ."
	reportPing   = "PING"
	// reportedAccounts is how many accounts a report tells of if nobody says so.
	reportedAccounts = 1024
	// badRequest is the status of HTTP that says so.
	badRequest = 400
)

// report answers a request for a report, in the way of zReq of the NATS server.
func (d *Door) report(m *Message) {
	if d.options.Server == nil || len(m.Reply) == 0 {
		return
	}
	info := d.options.Server()
	if to := string(m.Subject[len(reportPrefix):]); info == nil || to != reportPing && to != info.ID {
		return
	}
	info.Domain, info.JetStream, info.Time = d.options.Domain, true, d.time()
	var asked server.JszEventOptions
	response := server.ServerAPIResponse{Server: info}
	if err := json.Unmarshal(m.Payload, &asked); err != nil && len(m.Payload) > 0 {
		response.Error = &server.ApiError{Code: badRequest, Description: err.Error()}
	} else if !concernsServer(info, &asked.EventFilterOptions) || asked.LeaderOnly && !d.leadsCluster() {
		return
	} else {
		response.Data = d.reportJetStream(info, &asked.JSzOptions)
	}
	if body, err := json.Marshal(&response); err == nil && len(body) <= d.options.MaxAnswer {
		d.bus.Publish(m.Reply, nil, nil, body)
	}
}

func (d *Door) leadsCluster() bool {
	cluster := d.node.Cluster()
	return cluster == nil || cluster.Leader == d.options.Name
}

// concernsServer reports whether a request is for that server, by what it asks for.
func concernsServer(info *server.ServerInfo, filter *server.EventFilterOptions) bool {
	matches := func(is, wanted string) bool {
		return wanted == "" || is == wanted || !filter.ExactMatch && strings.Contains(is, wanted)
	}
	if !matches(info.Name, filter.Name) || !matches(info.Host, filter.Host) || !matches(info.Cluster, filter.Cluster) ||
		filter.Domain != "" && filter.Domain != info.Domain {
		return false
	}
	for _, tag := range filter.Tags {
		if !slices.Contains(info.Tags, tag) {
			return false
		}
	}
	return true
}

// reportJetStream describes what this node has.
func (d *Door) reportJetStream(info *server.ServerInfo, asked *server.JSzOptions) *server.JSInfo {
	cluster := d.node.Cluster()
	leads := d.leadsCluster()
	report := &server.JSInfo{ID: info.ID, Now: d.time(), Config: server.JetStreamConfig{Domain: d.options.Domain}, Meta: describeMeta(cluster, d.options.Members)}
	report.API.Level = server.JSApiLevel
	for _, o := range d.queue.doors {
		stats := o.apiStats()
		report.API.Total += stats.Total
		report.API.Errors += stats.Errors
	}
	var details []*server.AccountDetail
	streams := d.log.Streams() // by account
	for from := 0; from < len(streams); {
		account, to := streams[from].Account(), from
		for to < len(streams) && streams[to].Account() == account {
			to++
		}
		detail := d.reportAccount(account, streams[from:to], asked, leads)
		for _, s := range streams[from:to] {
			state := s.State()
			report.Messages, report.Bytes = report.Messages+state.Msgs, report.Bytes+state.Bytes
			report.Consumers += state.Consumers
		}
		report.Memory, report.Store = report.Memory+detail.Memory, report.Store+detail.Store
		report.ReservedMemory += detail.ReservedMemory
		report.ReservedStore += detail.ReservedStore
		details = append(details, detail)
		from = to
	}
	report.Streams, report.Accounts, report.Total = len(streams), len(details), len(details)
	if asked.RaftGroups && leads {
		report.StreamsLeader, report.ConsumersLeader = report.Streams, report.Consumers
	}
	report.AccountDetails = chosenAccounts(details, asked)
	return report
}

// chosenAccounts are the accounts that a request wants to have described.
func chosenAccounts(details []*server.AccountDetail, asked *server.JSzOptions) []*server.AccountDetail {
	if at := slices.IndexFunc(details, func(a *server.AccountDetail) bool { return a.Name == asked.Account }); at >= 0 {
		return details[at : at+1]
	}
	if !asked.Accounts && (!asked.Streams && !asked.Consumer || asked.Account != "") {
		return nil
	}
	limit := asked.Limit
	if limit <= 0 {
		limit = reportedAccounts
	}
	from := min(max(asked.Offset, 0), len(details))
	return details[from:min(from+limit, len(details))]
}

// reportAccount describes an account, with its streams if they are asked for.
func (d *Door) reportAccount(a *machine.Account, streams []*machine.Stream, asked *server.JSzOptions, leads bool) *server.AccountDetail {
	name := a.Name()
	if name == machine.DefaultAccount {
		name = server.DEFAULT_GLOBAL_ACCOUNT
	}
	detail := &server.AccountDetail{Name: name, Id: name}
	detail.ReservedMemory, detail.ReservedStore = a.Reserved()
	detail.API.Level = server.JSApiLevel
	describes := (asked.Streams || asked.Consumer) && (leads || !asked.StreamLeaderOnly) && (asked.Account == "" || asked.Account == name)
	for _, s := range streams {
		if bytes := s.State().Bytes; s.Config().Storage == server.MemoryStorage {
			detail.Memory += bytes
		} else {
			detail.Store += bytes
		}
		if describes {
			detail.Streams = append(detail.Streams, d.reportStream(s, asked))
		}
	}
	return detail
}

func (d *Door) reportStream(s *machine.Stream, asked *server.JSzOptions) server.StreamDetail {
	detail := server.StreamDetail{Name: s.Name(), Created: s.Created(), Cluster: d.node.Cluster(), State: s.State()}
	if asked.Config {
		config := *s.Config()
		config.Metadata = withVersion(config.Metadata)
		detail.Config = &config
	}
	if asked.RaftGroups {
		detail.RaftGroup = s.Name() // all are in one group; tools tell streams apart by this
	}
	if asked.Consumer {
		for _, c := range s.Consumers() {
			consumer := d.describeConsumer(c)
			if !asked.Config {
				consumer.Config = nil
			}
			detail.Consumer = append(detail.Consumer, consumer)
			if asked.RaftGroups {
				detail.ConsumerRaftGroups = append(detail.ConsumerRaftGroups, &server.RaftGroupDetail{Name: c.Name(), RaftGroup: s.Name() + "." + c.Name()})
			}
		}
	}
	return detail
}

// describeMeta describes the cluster as the group of servers that JetStream's meta
// data are in; nil: there is no cluster.
func describeMeta(cluster *server.ClusterInfo, members int) *server.MetaClusterInfo {
	if cluster == nil {
		return nil
	}
	meta := &server.MetaClusterInfo{Name: cluster.Name, Leader: cluster.Leader, Peer: cluster.Leader, Size: members, QuorumNeeded: members/2 + 1}
	for _, p := range cluster.Replicas {
		replica := *p
		replica.Peer = p.Name
		meta.Replicas = append(meta.Replicas, &replica)
	}
	return meta
}

// listenForReports begins or ends to answer requests for reports.
func (d *Door) listenForReports(listen bool) {
	switch {
	case !d.options.System:
	case listen:
		d.bus.Subscribe(reportPrefix+"*", "")
	default:
		d.bus.Unsubscribe(reportPrefix+"*", "")
	}
}

// isReport reports whether a message asks for a report.
func (d *Door) isReport(m *Message) bool {
	return d.options.System && bytes.HasPrefix(m.Subject, []byte(reportPrefix))
}
