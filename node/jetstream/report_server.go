package jetstream

import (
	"fmt"
	"maps"
	"slices"

	"github.com/nats-io/nats-server/v2/server"
)

// reportStatsz tells what a server does at the moment. The NATS server tells the
// parts.
func (d *Door) reportStatsz(q *inquiry) {
	var asked server.StatszEventOptions
	if !d.accepts(q, &asked, &asked.EventFilterOptions) {
		return
	}
	inspect(d, q, readStats, func(stats *server.ServerStats) {
		stats.JetStream = d.describeJetStream()
		stats.JetStream.Config.StoreDir = ""
		if meta := stats.JetStream.Meta; meta != nil && !d.leadsCluster() {
			meta.Replicas = nil // only the leader tells them, as there
		}
		d.sendReport(q, &server.ServerStatsMsg{Server: *q.info, Stats: *stats})
	})
}

// readStats gathers what sendStatsz of the NATS server tells, but for JetStream.
func readStats(s *server.Server) (*server.ServerStats, error) {
	v, err := s.Varz(nil)
	if err != nil {
		return nil, err
	}
	routes, err := s.Routez(nil)
	if err != nil {
		return nil, err
	}
	gateways, err := s.Gatewayz(nil)
	if err != nil {
		return nil, err
	}
	stats := &server.ServerStats{
		Start: v.Start, Mem: v.Mem, Cores: v.Cores, CPU: v.CPU, MemLimit: v.MemLimit, MaxProcs: v.MaxProcs,
		Connections: v.Connections, TotalConnections: v.TotalConnections, NumSubs: v.Subscriptions,
		Sent: dataStats(v.OutMsgs, v.OutBytes), SentToClients: dataStats(v.OutClientMsgs, v.OutClientBytes),
		Received: dataStats(v.InMsgs, v.InBytes), ReceivedFromClients: dataStats(v.InClientMsgs, v.InClientBytes),
		SlowConsumers: v.SlowConsumers, StaleConnections: v.StaleConnections, StalledClients: v.StalledClients,
		StaleConnectionStats: v.StaleConnectionStats,
		ActiveAccounts:       int(s.NumActiveAccounts()), ActiveServers: 1 + s.TrackedRemoteServers(),
	}
	if slow := v.SlowConsumersStats; slow != nil && *slow != (server.SlowConsumersStats{}) {
		stats.SlowConsumersStats = slow
	}
	for _, r := range routes.Routes {
		stats.Routes = append(stats.Routes, &server.RouteStat{
			ID: r.Rid, Name: r.RemoteName, Pending: r.Pending, Sent: dataStats(r.OutMsgs, r.OutBytes), Received: dataStats(r.InMsgs, r.InBytes),
		})
	}
	for _, name := range slices.Sorted(maps.Keys(gateways.OutboundGateways)) {
		stat := &server.GatewayStat{Name: name, NumInbound: len(gateways.InboundGateways[name])}
		if out := gateways.OutboundGateways[name].Connection; out != nil {
			stat.ID, stat.Sent = out.Cid, dataStats(out.OutMsgs, out.OutBytes)
		}
		for _, in := range gateways.InboundGateways[name] {
			if in.Connection != nil {
				stat.Received.Msgs += in.Connection.InMsgs
				stat.Received.Bytes += in.Connection.InBytes
			}
		}
		stats.Gateways = append(stats.Gateways, stat)
	}
	return stats, nil
}

func dataStats(messages, bytes int64) (stats server.DataStats) {
	stats.Msgs, stats.Bytes = messages, bytes
	return stats
}

// reportVarz tells how a server is configured, and what it does.
func (d *Door) reportVarz(q *inquiry) {
	var asked server.VarzEventOptions
	if !d.accepts(q, &asked, &asked.EventFilterOptions) {
		return
	}
	inspect(d, q, func(s *server.Server) (*server.Varz, error) { return s.Varz(&asked.VarzOptions) }, func(varz *server.Varz) {
		varz.JetStream = *d.describeJetStream()
		d.respond(q, varz)
	})
}

// describeJetStream describes the configuration and use of what the node has, and
// the cluster.
func (d *Door) describeJetStream() *server.JetStreamVarz {
	stats := server.JetStreamStats{API: d.allAPIStats()}
	for _, a := range d.reportedAccounts() {
		memory, store := a.Stored()
		stats.Memory, stats.Store = stats.Memory+memory, stats.Store+store
		memory, store = a.Reserved()
		stats.ReservedMemory, stats.ReservedStore = stats.ReservedMemory+memory, stats.ReservedStore+store
		stats.Accounts++
	}
	return &server.JetStreamVarz{
		Config: d.storage(), Stats: &stats, Limits: d.jetStreamLimits(), Meta: describeMeta(d.node.Cluster(), d.options.Members),
	}
}

// storage is the configuration of JetStream that is reported.
func (d *Door) storage() *server.JetStreamConfig {
	config := d.options.Storage
	config.Domain = d.options.Domain
	return &config
}

