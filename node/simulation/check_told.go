package simulation

import (
	"bytes"

	"holdfast/mesh"
	"holdfast/protocol"
	"holdfast/replication"
)

// told looks at what leaves a member: whatever it tells another of its term, its
// vote, its log and its promise is on its disk already (docs/argument.md, 5.1). A
// crash shows a lie of this kind only when it comes at the right moment and
// somebody has relied on the lie.
func (c *checks) told(x *era, kind byte, body []byte) {
	switch kind {
	case frameMembership:
		m, err := mesh.DecodeMessage(body)
		if err != nil {
			c.world.fail("%s sends a frame that cannot be read: %v", x.process.host.name, err)
		}
		c.toldMembers(x, &m)
	case frameRaft:
		if t := replication.MessageType(body[1]); t != replication.Vote && t != replication.VoteReply && t != replication.AppendReply {
			return
		}
		m, err := replication.DecodeMessage(bytes.Clone(body))
		if err != nil {
			c.world.fail("%s sends a frame that cannot be read: %v", x.process.host.name, err)
		}
		c.toldVoters(x, &m)
	}
}

// toldMembers judges a message of the membership core. A grant, and the question
// for one, need the very promise.
func (c *checks) toldMembers(x *era, m *mesh.Message) {
	has, name := x.store.Meta(), x.process.host.name
	if m.Status.Store != has.Identity.Store {
		return
	}
	last := x.store.Last()
	mark, _ := x.store.Mark(last)
	switch said := &m.Status; {
	case (m.Type == mesh.TypeGrant || m.Type == mesh.TypeGranted) && has.Promise.Epoch <= m.Attempt.Epoch && has.Promise != m.Attempt:
		c.world.fail("told too early: %s sends a %s of %v with the promise %v on its disk", name, m.Type, m.Attempt, has.Promise)
	case said.Promise.Epoch > has.Promise.Epoch:
		c.world.fail("told too early: %s tells of the promise %v with %v on its disk", name, said.Promise, has.Promise)
	case said.Term > has.HardState.Term:
		c.world.fail("told too early: %s tells of term %d with %d on its disk", name, said.Term, has.HardState.Term)
	case said.Lineage == has.Identity.Lineage && (said.LastTerm > mark.Term || said.LastTerm == mark.Term && said.LastIndex > last):
		c.world.fail("told too early: %s tells of entries up to %d of term %d with %d of term %d on its disk", name, said.LastIndex, said.LastTerm, last, mark.Term)
	}
}

// toldVoters judges a vote, the request for votes, which is the candidate's own,
// and an acknowledgement.
func (c *checks) toldVoters(x *era, m *replication.Message) {
	has, name := x.store.Meta(), x.process.host.name
	if m.Reject || m.From.Store != has.Identity.Store || m.Lineage != has.Identity.Lineage || has.HardState.Term > m.Term {
		return
	}
	voted := m.To.Store
	if m.Type == replication.Vote {
		voted = m.From.Store
	}
	switch {
	case has.HardState.Term < m.Term:
		c.world.fail("told too early: %s sends a %s in term %d with term %d on its disk", name, m.Type, m.Term, has.HardState.Term)
	case m.Type == replication.AppendReply && x.store.Last() < m.Index:
		c.world.fail("told too early: %s acknowledges entries up to %d with %d on its disk", name, m.Index, x.store.Last())
	case m.Type != replication.AppendReply && has.HardState.Vote != voted:
		c.world.fail("told too early: %s sends a %s for %s in term %d with the vote %s on its disk", name, m.Type, protocol.Voter{Store: voted}, m.Term, has.HardState.Vote)
	}
}
