package mesh

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"holdfast/protocol"
)

// Options configure a core.
type Options struct {
	Self    string
	Members []string // M, this member included; the same on every node
	// Continue: a founding from survivors starts by itself when a majority is
	// lost (when_majority_lost = "continue").
	Continue bool
	// RetryTicks is the pause after which an unanswered question or proposal is
	// repeated, and the unit of every back-off; at least 2.
	RetryTicks int
	// ReportTicks is the pause between two reports of what a stuck node waits
	// for; at least 1.
	ReportTicks int
	// AdviseTicks is how long members have to be missing before a node says how
	// to go on without them; SecondTicks is how many ticks make a second, for
	// words; at least 1.
	AdviseTicks, SecondTicks int
	Random                   *rand.Rand
	// Heard is what this process has heard of the others' stores; the owner keeps it
	// from one core to the next. Nil: nothing.
	Heard *Heard
}

// patience is how many RetryTicks an offer or an alarm lasts without being
// renewed, and an unfinished attempt at first. More than one lost message fits in.
const patience = 4

// maxSilences bounds the life of an attempt: patience × 2^maxSilences RetryTicks.
// A cluster whose round trips and disks need longer than the first life gets
// there by doubling it.
const maxSilences = 4

// overridePatience is how many RetryTicks an operator's founding is repeated.
const overridePatience = 150

// Core is the membership of one store. Not safe for concurrent use.
type Core struct {
	options Options
	off     switches
	local   Local
	// began is how far the store was when this core began.
	began Trace
	heard *Heard
	peers []*peer // the other members, by name
	now   uint64  // ticks since New

	// promised is the promise handed out last; until local shows it, the store
	// is about to change and confirms and grants nothing.
	promised protocol.Attempt
	writeID  uint64

	// attempt is the one that this store makes, at most one. retryAt is the tick
	// before which no other starts; obstacle is why the last one ended, and told
	// the epoch of the last one whose start was logged.
	attempt  *attempt
	retryAt  uint64
	obstacle string
	told     uint64
	// silences counts the attempts of this process that ended for want of an
	// answer, up to maxSilences: each lets the next one wait longer.
	silences int
	// confirmedTo and refusedTo are what the log was told of last: questions and
	// attempts are repeated.
	confirmedTo, refusedTo string
	// override is an operator's `found --without` that has not ended.
	override *override

	// stage is the copy that was asked for; stageAt the tick before which no
	// other is, later after each of the failures.
	stage    *stage
	stageAt  uint64
	failures int
	// mayLeave: an operator discarded this store.
	mayLeave bool

	lead leadership

	// followed is the leader whom the log was told of last, and its term.
	followed   string
	followedIn uint64

	announced  Status // as of the last announcement
	wasLeading bool
	announceAt uint64
	reportAt   uint64
	alarms     []alarm // by key
	finished   bool    // Install or Activate was handed out
	effects    Effects
}

// peer is what is known of another member.
type peer struct {
	name      string
	connected bool
	lostAt    uint64 // tick since which it is not connected; for words
	seen      bool   // status is valid; it is kept over a lost connection
	// refuted: an earlier process on its store had more; until its next connection
	// it counts as not connected. doubted: its last status was older than one before.
	refuted, doubted bool
	status           Status
	role             Role
	offer            *offer // valid while connected
	question         question
	// asked is a founder's request to confirm that is not answered yet, because
	// this store does not see a member as the founder does; it came at askedAt.
	asked     *Message
	askedAt   uint64
	offeredAt uint64 // tick of the last offer to it; zero: none
	offered   Status // what it was judged by
}

// New returns the core of the store that local tells of. It panics when Self is
// not among the members or local tells of another member: both are mistakes of
// the caller, not of the configuration, which is checked before.
func New(options Options, local Local) *Core {
	if !slices.Contains(options.Members, options.Self) || local.Member != options.Self || local.Store == 0 {
		panic(fmt.Sprintf("mesh: core of %s for store %s of %q among %v", options.Self, local.Store, local.Member, options.Members))
	}
	options.RetryTicks = max(options.RetryTicks, 2)
	options.ReportTicks = max(options.ReportTicks, 1)
	options.SecondTicks = max(options.SecondTicks, 1)
	c := &Core{options: options, local: local, began: local.Trace(), heard: options.Heard, reportAt: uint64(options.ReportTicks)}
	if c.heard == nil {
		c.heard = &Heard{}
	}
	for _, name := range slices.Sorted(slices.Values(options.Members)) {
		if name != options.Self {
			c.peers = append(c.peers, &peer{name: name})
		}
	}
	c.act()
	return c
}

