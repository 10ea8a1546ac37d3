package simulation

import (
	"encoding/json"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// A grouped consumer has a priority group (ADR-42), of which each of its clients is
// a member.

const groupName = "g"

// drawGroup decides which policy a consumer with several clients has.
func (c *consumer) drawGroup() {
	w := c.topic.world
	config := &c.config
	if c.inbox != "" || config.AckPolicy != server.AckExplicit {
		return
	}
	switch draw := w.random.Float64(); {
	case draw < 0.3:
		config.PriorityPolicy = server.PriorityPinnedClient
		config.PinnedTTL = time.Duration(w.between(second, 3*second))
	case draw < 0.6:
		config.PriorityPolicy = server.PriorityOverflow
	default:
		return
	}
	config.PriorityGroups = []string{groupName}
}

func (c *consumer) grouped() bool { return c.config.PriorityPolicy != server.PriorityNone }

// pullTry is a pull request of a client in a group.
type pullTry struct {
	consumer *consumer
	sent     int64
	pin      string // that it shows
	// It is to be served only while so many messages wait, or while so many are
	// unanswered; zero: no such condition.
	minPending, minUnacked int64
}

// pullRequest is what a client asks for, and what the checkers have to know of it.
func (c *consumer) pullRequest(wanted int) ([]byte, *pullTry) {
	w := c.topic.world
	body := server.JSApiConsumerGetNextRequest{Batch: wanted, Expires: time.Second}
	if !c.grouped() {
		payload, _ := json.Marshal(&body) // of the NATS server's own types
		return payload, nil
	}
	body.Group, body.Id = groupName, c.pin
	if c.config.PriorityPolicy == server.PriorityOverflow && !w.clients.quiet {
		if w.chance(0.3) {
			body.MinPending = []int64{2, 10, 100}[w.random.IntN(3)]
		}
		if w.chance(0.3) {
			body.MinAckPending = []int64{2, 10, 40, mostUnacked + 1}[w.random.IntN(4)]
		}
	}
	payload, _ := json.Marshal(&body)
	return payload, &pullTry{consumer: c, sent: w.now, pin: c.pin, minPending: body.MinPending, minUnacked: body.MinAckPending}
}

// noticePin takes the pin that a message brings, or forgets one that is over.
func (c *consumer) noticePin(m *outgoing) {
	if pin, ok := headerOf(m.header, server.JSPullRequestNatsPinId); ok {
		c.pin = pin
	} else if status := m.status(); status != "" && status[:3] == "423" {
		c.pin = ""
	}
}

// rest is for how long a client does not ask. One that is pinned loses its pin by it.
func (c *consumer) rest() int64 {
	w := c.topic.world
	if c.pin == "" || w.clients.quiet || !w.chance(0.05) {
		return 0
	}
	return w.between(0, 3*int64(c.config.PinnedTTL))
}

// unpin asks that another client be pinned.
func (c *consumer) unpin() {
	try := &unpinTry{sent: c.topic.world.now}
	c.topic.world.checks.unpinning(c.key(), try)
	call(c.client, "CONSUMER.UNPIN."+c.key(), &server.JSApiConsumerUnpinRequest{Group: groupName}, func(response *server.JSApiConsumerUnpinResponse, ok bool) {
		if ok {
			try.answered = c.topic.world.now
		}
		c.topic.world.after(millisecond, c.work)
	})
}
