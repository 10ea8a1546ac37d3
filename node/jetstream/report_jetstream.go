package jetstream

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

const (
	// pageOfAccounts is how many accounts a report tells of if nobody says so.
	pageOfAccounts = 1024
	// maxReports bounds the reports under way. One is made after the other, and takes
	// as much memory as an answer may have.
	maxReports = 64
	// A report is made in pieces of reportPiece, and others have their turn in
	// between: a stream that is only counted costs 1, what is described describeCost.
	// 10,000 streams with 100,000 consumers are 860 pieces, of about a millisecond.
	reportPiece  = 1024
	describeCost = 8
)

// packedHeader is the header of an answer that is packed (sendInternalResponse of the
// NATS server).
const packedHeader = "NATS/1.0\r\nContent-Encoding: snappy\r\n\r\n"

// jetStreamReport tells the streams and consumers of a node, as far as it was asked.
// What is deleted while it is made is left out; numbers of different streams are of
// different moments.
type jetStreamReport struct {
	*inquiry
	asked server.JSzOptions
	leads bool // this node does
	total server.JSInfo

	accounts  []*machine.Account  // to come
	ahead     int                 // accounts before those that are told (JSzOptions.Offset)
	most      int                 // accounts to be told from there on
	streams   []*machine.Stream   // of the account under way, to come
	consumers []*machine.Consumer // of the stream under way, to be described
	groups    []*machine.Consumer // of the stream under way, whose Raft group is to be told
	tells     bool                // the account under way is told
	describes bool                // and so are its streams
	open      bool                // a stream is under way

	outline outline
	buffer  bytes.Buffer
	packer  *s2.Writer // nil: not packed
}

// reportJsz begins a report of everything.
func (d *Door) reportJsz(q *inquiry) {
	var asked server.JszEventOptions
	if !d.accepts(q, &asked, &asked.EventFilterOptions) {
		return
	}
	if asked.LeaderOnly && !d.leadsCluster() {
		if q.told != nil {
			q.told(nil)
		}
		return
	}
	asked.Streams = asked.Streams || asked.Consumer
	r := &jetStreamReport{inquiry: q, asked: asked.JSzOptions, leads: d.leadsCluster(), accounts: d.reportedAccounts()}
	switch one := slices.IndexFunc(r.accounts, func(a *machine.Account) bool { return natsAccount(a) == asked.Account }); {
	case one >= 0:
		r.ahead, r.most = one, 1
	case asked.Accounts || asked.Streams && asked.Account == "":
		r.ahead, r.most = max(asked.Offset, 0), asked.Limit
		if asked.Limit <= 0 {
			r.most = pageOfAccounts
		}
	}
	r.total = server.JSInfo{
		ID: q.info.ID, Now: d.time(), Config: *d.storage(), Limits: d.jetStreamLimits(), Meta: describeMeta(d.node.Cluster(), d.options.Members), Total: len(r.accounts),
	}
	r.total.API, r.total.Accounts = d.allAPIStats(), len(r.accounts)
	d.begin(r)
	r.outline.begin("", struct{}{})
}

// reportAccountJsz begins a report of an account.
func (d *Door) reportAccountJsz(q *inquiry) {
	var asked server.JszEventOptions
	if !d.accepts(q, &asked, &asked.EventFilterOptions) {
		return
	}
	if !d.servesAccount(q.account) {
		inspect(d, q, func(s *server.Server) (struct{}, error) {
			if _, gone := s.Accountz(&server.AccountzOptions{Account: q.account}); gone != nil {
				return struct{}{}, fmt.Errorf("account %q not found", q.account)
			}
			return struct{}{}, fmt.Errorf("account %q not jetstream enabled", q.account)
		}, func(struct{}) {})
		return
	}
	r := &jetStreamReport{inquiry: q, asked: asked.JSzOptions, leads: d.leadsCluster(), accounts: []*machine.Account{d.log.Account(machineAccount(q.account))}, most: 1}
	r.asked.Account = q.account
	d.begin(r)
}

// begin puts a report behind the others.
func (d *Door) begin(r *jetStreamReport) {
	r.outline.out = &r.buffer
	if r.packed {
		r.packer = s2.NewWriter(&r.buffer, s2.WriterConcurrency(1), s2.WriterSnappyCompat())
		r.outline.out = r.packer
	}
	from := r.outline.encode(r.info)
	r.outline.text(`{"server":`)
	r.outline.write(from)
	r.outline.text(`,"data":`)
	if len(d.reports) >= maxReports {
		d.refuse(r.inquiry, failedRequest, errManyReports)
		return
	}
	d.reports = append(d.reports, r)
}

var errManyReports = errors.New("too many reports are being made, ask again later")

// reportedAccounts are those that have JetStream, or streams, by name.
func (d *Door) reportedAccounts() []*machine.Account {
	all := d.log.AccountsWithStreams()
	for _, name := range d.options.Served {
		if a := d.log.Account(name); !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b *machine.Account) int { return cmp.Compare(natsAccount(a), natsAccount(b)) })
	return all
}

// natsAccount is what the NATS server calls an account.
func natsAccount(a *machine.Account) string {
	return cmp.Or(a.Name(), server.DEFAULT_GLOBAL_ACCOUNT)
}

// doorOf returns the door of an account; this one, which knows nobody who listens,
// where it follows.
func (d *Door) doorOf(a *machine.Account) *Door {
	for _, o := range d.queue.doors {
		if o.machine == a {
			return o
		}
	}
	return d
}

func (d *Door) leadsCluster() bool {
	cluster := d.node.Cluster()
	return cluster == nil || cluster.Leader == d.options.Name
}

