package simulation

import (
	"slices"
	"strconv"
	"strings"

	"holdfast/node/jetstream"
)

// nats is what the embedded NATS servers and their routes do: they carry the
// messages of clients to the member that subscribes, and answers back. What is
// on its way when a host or a route goes is lost; the order between two ends is
// kept.
type nats struct {
	world   *world
	clients []*client
	// arrivals are the times of the newest message from a client to a host, and
	// from a host to a client.
	arrivals map[[3]int]int64
}

// port is a member's attachment to the NATS server of its host (jetstream.Bus).
type port struct {
	host          *host
	subscriptions map[string]*subscription
	watched       map[string]bool // whether somebody listens to a subject
	outbox        []outgoing
}

type subscription struct {
	subject string
	yielded bool
}

// outgoing is a message from a member to a client.
type outgoing struct {
	to, subject     string
	reply           string
	header, payload []byte
}

func newPort(h *host) *port {
	return &port{host: h, subscriptions: map[string]*subscription{}, watched: map[string]bool{}}
}

func (p *port) Subscribe(subject, _ string) {
	p.subscriptions[subject] = &subscription{subject: subject}
}

func (p *port) Yield(subject, _ string) {
	if s := p.subscriptions[subject]; s != nil {
		s.yielded = true
	}
}

// SetRank changes nothing: the routes of this NATS know at once who is gone.
func (p *port) SetRank(int) {}

func (p *port) Unsubscribe(subject, _ string) { delete(p.subscriptions, subject) }

func (p *port) Deliver(to, reply, header, payload []byte) {
	ack, subject, _ := strings.Cut(string(reply), "@")
	if w, running := p.host.world, p.host.process; w.options.Mutation == AckInvented && running != nil && w.chance(0.1) {
		running.put(mailMessage, func() { running.member.Handle(0, &jetstream.Message{Subject: []byte(ack)}) })
	}
	p.outbox = append(p.outbox, outgoing{to: string(to), subject: subject, reply: ack, header: slices.Clone(header), payload: slices.Clone(payload)})
	p.host.world.checks.delivered(p.host, string(to), ack, subject, header, payload)
}

func (p *port) Publish(subject, reply, header, payload []byte) {
	if c, request := p.host.world.nats.addressee(string(subject)); c != nil {
		payload = p.host.world.mutateAnswer(c.pending[request], payload)
	}
	p.outbox = append(p.outbox, outgoing{to: string(subject), subject: string(subject), reply: string(reply), header: slices.Clone(header), payload: slices.Clone(payload)})
	if c, request := p.host.world.nats.addressee(string(subject)); c != nil {
		r := c.publishes[request]
		if r == nil {
			r = c.pending[request]
		}
		p.host.world.checks.answered(p.host, r, header, payload)
	}
}

// Interest reports whether a client waits for messages on a subject, as far as
// the routes tell.
func (p *port) Interest(subject string) bool {
	if subject == jetstream.Presence(false) {
		return p.reachesAPI(subject)
	}
	c, request := p.host.world.nats.addressee(subject)
	if c == nil || c.host == nil || !p.host.world.network.reaches(p.host.number, c.host.number) {
		return false
	}
	return c.pending[request] != nil
}

// Watch, Unwatch and Heard tell the door of a push consumer's listener. All
// listen in no queue.
func (p *port) Watch(subject, _ string) bool {
	p.watched[subject] = p.Interest(subject)
	return p.watched[subject]
}

func (p *port) Unwatch(subject, _ string) { delete(p.watched, subject) }

func (p *port) Heard(f func(subject, queue string, listens bool)) {
	for _, subject := range sortedKeys(p.watched) {
		if listens := p.Interest(subject); listens != p.watched[subject] {
			p.watched[subject] = listens
			f(subject, "", listens)
		}
	}
}

// reachesAPI reports whether a member that subscribes to the API can be reached.
func (p *port) reachesAPI(subject string) bool {
	for _, h := range p.host.world.hosts {
		if q := h.process; q != nil && (h == p.host || p.host.world.network.reaches(p.host.number, h.number)) && q.port.match(subject) != nil {
			return true
		}
	}
	return false
}

func (p *port) Pending() int { return 0 }

