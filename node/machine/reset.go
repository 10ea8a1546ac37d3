package machine

import (
	"errors"
	"slices"

	"github.com/nats-io/nats-server/v2/server"
)

// reset applies a reset command: the consumer forgets what it delivered and goes
// on at a sequence, or, with 0, behind its ack floor
// (consumer.resetStartingSeqLocked of the NATS server). Result.Seq is where.
func (c *Consumer) reset(seq uint64, result *Result) {
	if err := c.checkReset(seq); err != nil {
		result.Err = server.NewJSConsumerInvalidResetError(err)
		return
	}
	if seq == 0 {
		seq = c.floorStream + 1
	}
	result.Seq = seq
	c.restart(seq)
	if s := c.stream; s.config.Retention == server.InterestPolicy {
		s.startReview(s.first, true)
	}
}

// checkReset says why a consumer may not be reset to a sequence: it would see
// what its deliver policy spares it.
func (c *Consumer) checkReset(seq uint64) error {
	if seq == 0 {
		return nil
	}
	switch policy := c.config.DeliverPolicy; {
	case policy == server.DeliverAll:
		return nil
	case policy == server.DeliverByStartSequence:
		if seq < c.config.OptStartSeq {
			return errors.New("below start seq")
		}
		return nil
	case policy == server.DeliverByStartTime && c.config.OptStartTime != nil:
		first, ok := c.stream.index.sequenceAt(c.config.OptStartTime.UnixNano())
		if !ok {
			first = c.stream.last + 1
		}
		if seq < first {
			return errors.New("below start time")
		}
		return nil
	}
	return errors.New("not allowed")
}

// restart begins again at a sequence.
func (c *Consumer) restart(seq uint64) {
	if len(c.skips) > 0 {
		// Still among the last messages of each subject: those that were given
		// out and not answered come again, and no others.
		c.pending.each(func(d *delivered) { c.skips = append(c.skips, d.seq) })
		slices.Sort(c.skips)
	} else {
		c.cursor = seq
	}
	c.pending, c.due, c.final = pendingList{}, timerHeap{}, timerHeap{}
	c.exhausted, c.redelivered = nil, 0
	c.nextSeq, c.lastGiven = 1, seq-1
	c.floorConsumer, c.floorStream = 0, seq-1
	c.lastDelivery, c.lastAck = 0, 0
	c.countWaiting()
	c.stream.setWatcher(c)
	c.touch()
}