// Tick advances time by one tick.
func (c *Core) Tick() {
	c.now++
	if c.finished {
		return
	}
	c.expire()
	c.act()
	c.report()
}

// Connected says that messages to the member get through, and what its hello
// said of its store. A new connection may come without a Disconnected. A name
// outside M is ignored.
func (c *Core) Connected(name string, status Status) {
	p := c.peer(name)
	if p == nil || c.finished {
		return
	}
	if err := status.check(); err != nil || status.Member != name {
		c.event(Warning, "member ignored: its status cannot be true", "member", name, "store", status.Store, "cause", err)
		return
	}
	p.forget()
	p.connected, p.refuted, p.doubted = true, false, false
	c.learn(p, status)
	if c.attempt != nil {
		c.attempt.askAt = 0
	}
	c.send(p, Message{Type: TypeStatus, Role: c.role(), Heard: c.remind(p)})
	c.act()
}

// Disconnected says that the connection is gone.
func (c *Core) Disconnected(name string) {
	p := c.peer(name)
	if p == nil || c.finished {
		return
	}
	p.forget()
	if p.connected {
		p.connected, p.lostAt = false, c.now
	}
	c.act()
}

// forget drops what was known through a connection that is gone or new. The
// status stays: it is only a picture of the store anyway.
func (p *peer) forget() {
	p.role, p.offer, p.offeredAt, p.question, p.asked = Role{}, nil, 0, question{}, nil
}

// Step takes a message that came over the connection of the member from. A
// message that cannot be true is dropped.
func (c *Core) Step(from string, m Message) {
	p := c.peer(from)
	if p == nil || c.finished || m.Status.Member != from || m.Status.check() != nil {
		return
	}
	c.learn(p, m.Status)
	if m.Type == TypeStatus {
		c.reminded(p, &m.Heard)
	}
	if c.finished || p.refuted {
		return
	}
	switch m.Type {
	case TypeStatus:
		p.role = m.Role
		if !m.Role.Leading {
			p.offer = nil
		}
	case TypeAsk:
		c.send(p, Message{Type: TypeAnswer, Nonce: m.Nonce})
	case TypeAnswer:
		p.question.answered(&m)
	case TypeOffer:
		c.takeOffer(p, &m)
	case TypeConfirm:
		c.answerConfirm(p, &m)
	case TypeGrant:
		c.answerGrant(p, &m)
	case TypeConfirmed, TypeGranted:
		c.agreed(p, &m)
	case TypeRefused:
		c.refused(p, &m)
	}
	c.act()
}

// SetLocal tells what changed in the store or the replication core. It costs
// little and allocates nothing while the node just goes on working.
func (c *Core) SetLocal(local Local) {
	if c.finished {
		return
	}
	if local.Store != c.local.Store || local.Member != c.local.Member {
		panic(fmt.Sprintf("mesh: core of store %s was told of store %s of %q", c.local.Store, local.Store, local.Member))
	}
	before := c.local
	c.local = local
	c.tell(&before)
	c.act()
}

// Persisted reports that the promise of Effects.WriteID is durable.
func (c *Core) Persisted(writeID uint64) {
	if c.finished {
		return
	}
	if a := c.attempt; a != nil && a.phase == promising && writeID >= a.writeID {
		a.phase = granting
		a.askAt = 0
	}
	c.act()
}

// Take moves what the owner has to do into effects, whose slices are reused.
func (c *Core) Take(effects *Effects) {
	effects.reset()
	c.effects, *effects = *effects, c.effects
}

// act derives what is to be done from what is known. It is idempotent: called
// twice, the second call finds nothing to do.
func (c *Core) act() {
	c.answerAsked()
	c.pursueAttempt()
	c.join()
	c.leadMembers()
	c.considerFounding()
	c.announce()
}

