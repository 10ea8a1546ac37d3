package jetstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// pullRequest is what a client asks for.
type pullRequest struct {
	server.JSApiConsumerGetNextRequest
	formal bool // was an object, with all its rules
}

var errHeartbeatTooLarge = errors.New("heartbeat value too large")

// parsePullRequest reads a pull request: nothing (one message), a number, or
// an object. Anything else counts as one message, as with nats-server.
func parsePullRequest(payload []byte) (pullRequest, error) {
	var request pullRequest
	payload = bytes.TrimSpace(payload)
	switch {
	case len(payload) == 0:
		request.Batch = 1
	case payload[0] == '{':
		request.formal = true
		if err := json.Unmarshal(payload, &request.JSApiConsumerGetNextRequest); err != nil {
			return pullRequest{}, err
		}
		if request.Heartbeat > 0 && request.Heartbeat > request.Expires/2 {
			return pullRequest{}, errHeartbeatTooLarge
		}
	default:
		request.Batch = 1
		if n, err := strconv.Atoi(string(payload)); err == nil {
			request.Batch = n
		}
	}
	return request, nil
}

// handlePull takes a pull request for a consumer. Fresh says that it has waited for
// what came before it.
func (d *Door) handlePull(c *consumer, reply, payload []byte, fresh bool) {
	if len(reply) == 0 {
		return
	}
	if c.push != nil {
		d.sendStatus(reply, statusPushBased)
		return
	}
	request, err := parsePullRequest(payload)
	if err != nil {
		d.sendStatus(reply, fmt.Sprintf("NATS/1.0 400 Bad Request - %v\r\n\r\n", err))
		return
	}
	if refusal := refusePull(c.config(), &request); refusal != "" {
		d.sendStatus(reply, "NATS/1.0 "+refusal+"\r\n\r\n")
		return
	}
	if request.NoWait && !fresh && d.deferPull(c, &request, reply, payload) {
		return
	}
	now := d.node.Now()
	if !d.admitPin(c, &request, reply, now) {
		return
	}
	queue := &c.pulls
	if full := c.config().MaxWaiting; full > 0 && queue.len >= full && now-queue.swept > int64(time.Second) && !c.delivering {
		queue.swept = now
		d.expirePulls(c, now, false)
	}
	if request.NoWait && !d.admitNoWait(c, &request, reply, now) {
		return
	}
	if full := c.config().MaxWaiting; full > 0 && queue.len >= full {
		// A client with heartbeats notices by itself; an answer would make it
		// ask again at once, for ever.
		if request.Heartbeat == 0 {
			d.sendStatus(reply, statusMaxWaiting)
		}
		return
	}
	d.enqueue(c, &request, reply, now)
}

// deferPull lets a request that does not wait for messages see those that were sent
// before it, if it would otherwise miss some of them.
func (d *Door) deferPull(c *consumer, r *pullRequest, reply, payload []byte) bool {
	after := d.lastFor(c.machine.Stream())
	if pending, _ := c.machine.Backlog(); after < d.readable() || pending >= uint64(max(r.Batch, 0)) {
		return false
	}
	return d.reads.add(&request{
		endpoint: &endpoint{serve: (*Door).pullAgain},
		subject:  nextPrefix + c.key,
		reply:    bytes.Clone(reply),
		payload:  bytes.Clone(payload),
		after:    after,
		arrived:  d.node.Now(),
	})
}

// pullAgain takes a pull request that was deferred.
func (d *Door) pullAgain(r *request) any {
	if c := d.byName[strings.TrimPrefix(r.subject, nextPrefix)]; c != nil {
		d.handlePull(c, r.reply, r.payload, true)
	} else {
		d.sendStatus(r.reply, statusConsumerDeleted)
	}
	return nil
}

// refusePull says why the consumer's configuration forbids a request.
func refusePull(config *server.ConsumerConfig, r *pullRequest) string {
	switch {
	case config.MaxRequestBatch > 0 && r.Batch > config.MaxRequestBatch:
		return fmt.Sprintf("409 Exceeded MaxRequestBatch of %d", config.MaxRequestBatch)
	case config.MaxRequestExpires > 0 && r.Expires > config.MaxRequestExpires:
		return fmt.Sprintf("409 Exceeded MaxRequestExpires of %v", config.MaxRequestExpires)
	case config.MaxRequestMaxBytes > 0 && r.MaxBytes > config.MaxRequestMaxBytes:
		return fmt.Sprintf("409 Exceeded MaxRequestMaxBytes of %v", config.MaxRequestMaxBytes)
	case !r.formal:
		return ""
	case (r.MinPending != 0 || r.MinAckPending != 0) && config.PriorityPolicy != server.PriorityOverflow:
		return "400 Bad Request - Not a Overflow Priority consumer"
	case r.Id != "" && config.PriorityPolicy != server.PriorityPinnedClient:
		return "400 Bad Request - Not a Pinned Client Priority consumer"
	case r.Priority < 0 || r.Priority > 9:
		return "400 Bad Request - Priority must be between 0 and 9"
	case config.PriorityPolicy == server.PriorityNone:
		return ""
	case r.Group == "":
		return "400 Bad Request - Priority Group missing"
	case !slices.Contains(config.PriorityGroups, r.Group):
		return "400 Bad Request - Invalid Priority Group"
	}
	return ""
}

