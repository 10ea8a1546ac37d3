package member

import (
	"cmp"
	"slices"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/jetstream"
	"holdfast/node/machine"
)

// Account is an account of the NATS server that has JetStream.
type Account struct {
	Name   string // as the machine knows it
	System bool   // it is the system account
	Bus    Bus    // the attachment to that account
	Limits machine.Limits
	// Allowed is how much the account may use; nil: machine.DefaultLimits.
	Allowed *machine.AccountLimits
	// Imports are the subjects of services that it imports from other accounts.
	Imports []string
}

// buses are the attachments of all accounts.
type buses []Account

// SetRank sets the rank of this member in every account.
func (b buses) SetRank(rank int) {
	for i := range b {
		b[i].Bus.SetRank(rank)
	}
}

// doors are the front doors of a life, one for each of Options.Accounts, in that
// order. A door and the requests that it sends to others are known by its place.
type doors struct {
	list  []*jetstream.Door
	queue jetstream.Queue
}

// placeBits is how many bits of the context of a barrier say which door asked.
const placeBits = 16

func (l *life) openDoors() {
	var served []string
	for _, account := range l.options.Accounts {
		if !account.System {
			served = append(served, account.Name)
		}
	}
	for place, account := range l.options.Accounts {
		l.doors.list = append(l.doors.list, jetstream.New(jetstream.Options{
			Machine: l.machine, Account: account.Name, System: account.System, Imports: account.Imports, Bus: account.Bus, Node: counter{l, place}, Queue: &l.doors.queue,
			Limits: account.Limits, Allowed: account.Allowed, Domain: l.options.Domain,
			Name: l.options.Name, Members: len(l.options.Members), Server: l.options.Server, Inspect: l.options.Inspect, Served: served, Storage: l.options.Storage, Logger: l.logger, Random: l.options.random(), Zone: l.options.Zone, MaxPayload: l.options.MaxPayload,
		}))
	}
	l.doors.each((*jetstream.Door).Report)
}

// Report makes a report for operators, see jetstream.Door.Tell. It reports false if
// there is none now, or never (there is no account with JetStream).
func (m *Member) Report(kind string, payload []byte, told func(body []byte)) bool {
	if m.life.ended != living || len(m.life.doors.list) == 0 {
		return false
	}
	m.life.doors.list[0].Tell(kind, payload, told) // a report is about all accounts
	return true
}

// warnOfUnserved names the accounts that have streams, as of the checkpoint, and no
// door: nobody reaches these streams.
func (l *life) warnOfUnserved() {
	streams := l.machine.Streams() // by account
	for from := 0; from < len(streams); {
		name, to := streams[from].Account().Name(), from
		for to < len(streams) && streams[to].Account().Name() == name {
			to++
		}
		if !slices.ContainsFunc(l.options.Accounts, func(a Account) bool { return a.Name == name }) {
			account, example := cmp.Or(name, server.DEFAULT_GLOBAL_ACCOUNT), streams[from].Name()
			l.logger.Warn("an account has streams, but the configuration does not give it JetStream: they are kept, and nobody reaches them. "+
				"Put the account back into nats.include on every node, with jetstream enabled, and start the nodes again; to be rid of the streams, delete them then",
				"account", account, "streams", to-from, "one of them", example)
		}
		from = to
	}
}

// each does something with every door.
func (ds *doors) each(do func(*jetstream.Door)) {
	for _, d := range ds.list {
		do(d)
	}
}

// wake is when one of the doors has something to do, 0 for never.
func (ds *doors) wake() (at int64) {
	for _, d := range ds.list {
		if next := d.Wake(); next != 0 && (at == 0 || next < at) {
			at = next
		}
	}
	return at
}

// barriered ends a barrier of one of the doors.
func (ds *doors) barriered(context uint64, ok bool) {
	ds.list[context&(1<<placeBits-1)].Barriered(context>>placeBits, ok)
}

// doorOf returns the door of an account, or nil.
func (l *life) doorOf(account string) *jetstream.Door {
	for place := range l.options.Accounts {
		if l.options.Accounts[place].Name == account {
			return l.doors.list[place]
		}
	}
	return nil
}

// applied hands the results of an entry to every door. What another leader put
// where a door's own batch was proposed is not the answer to it.
func (ds *doors) applied(index uint64, results *machine.Results, own bool) {
	for _, d := range ds.list {
		if own {
			d.Applied(index, results)
		}
		d.Observe(results)
	}
}

// counter is what one door needs of its node (jetstream.Node).
type counter struct {
	*life
	place int
}

// Barrier asks for a proof that what is applied here includes everything that
// was acknowledged before.
func (c counter) Barrier(context uint64) { c.barrier(context<<placeBits | uint64(c.place)) }

// Forward hands messages that came during a hand-over to the new leader.
func (c counter) Forward(messages []jetstream.Message) {
	c.forward(c.options.Accounts[c.place].Name, messages)
}