func (d *Door) jetStreamLimits() *server.JSLimitOpts {
	limits := &d.options.Limits
	all := &server.JSLimitOpts{MaxRequestBatch: limits.MaxRequestBatch, MaxAckPending: limits.MaxAckPending, Duplicates: limits.Duplicates}
	for _, o := range d.queue.doors {
		if allowed := o.options.Allowed; allowed != nil { // the system account may use nothing
			all.DefaultMaxConsumers = allowed.DefaultMaxConsumers
		}
	}
	return all
}

// allAPIStats counts the API requests of all accounts that this node answered.
func (d *Door) allAPIStats() server.JetStreamAPIStats {
	all := server.JetStreamAPIStats{Level: server.JSApiLevel}
	for _, o := range d.queue.doors {
		stats := o.apiStats()
		all.Total, all.Errors = all.Total+stats.Total, all.Errors+stats.Errors
	}
	return all
}

// reportAccountz tells which accounts a server has, or about one.
func (d *Door) reportAccountz(q *inquiry) {
	var asked server.AccountzEventOptions
	if !d.accepts(q, &asked, &asked.EventFilterOptions) {
		return
	}
	d.inspectAccounts(q, &asked.AccountzOptions, func(accounts *server.Accountz) { d.respond(q, accounts) })
}

// inspectAccounts has the NATS server tell of accounts, and adds what the node knows.
func (d *Door) inspectAccounts(q *inquiry, asked *server.AccountzOptions, answer func(*server.Accountz)) {
	inspect(d, q, func(s *server.Server) (*server.Accountz, error) { return s.Accountz(asked) }, func(accounts *server.Accountz) {
		if one := accounts.Account; one != nil {
			one.JetStream = d.servesAccount(one.AccountName)
		}
		answer(accounts)
	})
}

// reportAccountInfo tells about an account.
func (d *Door) reportAccountInfo(q *inquiry) {
	var asked server.AccInfoEventOptions
	if !d.accepts(q, &asked, &asked.EventFilterOptions) {
		return
	}
	d.inspectAccounts(q, &server.AccountzOptions{Account: q.account}, func(accounts *server.Accountz) { d.respond(q, accounts.Account) })
}

// servesAccount reports whether an account of the NATS server has JetStream here.
func (d *Door) servesAccount(name string) bool {
	return slices.Contains(d.options.Served, machineAccount(name))
}

const (
	healthy     = "ok"
	unavailable = "unavailable"
	notFound    = 404
)

// reportHealthz tells whether a server can be used, and what it has is up to date.
func (d *Door) reportHealthz(q *inquiry) {
	var asked server.HealthzEventOptions
	if !d.accepts(q, &asked, &asked.EventFilterOptions) {
		return
	}
	first := asked.HealthzOptions
	first.JSServerOnly = true // what the request lacks, and connections
	inspect(d, q, func(s *server.Server) (*server.HealthStatus, error) { return s.Healthz(&first), nil }, func(status *server.HealthStatus) {
		enabledOnly := asked.JSEnabledOnly || asked.JSEnabled //lint:ignore SA1019 old clients say it so
		if status.Status == healthy && !asked.JSServerOnly && !enabledOnly {
			d.checkHealth(status, &asked.HealthzOptions)
		}
		d.respond(q, status)
	})
}

// checkHealth checks what healthz of the NATS server does of a server in a cluster: that
// it follows a leader, and has the stream and the consumer that are asked for.
func (d *Door) checkHealth(status *server.HealthStatus, asked *server.HealthzOptions) {
	complain := func(e server.HealthzError) {
		if asked.Details {
			status.Errors = append(status.Errors, e)
			status.Status = "error"
		} else {
			status.Status, status.Error = unavailable, e.Error
		}
	}
	cluster := d.node.Cluster()
	switch {
	case cluster != nil && cluster.Leader == "":
		status.StatusCode = 503
		complain(server.HealthzError{Type: server.HealthzErrorJetStream, Error: "JetStream has not established contact with a meta leader"})
		return
	case d.direct.state != directOpen && d.role != leading:
		status.StatusCode = 503
		complain(server.HealthzError{Type: server.HealthzErrorJetStream, Error: "JetStream is not current with the meta leader"})
		return
	case asked.JSMetaOnly || asked.Account == "":
		return
	}
	account := d.log.Account(machineAccount(asked.Account))
	stream := account.Stream(asked.Stream)
	e := server.HealthzError{Type: server.HealthzErrorAccount, Account: asked.Account}
	switch {
	case account.StreamCount() == 0:
		e.Error = fmt.Sprintf("JetStream account %q not found", asked.Account)
	case asked.Stream != "" && stream == nil:
		e.Type, e.Stream = server.HealthzErrorStream, asked.Stream
		e.Error = fmt.Sprintf("JetStream stream %q not found on account %q", asked.Stream, asked.Account)
	case asked.Stream != "" && asked.Consumer != "" && stream.Consumer(asked.Consumer) == nil:
		e.Type, e.Stream, e.Consumer = server.HealthzErrorConsumer, asked.Stream, asked.Consumer
		e.Error = fmt.Sprintf("JetStream consumer %q not found for stream %q on account %q", asked.Consumer, asked.Stream, asked.Account)
	default:
		return
	}
	status.StatusCode = notFound
	complain(e)
}
