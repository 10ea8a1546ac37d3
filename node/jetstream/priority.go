package jetstream

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

const (
	// lowestPriority is that of pull requests that say none: behind 0 to 9.
	lowestPriority = 10
	// overflowWindow bounds how many messages one Deliver hands out to requests
	// of which some wait for an overflow.
	overflowWindow = 256
)

// pin is which client alone gets the messages of a consumer with that policy. It
// is not replicated: under another leader another client is picked.
type pin struct {
	id      string // empty: nobody is pinned, the first who asks will be
	group   string
	since   time.Time
	expires int64 // unless the client asks again before
}

// admitPin looks at the pin that a pull request brings, and answers it when that
// is not the present one.
func (d *Door) admitPin(c *consumer, r *pullRequest, reply []byte, now int64) bool {
	if c.pin.id == "" || !r.formal {
		return true
	}
	switch r.Id {
	case "":
	case c.pin.id:
		d.keepPin(c, now)
	default:
		d.sendStatus(reply, statusPinMismatch)
		return false
	}
	return true
}

// keepPin starts the time of the present pin anew.
func (d *Door) keepPin(c *consumer, now int64) {
	c.pin.expires = later(now, int64(c.config().PinnedTTL))
	d.wakeAt(c, c.pin.expires)
}

// assignPin pins the client of a request, if nobody is pinned.
func (d *Door) assignPin(c *consumer, p *pull, now int64) bool {
	if c.pin.id != "" || p.group == "" {
		return false
	}
	p.pin = d.randomName(identifierSize)
	c.pin = pin{id: p.pin, group: p.group, since: d.time()}
	d.keepPin(c, now)
	return true
}

// tellPin puts the pin into the header of a message that load prepared.
func (d *Door) tellPin(c *consumer, m *machine.Message) {
	if c.config().HeadersOnly { // the header is in scratch already
		d.scratch = d.scratch[:len(m.Header)-len(crlf)]
	} else {
		d.scratch = appendHeaderStart(d.scratch[:0], m.Header)
	}
	d.scratch = append(d.scratch, server.JSPullRequestNatsPinId+": "...)
	d.scratch = append(d.scratch, c.pin.id...)
	d.scratch = append(d.scratch, crlf+crlf...)
	m.Header = d.scratch
}

// pinDue ends the pin of a client that did not ask again in time.
func (d *Door) pinDue(c *consumer, now int64) {
	if c.pin.id == "" {
		return
	}
	if now < c.pin.expires {
		d.wakeAt(c, c.pin.expires)
		return
	}
	d.unpin(c, c.pin.group, "timeout")
}

// unpin lets another client be pinned.
func (d *Door) unpin(c *consumer, group, reason string) {
	c.pin = pin{}
	d.adviseUnpinned(c, group, reason)
	d.schedule(c)
}

// served reports whether the consumer's priority policy lets a request have a
// message, when pending messages wait behind it and unacked ones are unanswered
// (consumer.nextWaiting of the NATS server).
func (c *consumer) served(p *pull, pending, unacked uint64) bool {
	switch c.config().PriorityPolicy {
	case server.PriorityPinnedClient:
		return p.pin == c.pin.id
	case server.PriorityOverflow:
		return p.minPending == 0 && p.minUnacked == 0 ||
			p.minPending > 0 && p.minPending <= pending+1 ||
			p.minUnacked > 0 && p.minUnacked <= unacked
	}
	return true
}

// nextServed returns the first pull request that may have the next message and
// whose client still listens. It drops those before it whose client does not, and
// those with a pin that is over.
func (d *Door) nextServed(c *consumer, stamp int64) *pull {
	pinned := c.config().PriorityPolicy == server.PriorityPinnedClient
	pending, unacked := c.backlog(stamp)
	for p := c.pulls.head; p != nil; {
		following := p.next
		switch {
		case !d.bus.Interest(p.interest):
			d.endPull(c, p)
		case pinned && p.pin != "" && p.pin != c.pin.id:
			d.sendPullStatus(p.reply, statusWrongPin, p.messages, p.bytes)
			d.endPull(c, p)
		case c.served(p, pending, unacked):
			return p
		}
		p = following
	}
	return nil
}