// expire lets go of what was not renewed.
func (c *Core) expire() {
	for _, p := range c.peers {
		if p.offer != nil && c.now > p.offer.at+c.retry(patience) {
			p.offer = nil
		}
		if p.asked != nil && c.now > p.askedAt+c.retry(patience) {
			p.asked = nil
		}
	}
	if o := c.override; o != nil && c.now > o.endAt && c.attempt == nil {
		c.override = nil
		now := c.prospect(o.without)
		why := c.objection(&now)
		if why == "" {
			why = c.obstacle
		}
		c.event(Warning, "the operator's founding is given up; give the command again", "reason", why, "without", strings.Join(o.without, ","))
	}
	if c.mayLeave && c.stage == nil && c.leader() != "" && !slices.ContainsFunc(c.peers, func(p *peer) bool { return p.offer != nil }) {
		c.mayLeave = false
		c.event(Info, "the operator's discard is forgotten: no other lineage is offered, and the store is in use", "store", c.local.Store)
	}
	c.sweepAlarms()
}

// learn keeps a status unless it is older than the one known of that store.
func (c *Core) learn(p *peer, status Status) {
	c.recall(p, &status)
	if p.seen && p.status.Store == status.Store &&
		(status.Boot < p.status.Boot || status.Boot == p.status.Boot && status.Counter < p.status.Counter) {
		return
	}
	p.seen, p.status = true, status
}

// announce tells the others of a change: of who this store is at once, of how
// far its log is only while nobody leads it, and of everything every RetryTicks.
func (c *Core) announce() {
	if c.finished {
		return
	}
	s, a := &c.local.Status, &c.announced
	leading := c.local.leads()
	due := c.now >= c.announceAt || leading != c.wasLeading ||
		s.Promise != a.Promise || s.Lineage != a.Lineage || s.Epoch != a.Epoch || !s.Configuration.Equal(a.Configuration) ||
		s.Counter != a.Counter && c.leader() == ""
	if !due {
		return
	}
	c.announced, c.wasLeading, c.announceAt = *s, leading, c.now+c.retry(1)
	role := c.role()
	for _, p := range c.peers {
		if p.connected || p.refuted {
			c.send(p, Message{Type: TypeStatus, Role: role, Heard: c.remind(p)})
		}
	}
}

// leader is the member that leads this store's lineage, itself included, or "".
// It takes two: the replication core names it, and it says so itself.
func (c *Core) leader() string {
	switch {
	case c.local.Blank() || c.local.Frozen():
		return ""
	case c.local.Leader:
		if c.local.InContact {
			return c.options.Self
		}
		return ""
	}
	p := c.peer(c.local.LeaderName)
	if p == nil || !p.connected || p.role.Leader != p.name || p.status.Lineage != c.local.Lineage {
		return ""
	}
	return p.name
}

// role is what an announcement says beside the status.
func (c *Core) role() Role {
	state, reason, remedy := c.situation()
	role := Role{Leading: c.local.leads(), Leader: c.leader(), State: state, Reason: reason, Remedy: remedy}
	if c.stage != nil {
		role.Copied, role.Total = c.stage.copied, c.stage.total
	}
	return role
}

// send queues a message; the sender's status goes with every one.
func (c *Core) send(p *peer, m Message) {
	m.Status = c.local.Status
	c.effects.Messages = append(c.effects.Messages, Envelope{To: p.name, Message: m})
}

// peer returns what is known of another member, or nil for a name that is none.
func (c *Core) peer(name string) *peer {
	for _, p := range c.peers {
		if p.name == name {
			return p
		}
	}
	return nil
}

// retry is n times RetryTicks.
func (c *Core) retry(n int) uint64 { return uint64(n * c.options.RetryTicks) }

// backOff is a random pause of up to n times RetryTicks, so that founders which
// got in each other's way do not do so again.
func (c *Core) backOff(n int) uint64 { return c.now + 1 + c.options.Random.Uint64N(c.retry(n)) }

// fresh draws an ID that is not zero.
func (c *Core) fresh() uint64 {
	for {
		if id := c.options.Random.Uint64(); id != 0 {
			return id
		}
	}
}

// event adds a line for the log; details alternate between keys and values.
func (c *Core) event(level Level, text string, details ...any) {
	e := Event{Level: level, Text: text}
	for i := 0; i+1 < len(details); i += 2 {
		e.Fields = append(e.Fields, Field{Key: fmt.Sprint(details[i]), Value: fmt.Sprint(details[i+1])})
	}
	c.effects.Events = append(c.effects.Events, e)
}

// list joins names for a sentence: "n1, n2 and n3".
func list(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