// match returns the subscription that takes a subject.
func (p *port) match(subject string) *subscription {
	if s := p.subscriptions[subject]; s != nil {
		return s
	}
	var found *subscription
	for pattern, s := range p.subscriptions { // the order does not show
		if covers(pattern, subject) && (found == nil || found.yielded) {
			found = s
		}
	}
	return found
}

// covers tells whether a subject matches a pattern of NATS.
func covers(pattern, subject string) bool {
	want, have := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, token := range want {
		switch {
		case token == ">":
			return len(have) > i
		case i >= len(have) || token != "*" && token != have[i]:
			return false
		}
	}
	return len(want) == len(have)
}

// inboxPrefix begins the subjects of answers: _INBOX.<client>.<request>.
const inboxPrefix = "_INBOX."

// addressee finds the client and the request that a subject belongs to.
func (n *nats) addressee(subject string) (*client, uint64) {
	rest, ok := strings.CutPrefix(subject, inboxPrefix)
	if !ok {
		return nil, 0
	}
	who, what, _ := strings.Cut(rest, ".")
	what, _, _ = strings.Cut(what, ".") // of a batch, more follows
	number, err := strconv.Atoi(who)
	request, err2 := strconv.ParseUint(what, 10, 64)
	if err != nil || err2 != nil || number >= len(n.clients) {
		return nil, 0
	}
	return n.clients[number], request
}

const (
	fromClient = 0
	toClient   = 1
)

// arrival is when a message gets there, after the one before.
func (n *nats) arrival(direction, client, host int) int64 {
	k := [3]int{direction, client, host}
	n.arrivals[k] = max(n.arrivals[k]+1, n.world.now+n.world.often(20*microsecond, 2*millisecond))
	return n.arrivals[k]
}

// flush sends what the member said to its clients.
func (p *port) flush() {
	n, h := p.host.world.nats, p.host
	for _, message := range p.outbox {
		c, request := n.addressee(message.to)
		if c == nil {
			continue
		}
		n.world.at(n.arrival(toClient, c.number, h.number), func() {
			if c.host != nil && c.host.process != nil && n.world.network.reaches(h.number, c.host.number) {
				c.receive(request, &message)
			}
		})
	}
	p.outbox = nil
}

// send carries a client's message to a member that subscribes to its subject.
func (n *nats) send(c *client, subject, reply string, header, payload []byte) {
	if c.host == nil || c.host.process == nil {
		return
	}
	to := n.subscriber(c.host, subject)
	if to == nil {
		if waiting, request := n.addressee(reply); waiting != nil {
			n.world.after(n.world.between(50*microsecond, millisecond), func() {
				waiting.receive(request, &outgoing{to: reply, header: []byte("NATS/1.0 503\r\n\r\n")})
			})
		}
		return
	}
	p := to.process
	n.world.at(n.arrival(fromClient, c.number, to.number), func() {
		if c.host == nil || !n.world.network.reaches(c.host.number, to.number) || p.port.match(subject) == nil {
			return
		}
		message := &jetstream.Message{Subject: []byte(subject), Reply: []byte(reply), Header: header, Payload: payload}
		if n.world.options.Mutation != NoMutation && n.world.mutateMessage(message) {
			return
		}
		n.world.trace.bytes(n.world.now, message.Subject)
		p.put(mailMessage, func() { p.member.Handle(0, message) })
	})
}

// subscriber picks the member that gets a message: one that did not yield, and
// of those rather the one on the same host.
func (n *nats) subscriber(from *host, subject string) *host {
	var found *host
	var best int
	for _, h := range n.world.hosts {
		if h.process == nil || !n.world.network.reaches(from.number, h.number) {
			continue
		}
		s := h.process.port.match(subject)
		if s == nil {
			continue
		}
		rank := 1
		if !s.yielded {
			rank += 2
		}
		if h == from {
			rank++
		}
		if rank > best {
			found, best = h, rank
		}
	}
	return found
}

// gone cuts off the clients of a host whose process ended.
func (n *nats) gone(h *host) {
	for _, c := range n.clients {
		if c.host == h {
			c.host = nil
			c.reconnect()
		}
	}
}