// admitNoWait decides whether a request that does not wait is served, and
// answers it if not. Once admitted it takes what there is.
func (d *Door) admitNoWait(c *consumer, r *pullRequest, reply []byte, now int64) bool {
	pending, _ := c.machine.Backlog()
	pending = max(pending, uint64(max(c.machine.Ready(d.nextStamp(now)), 0)))
	if pending == 0 {
		if r.Expires != 0 {
			return true
		}
		c.lastActive = now
		d.sendStatus(reply, statusNoMessages)
		return false
	}
	if !c.delivering {
		d.expirePulls(c, now, false)
	}
	wanted := uint64(0)
	for p := c.pulls.head; p != nil; p = p.next {
		wanted += uint64(max(p.messages, 0))
	}
	if pending < wanted {
		c.lastActive = now
		d.sendStatus(reply, statusRequestsPending)
		return false
	}
	return true
}

func (d *Door) enqueue(c *consumer, r *pullRequest, reply []byte, now int64) {
	p := &pull{
		reply:     bytes.Clone(reply),
		interest:  string(reply),
		messages:  r.Batch,
		bytes:     max(r.MaxBytes, 0),
		noWait:    r.NoWait,
		heartbeat: max(int64(r.Heartbeat), 0),
	}
	if r.formal {
		p.group, p.pin = r.Group, r.Id
		p.minPending, p.minUnacked = uint64(max(r.MinPending, 0)), uint64(max(r.MinAckPending, 0))
		if c.config().PriorityPolicy == server.PriorityPrioritized {
			p.priority = r.Priority
		}
	} else if c.config().PriorityPolicy == server.PriorityPrioritized {
		p.priority = lowestPriority
	}
	if r.Expires != 0 {
		p.expires = later(now, int64(r.Expires))
		d.wakeAt(c, p.expires)
	}
	if p.heartbeat > 0 {
		p.heartbeatAt = later(now, p.heartbeat)
		d.wakeAt(c, p.heartbeatAt)
	}
	c.lastActive = now
	c.pulls.add(p)
	d.startWaiting(c)
	d.schedule(c)
}

// expirePulls ends requests that are over or whose client is gone, sends
// heartbeats, and asks to be called again in time. With exhausted set, there is
// nothing left to deliver: requests that do not wait end as well.
func (d *Door) expirePulls(c *consumer, now int64, exhausted bool) {
	next := int64(0)
	earlier := func(at int64) {
		if at != 0 && (next == 0 || at < next) {
			next = at
		}
	}
	for p := c.pulls.head; p != nil; {
		following := p.next
		switch {
		case p.expires != 0 && now > p.expires:
			d.sendPullStatus(p.reply, statusTimeout, p.messages, p.bytes)
			c.lastActive = max(c.lastActive, p.expires)
			d.endPull(c, p)
		case exhausted && p.noWait && (p.expires == 0 || p.delivered > 0):
			d.sendStatus(p.reply, statusNoMessages)
			c.lastActive = now
			d.endPull(c, p)
		case !d.bus.Interest(p.interest):
			d.endPull(c, p)
		default:
			if p.heartbeat > 0 {
				if now >= p.heartbeatAt {
					state := c.machine.State()
					d.sendHeartbeat(p.reply, state.Delivered.Consumer, state.Delivered.Stream, nil)
					p.heartbeatAt = now + p.heartbeat
				}
				earlier(p.heartbeatAt)
			}
			if p.expires != 0 {
				earlier(p.expires + 1)
			}
		}
		p = following
	}
	d.wakeAt(c, next)
}

// endPull takes a request out of the queue.
func (d *Door) endPull(c *consumer, p *pull) {
	c.pulls.remove(p)
	if c.pulls.len == 0 {
		d.stopWaiting(c)
	}
}

// releaseQueue ends all requests of a consumer with a status.
func (d *Door) releaseQueue(c *consumer, status string) {
	for p := c.pulls.head; p != nil; p = c.pulls.head {
		if status == statusShutdown {
			d.sendPullStatus(p.reply, status, p.messages, p.bytes)
		} else {
			d.sendStatus(p.reply, status)
		}
		d.endPull(c, p)
	}
}

// releasePulls ends all requests of all consumers with a status.
func (d *Door) releasePulls(status string) {
	for _, key := range sortedKeys(d.byName) {
		d.releaseQueue(d.byName[key], status)
	}
}

// later adds an interval that a client chose to a time.
func later(now, interval int64) int64 {
	if interval > math.MaxInt64-now {
		return math.MaxInt64
	}
	return now + interval
}
