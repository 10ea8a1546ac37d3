package jetstream

import (
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

const (
	// maxDeliver bounds what one Deliver command hands out.
	maxDeliverMessages = 4096
	maxDeliverBytes    = 4 << 20
	// retryDelay is the wait after a Deliver that handed out nothing.
	retryDelay = int64(20 * time.Millisecond)
	// giveUpInterval is how often, at most, messages that nobody pulls are
	// checked for having reached their last delivery.
	giveUpInterval = int64(time.Second)
)

// consumer is what the door keeps of a consumer while it leads.
type consumer struct {
	machine *machine.Consumer
	stream  *stream
	key     string // stream.consumer
	// replyPrefix begins the reply subjects of its deliveries:
	// $JS.ACK.<stream>.<consumer>.
	replyPrefix []byte

	pulls pullQueue
	pin   pin
	push  *push // nil for a pull consumer
	pace  *pace // nil when it delivers as fast as it can

	// delivering: a Deliver is in a batch. There is at most one, and pull
	// requests do not expire meanwhile, so that what it hands out is taken.
	delivering bool
	scheduled  bool  // is in Door.work
	isStalled  bool  // is in Door.stalled
	gone       bool  // deleted; whoever still points here leaves it alone
	place      int   // index in stream.waiting, -1 for none
	retryAt    int64 // no Deliver before this time
	// pausedUntil is the time before which nothing is delivered; 0: not paused.
	pausedUntil int64
	giveUpAt    int64 // no giving up before this time
	misses      int   // guessed deliveries in a row that found nothing

	sample   int           // percentage of acks that are told of
	acks     []machine.Ack // for the next batch
	replies  []span        // of double acks, in the open batch's arena
	gathered bool          // is in Door.acked

	lastActive    int64 // a request, delivery or ack
	lastDelivered int64
	deadline      int64 // in Door.deadlines
	heapIndex     int   // there, -1 for none
}

// openConsumer begins to serve a consumer.
func (d *Door) openConsumer(m *machine.Consumer, now int64) {
	key := m.Stream().Name() + "." + m.Name()
	c := &consumer{
		machine:     m,
		stream:      d.streams[m.Stream().Incarnation()],
		key:         key,
		replyPrefix: []byte(ackPrefix + key + "."),
		place:       -1,
		heapIndex:   -1,
		lastActive:  now,
	}
	c.lastDelivered = now
	d.consumers[m.Incarnation()] = c
	d.byName[key] = c
	d.updateConsumer(m, now)
}

// updateConsumer follows a change of the configuration.
func (d *Door) updateConsumer(m *machine.Consumer, now int64) {
	c := d.consumers[m.Incarnation()]
	if c == nil {
		return
	}
	c.machine = m
	d.updatePush(c, now)
	d.updatePace(c, now)
	d.updatePause(c, now)
	c.sample, _ = strconv.Atoi(strings.TrimSuffix(c.config().SampleFrequency, "%")) // checked; empty is 0
	if c.config().PriorityPolicy != server.PriorityPinnedClient {
		c.pin = pin{}
	}
	c.lastActive = now
	if threshold := c.threshold(); threshold > 0 {
		d.wakeAt(c, now+threshold)
	}
	d.schedule(c)
}

// closeConsumer forgets a consumer that is gone and tells those who wait.
func (d *Door) closeConsumer(m *machine.Consumer) {
	c := d.consumers[m.Incarnation()]
	if c == nil {
		return
	}
	d.releaseQueue(c, statusConsumerDeleted)
	d.unlisten(c)
	d.stopWaiting(c)
	d.forgetDeadline(c)
	c.gone = true
	delete(d.consumers, m.Incarnation())
	if d.byName[c.key] == c {
		delete(d.byName, c.key)
	}
}

func (c *consumer) config() *server.ConsumerConfig { return c.machine.Config() }

// threshold is how long the consumer may be unused, in nanoseconds; 0 for ever.
func (c *consumer) threshold() int64 {
	return int64(max(c.config().InactiveThreshold, 0))
}

// full reports that the consumer has as many messages pending as it may.
func (c *consumer) full() bool {
	config := c.config()
	_, unacked := c.machine.Backlog()
	return config.AckPolicy != server.AckNone && config.MaxAckPending > 0 && unacked >= config.MaxAckPending
}

// schedule asks for the consumer to be looked at before the next flush.
func (d *Door) schedule(c *consumer) {
	if !c.scheduled && !c.gone {
		c.scheduled = true
		d.work = append(d.work, c)
	}
}

// startWaiting has the consumer looked at when its stream gets messages.
func (d *Door) startWaiting(c *consumer) {
	if c.place < 0 && c.stream != nil {
		c.place = len(c.stream.waiting)
		c.stream.waiting = append(c.stream.waiting, c)
	}
}

func (d *Door) stopWaiting(c *consumer) {
	if c.place < 0 {
		return
	}
	list := c.stream.waiting
	last := list[len(list)-1]
	list[c.place], last.place = last, c.place
	list[len(list)-1] = nil
	c.stream.waiting, c.place = list[:len(list)-1], -1
}

// consumerDue does what is due for a consumer and sets its next deadline.
func (d *Door) consumerDue(c *consumer, now int64) {
	if c.gone {
		return
	}
	if c.delivering {
		d.wakeAt(c, now+retryDelay)
		return
	}
	d.pauseDue(c, now)
	if c.push != nil {
		d.pushDue(c, now)
	} else {
		d.pinDue(c, now)
		d.expirePulls(c, now, false)
	}
	if d.removeUnused(c, now) {
		return
	}
	d.schedule(c)
}

// removeUnused deletes a consumer that nobody has used for its inactivity
// threshold. Deliveries that may still be acknowledged are waited for.
func (d *Door) removeUnused(c *consumer, now int64) bool {
	threshold := c.threshold()
	if threshold == 0 {
		return false
	}
	if c.pulls.len > 0 || c.push != nil && c.push.active {
		c.lastActive = now
	}
	until := c.lastActive + threshold
	if c.push == nil && c.config().AckPolicy != server.AckNone && c.machine.State().NumAckPending > 0 {
		until = max(until, c.lastDelivered+c.longestAckWait()+threshold)
	}
	if now < until {
		d.wakeAt(c, until)
		return false
	}
	d.logger.Info("unused consumer removed", "stream", c.machine.Stream().Name(), "consumer", c.machine.Name())
	d.room(commandOverhead)
	d.batches.builder.DeleteConsumer(c.machine.Incarnation())
	d.batches.wait(waiter{})
	d.wakeAt(c, now+threshold) // again, should the command be lost
	return true
}

func (c *consumer) longestAckWait() int64 {
	config := c.config()
	wait := config.AckWait
	for _, backoff := range config.BackOff {
		wait = max(wait, backoff)
	}
	return int64(wait)
}
