package explore

import (
	"bytes"
	"slices"

	"holdfast/mesh"
	"holdfast/node/replica"
	"holdfast/replication"
)

// packet is something on its way from one member to another: what the receiver's
// loop finds in its mailbox. Packets of one direction keep their order, as over a
// connection, unless the exploration says otherwise.
type packet struct {
	kind       packetKind
	status     mesh.Status // of a hello
	raft       *replication.Message
	membership *mesh.Message
	body       []byte
}

type packetKind uint8

const (
	packetHello packetKind = iota + 1
	packetUnlinked
	packetRaft
	packetMembership
)

func newPacket(f replica.Frame) *packet {
	p := &packet{kind: packetMembership, body: f.Bytes()}
	if f.Channel == replica.Raft {
		p.kind = packetRaft
		m, err := replication.DecodeMessage(p.body)
		if err != nil {
			panic(err) // a core encoded it a moment ago
		}
		p.raft = &m
		return p
	}
	m, err := mesh.DecodeMessage(p.body)
	if err != nil {
		panic(err)
	}
	p.membership = &m
	return p
}

// status reports whether the packet only tells how the sender is.
func (p *packet) announces() bool {
	return p.kind == packetMembership && p.membership.Type == mesh.TypeStatus
}

// post puts a packet into the mailbox of a linked member. Of two announcements
// in a row the older one is lost, and so is a packet that is on its way already:
// messages may be lost at any time, and fewer of them make fewer states.
func (w *World) post(from, to int, p *packet) {
	mail := w.mail[from][to]
	for _, other := range mail {
		if p.body != nil && bytes.Equal(other.body, p.body) {
			return
		}
	}
	if n := len(mail); n > 0 && mail[n-1].announces() && p.announces() {
		mail = mail[:n-1]
	}
	w.mail[from][to] = append(slices.Clip(mail), p)
}

// link connects two running members; each says hello with what it last knew to
// be durable.
func (w *World) link(i, j int) {
	a, b := w.nodes[i], w.nodes[j]
	if w.linked[i][j] || w.cut[i][j] || !a.up || !b.up {
		return
	}
	w.linked[i][j], w.linked[j][i] = true, true
	w.post(i, j, &packet{kind: packetHello, status: a.presence})
	w.post(j, i, &packet{kind: packetHello, status: b.presence})
}

// unlink breaks a connection. What is in a mailbox already stays there, and the
// end of the connection comes behind it.
func (w *World) unlink(i, j int) {
	if !w.linked[i][j] {
		return
	}
	w.linked[i][j], w.linked[j][i] = false, false
	w.post(i, j, &packet{kind: packetUnlinked})
	w.post(j, i, &packet{kind: packetUnlinked})
}

// linkAgain ends all cuts.
func (w *World) linkAgain() {
	for i := range w.nodes {
		clear(w.cut[i])
	}
	w.linkAll()
}

// linkAll connects everybody who can be.
func (w *World) linkAll() {
	for i := range w.nodes {
		for j := range i {
			w.link(i, j)
		}
	}
}