// continueReports makes a piece of the report that came first.
func (d *Door) continueReports() {
	if len(d.reports) == 0 {
		return
	}
	r := d.reports[0]
	for cost := 0; cost < reportPiece; {
		step, done := r.step(d)
		cost += step
		if done || r.buffer.Len() > d.options.MaxAnswer {
			d.reports = slices.Delete(d.reports, 0, 1)
			d.finish(r)
			return
		}
	}
}

// finish sends a report.
func (d *Door) finish(r *jetStreamReport) {
	var header []byte
	if r.packer != nil {
		header = []byte(packedHeader)
		_ = r.packer.Close() // a buffer takes everything
	}
	d.publishReport(r.inquiry, header, r.buffer.Bytes(), r.outline.err)
}

// step tells one thing more, and what that costs.
func (r *jetStreamReport) step(d *Door) (cost int, done bool) {
	switch {
	case len(r.consumers) > 0:
		c := r.consumers[0]
		r.consumers = r.consumers[1:]
		if d.log.ConsumerOf(c.Incarnation()) == c {
			r.tellConsumer(d, c)
		}
	case len(r.groups) > 0:
		c := r.groups[0]
		r.groups = r.groups[1:]
		r.outline.add("consumer_raft_groups", &server.RaftGroupDetail{Name: c.Name(), RaftGroup: d.raftGroup("C", c.Incarnation())})
	case r.open:
		r.outline.end(struct{}{})
		r.open = false
	case len(r.streams) > 0:
		s := r.streams[0]
		r.streams = r.streams[1:]
		if d.log.StreamOf(s.Incarnation()) == s {
			r.tellStream(d, s)
		}
		if !r.describes {
			return 1, false
		}
	case r.tells:
		if r.tells = false; r.account != "" {
			r.outline.end(struct{}{})
			r.outline.text("}")
			return 1, true
		}
		r.outline.end(struct{}{})
	case len(r.accounts) > 0:
		a := r.accounts[0]
		r.accounts = r.accounts[1:]
		r.tellAccount(d, a)
	default:
		r.outline.end(&r.total)
		r.outline.text("}")
		return 1, true
	}
	return describeCost, false
}

// tellAccount begins an account.
func (r *jetStreamReport) tellAccount(d *Door, a *machine.Account) {
	detail := server.AccountDetail{Name: natsAccount(a), Id: natsAccount(a)}
	detail.Memory, detail.Store = a.Usage()
	reservedMemory, reservedStore := a.Reserved()
	limits := a.Limits().JetStreamAccountLimits
	detail.ReservedMemory, detail.ReservedStore = uint64(limits.MaxMemory), uint64(limits.MaxStore)
	if o := d.doorOf(a); o.machine == a {
		stats := o.apiStats()
		detail.API.Total, detail.API.Errors = stats.Total, stats.Errors
	}
	total := &r.total
	memory, store := a.Stored() // an account, with all replicas; a node, its own
	total.Memory, total.Store = total.Memory+memory, total.Store+store
	total.ReservedMemory, total.ReservedStore = total.ReservedMemory+reservedMemory, total.ReservedStore+reservedStore
	if r.ahead > 0 {
		r.ahead--
	} else if r.most > 0 {
		r.most--
		r.tells = true
		r.outline.begin("account_details", &detail)
	}
	r.describes = r.tells && r.asked.Streams && (r.leads || !r.asked.StreamLeaderOnly)
	r.streams = a.Streams()
}

// tellStream counts a stream, and begins it if it is described.
func (r *jetStreamReport) tellStream(d *Door, s *machine.Stream) {
	state := s.State()
	total := &r.total
	total.Streams++
	total.Messages, total.Bytes, total.Consumers = total.Messages+state.Msgs, total.Bytes+state.Bytes, total.Consumers+state.Consumers
	if r.asked.RaftGroups && r.leads {
		total.StreamsLeader, total.ConsumersLeader = total.StreamsLeader+1, total.ConsumersLeader+state.Consumers
	}
	if !r.describes {
		return
	}
	detail := server.StreamDetail{Name: s.Name(), Created: s.Created(), State: state}
	detail.Mirror, detail.Sources = d.doorOf(s.Account()).describeFeeds(s)
	detail.Cluster = d.describeGroup("S", s.Incarnation())
	if r.asked.Config {
		detail.Config = s.Config() // as it is stored
	}
	if detail.Cluster == nil { // only here does a server that is alone name itself
		detail.Cluster = &server.ClusterInfo{Leader: r.info.Name}
	}
	if r.asked.RaftGroups {
		detail.RaftGroup = detail.Cluster.RaftGroup
	}
	r.outline.begin("stream_detail", &detail)
	r.open = true
	if !r.asked.Consumer {
		return
	}
	all := s.Consumers()
	public := slices.DeleteFunc(slices.Clone(all), isDirect)
	r.consumers = public
	if r.asked.DirectConsumer && len(public) < len(all) {
		r.consumers = append(slices.Clone(public), slices.DeleteFunc(all, func(c *machine.Consumer) bool { return !isDirect(c) })...)
	}
	if detail.RaftGroup != "" {
		r.groups = public
	}
}

// isDirect reports whether a consumer belongs to a stream that sources another.
func isDirect(c *machine.Consumer) bool { return c.Config().Direct }

func (r *jetStreamReport) tellConsumer(d *Door, c *machine.Consumer) {
	info := d.doorOf(c.Stream().Account()).describeConsumer(c)
	if info.Config = nil; r.asked.Config {
		info.Config = c.Config()
	}
	if isDirect(c) {
		r.outline.add("direct_consumer_detail", info)
	} else {
		r.outline.add("consumer_detail", info)
	}
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