// backlog is how many messages will wait behind the next one, and how many are
// unanswered before it.
func (c *consumer) backlog(stamp int64) (pending, unacked uint64) {
	pending, given := c.machine.Backlog()
	if due := c.machine.NextDue(); due == 0 || due > stamp {
		pending = max(pending, 1) - 1 // it is one of them, and no redelivery
	}
	return pending, uint64(given)
}

// wanted is how many messages the requests ask for that may be served now,
// before the first one with a byte limit; that one has a Deliver of its own.
// First is the request whose turn it is.
func (c *consumer) wanted(first *pull, stamp int64) int {
	switch c.config().PriorityPolicy {
	case server.PriorityPinnedClient:
		if c.pin.id == "" {
			return max(first.messages, 1) // nobody else is served once it is pinned
		}
	case server.PriorityOverflow:
		return c.overflow(stamp)
	}
	wanted := 0
	for p := first; p != nil && wanted < maxDeliverMessages; p = p.next {
		if !c.served(p, 0, 0) {
			continue
		}
		if p.bytes > 0 {
			break
		}
		wanted += max(p.messages, 1)
	}
	return wanted
}

// overflow is wanted for requests that are served only while enough messages
// wait or are unanswered, which changes with every message.
func (c *consumer) overflow(stamp int64) int {
	var left []int
	for p := c.pulls.head; p != nil; p = p.next {
		left = append(left, max(p.messages, 1))
	}
	waiting, given := c.machine.Backlog()
	unacked, again := uint64(given), c.machine.Redeliveries(stamp)
	for count := range overflowWindow {
		pending := waiting
		if count >= again {
			pending = max(waiting, 1) - 1
		}
		at, taker := 0, c.pulls.head
		for ; taker != nil; at, taker = at+1, taker.next {
			if left[at] > 0 && c.served(taker, pending, unacked) {
				break
			}
		}
		if taker == nil || taker.bytes > 0 {
			return max(count, 1)
		}
		left[at]--
		waiting = pending
		if count >= again && c.config().AckPolicy != server.AckNone {
			unacked++
		}
	}
	return overflowWindow
}

var errNoGroup = errors.New("consumer group not specified")

// consumerUnpin ends the pin of a group's client.
func (d *Door) consumerUnpin(r *request) any {
	resp := &server.JSApiConsumerUnpinResponse{ApiResponse: responseOf(server.JSApiConsumerUnpinResponseType)}
	m, apiErr := d.lookupConsumer(r)
	if apiErr == nil && requiresHigherLevel(r.header) {
		apiErr = server.NewJSRequiredApiLevelError()
	}
	if apiErr != nil {
		resp.Error = apiErr
		return resp
	}
	var body server.JSApiConsumerUnpinRequest
	if resp.Error = checkUnpin(m.Config(), r.payload, &body); resp.Error != nil {
		return resp
	}
	if c := d.consumers[m.Incarnation()]; c != nil {
		d.unpin(c, body.Group, "admin")
	}
	return resp
}

func checkUnpin(config *server.ConsumerConfig, payload []byte, body *server.JSApiConsumerUnpinRequest) *server.ApiError {
	if err := json.Unmarshal(payload, body); err != nil {
		return server.NewJSInvalidJSONError(err)
	}
	switch {
	case body.Group == "":
		return server.NewJSInvalidJSONError(errNoGroup)
	case !machine.ValidGroup(body.Group):
		return server.NewJSConsumerInvalidGroupNameError()
	case !slices.Contains(config.PriorityGroups, body.Group):
		return server.NewJSConsumerInvalidPriorityGroupError()
	}
	return nil
}
