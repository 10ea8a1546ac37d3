package machine

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// The twin is a second implementation of streams and consumers, as simple as
// it can be: maps, and a scan for every question. It states what the machine
// has to compute; twin_random_test.go compares the two.

type twinMessage struct {
	subject string
	stamp   int64
	size    uint64
	payload string
	ttl     time.Duration // 0: none; below 0: it never ends
}

type twinID struct {
	seq   uint64
	stamp int64
}

type twinStream struct {
	config      *server.StreamConfig
	messages    map[uint64]*twinMessage
	first, last uint64
	lastStamp   int64
	lastID      string
	ids         map[string]twinID
	origins     map[string]*twinOrigin
	schedules   map[string]twinSchedule // by subject
	fast        map[string]*FastBatch   // by ID
	fastWaits   map[string]bool         // for a message that was computed from the wrong base, by ID
	consumers   map[string]*twinConsumer
}

type twinGiven struct {
	first, order uint64
	at           int64 // of the last delivery, or what a later answer makes of it
	tries        int
	asked        bool  // it is due because somebody said so, not because of the ack wait
	fixed        int64 // due then, whatever the ack wait is by now; 0: not so
}

type twinConsumer struct {
	stream    *twinStream
	name      string
	config    *server.ConsumerConfig
	cursor    uint64
	skips     map[uint64]bool
	given     map[uint64]*twinGiven
	exhausted map[uint64]bool

	nextSeq, lastGiven, floorConsumer, floorStream, nextOrder uint64
}

func newTwin(config *server.StreamConfig) *twinStream {
	s := &twinStream{
		config: config, messages: make(map[uint64]*twinMessage), ids: make(map[string]twinID),
		origins: make(map[string]*twinOrigin), schedules: make(map[string]twinSchedule), fast: make(map[string]*FastBatch), fastWaits: make(map[string]bool), consumers: make(map[string]*twinConsumer),
	}
	if config.FirstSeq > 0 {
		s.first, s.last = config.FirstSeq, config.FirstSeq-1
	}
	return s
}

func twinMatch(filter, subject string) bool {
	if filter == "" || filter == ">" {
		return true
	}
	f, s := strings.Split(filter, "."), strings.Split(subject, ".")
	for i, token := range f {
		if token == ">" {
			return len(s) > i
		}
		if i >= len(s) || token != "*" && token != s[i] {
			return false
		}
	}
	return len(f) == len(s)
}

// sequences returns the live sequences of subjects that match, ascending.
func (s *twinStream) sequences(filter string) []uint64 {
	var all []uint64
	for seq, m := range s.messages {
		if twinMatch(filter, m.subject) {
			all = append(all, seq)
		}
	}
	slices.Sort(all)
	return all
}

func (s *twinStream) bytes() uint64 {
	total := uint64(0)
	for _, m := range s.messages {
		total += m.size
	}
	return total
}

func (s *twinStream) sizeOf(subject string, header []byte, payload string) uint64 {
	size := uint64(len(subject) + len(header) + len(payload))
	if s.config.Storage == server.MemoryStorage {
		return size + 16
	}
	if len(header) > 0 {
		size += 4
	}
	return size + 30
}

func (s *twinStream) names() []string { return slices.Sorted(maps.Keys(s.consumers)) }

// expire ages out. The steps are not bounded here: the random runs stay below
// what one entry does.
func (s *twinStream) expire(now int64) {
	for _, seq := range s.sequences("") {
		if s.config.SubjectDeleteMarkerTTL == 0 && s.over(seq, now) {
			s.remove(seq)
		}
	}
}

func (s *twinStream) remove(seq uint64) {
	if subject := s.messages[seq].subject; s.schedules[subject].seq == seq {
		delete(s.schedules, subject)
	}
	delete(s.messages, seq)
	if len(s.messages) == 0 {
		s.first = s.last + 1
	} else {
		s.first = s.sequences("")[0]
	}
	for _, name := range s.names() {
		c := s.consumers[name]
		delete(c.skips, seq)
		delete(c.exhausted, seq)
		if c.given[seq] != nil {
			c.settle(seq)
		}
	}
}

func (s *twinStream) wanted(subject string) bool {
	for _, c := range s.consumers {
		if c.wants(subject) {
			return true
		}
	}
	return false
}

func (s *twinStream) enforce() {
	if limit := int(s.config.MaxMsgsPer); limit > 0 {
		left := make(map[string]int)
		for _, m := range s.messages {
			left[m.subject]++
		}
		for _, seq := range s.sequences("") {
			if subject := s.messages[seq].subject; left[subject] > limit {
				left[subject]--
				s.remove(seq)
			}
		}
	}
	s.enforceTotals()
}

func (s *twinStream) enforceTotals() {
	for s.config.Discard == server.DiscardOld &&
		(s.config.MaxMsgs > 0 && len(s.messages) > int(s.config.MaxMsgs) || s.config.MaxBytes > 0 && s.bytes() > uint64(s.config.MaxBytes)) {
		s.remove(s.first)
	}
}

func (s *twinStream) update(config *server.StreamConfig) {
	s.config = config
	s.enforceTotals()
	s.enforce()
}

func (s *twinStream) purge(filter string, before, keep uint64) int {
	if before == 1 || before == 0 && s.last == 0 {
		return 0
	}
	matching := s.sequences(filter)
	n := max(len(matching)-int(keep), 0)
	removed := 0
	for _, seq := range matching[:n] {
		if before == 0 || seq < before {
			s.remove(seq)
			removed++
		}
	}
	all := filter == "" || filter == ">"
	if all && keep == 0 && (before == 0 || before > s.last) {
		s.last = max(s.last+1, before) - 1
		s.first = s.last + 1
	}
	for _, name := range s.names() {
		s.consumers[name].purged(filter)
	}
	return removed
}

func (c *twinConsumer) filters() []string {
	if c.config.FilterSubject != "" {
		return []string{c.config.FilterSubject}
	}
	return c.config.FilterSubjects
}

func (c *twinConsumer) wants(subject string) bool {
	return len(c.filters()) == 0 || slices.ContainsFunc(c.filters(), func(f string) bool { return twinMatch(f, subject) })
}

// purged moves over what a purge removed. Filters and purges of the random
// runs are literal or ">"-shaped, so that covering is matching.
func (c *twinConsumer) purged(filter string) {
	s := c.stream
	start := s.first
	if filter != "" {
		covered, all := false, len(c.filters()) > 0
		for _, f := range c.filters() {
			covered = covered || twinMatch(filter, f)
			all = all && twinMatch(filter, f)
		}
		if !covered && !c.wants(filter) {
			return
		}
		if all {
			start = s.last + 1
			if left := s.sequences(filter); len(left) > 0 {
				start = left[0]
			}
		}
	}
	start = max(start, 1)
	c.cursor = max(c.cursor, start)
	if len(c.skips) == 0 {
		c.lastGiven = c.cursor - 1
	}
	c.floorStream = max(c.floorStream, start-1)
	if len(c.given) == 0 {
		c.exhausted = make(map[uint64]bool)
		c.floorConsumer, c.floorStream = c.nextSeq-1, c.lastGiven
	}
}

func newTwinConsumer(s *twinStream, name string, config *server.ConsumerConfig) *twinConsumer {
	c := &twinConsumer{
		stream: s, name: name, config: config, nextSeq: 1,
		skips: make(map[uint64]bool), given: make(map[uint64]*twinGiven), exhausted: make(map[uint64]bool),
	}
	lastOf := make(map[string]uint64)
	newest := uint64(0)
	for _, seq := range s.sequences("") {
		if m := s.messages[seq]; c.wants(m.subject) {
			lastOf[m.subject] = seq
			newest = seq
		}
	}
	at := uint64(0)
	switch config.DeliverPolicy {
	case server.DeliverAll:
		at = s.first
	case server.DeliverLast:
		at = s.last
		if len(c.filters()) > 0 {
			at = newest
		}
	case server.DeliverNew:
		at = s.last + 1
	case server.DeliverByStartSequence:
		at = config.OptStartSeq
	case server.DeliverLastPerSubject:
		at = s.last
		if s.config.MaxMsgsPer == 1 {
			at = s.first
		} else if len(lastOf) > 0 {
			for _, seq := range lastOf {
				c.skips[seq] = true
				at = min(at, seq)
			}
		}
	}
	if config.DeliverPolicy != server.DeliverByStartSequence {
		at = min(at, s.last+1)
	}
	at = max(at, s.first, 1)
	c.cursor, c.lastGiven, c.floorStream = at, at-1, at-1
	if len(c.skips) > 0 {
		c.cursor = s.last + 1
	}
	return c
}

// fresh returns what was not given out yet, in order.
func (c *twinConsumer) fresh() []uint64 {
	var all []uint64
	for seq, m := range c.stream.messages {
		if c.skips[seq] || seq >= c.cursor && c.wants(m.subject) {
			all = append(all, seq)
		}
	}
	slices.Sort(all)
	return all
}

func (c *twinConsumer) arm(g *twinGiven, at int64, asked bool) {
	g.at, g.order, g.asked, g.fixed = at, c.nextOrder, asked, 0
	c.nextOrder++
}

func (c *twinConsumer) wait(g *twinGiven) int64 {
	if n := len(c.config.BackOff); n > 0 {
		return int64(c.config.BackOff[min(max(g.tries, 1), n)-1])
	}
	return int64(c.config.AckWait)
}

func (c *twinConsumer) due(g *twinGiven) int64 {
	if g.fixed > 0 {
		return g.fixed
	}
	if c.wait(g) == 0 && !g.asked {
		return math.MaxInt64
	}
	return g.at + c.wait(g)
}

// deliver returns "sequence/consumer sequence/deliveries/pending".
func (c *twinConsumer) deliver(now int64, n int) []string {
	var out []string
	var due []uint64
	for seq, g := range c.given {
		if c.due(g) <= now {
			due = append(due, seq)
		}
	}
	sort.Slice(due, func(i, j int) bool {
		a, b := c.given[due[i]], c.given[due[j]]
		return c.due(a) < c.due(b) || c.due(a) == c.due(b) && a.order < b.order
	})
	for _, seq := range due {
		if g := c.given[seq]; c.config.MaxDeliver > 0 && g.tries >= c.config.MaxDeliver {
			c.exhausted[seq] = true
			c.settle(seq)
		}
	}
	for _, seq := range due {
		if g := c.given[seq]; g != nil && n > 0 {
			g.tries++
			c.arm(g, now, false)
			out = append(out, fmt.Sprintf("%d/%d/%d/%d", seq, c.nextSeq, g.tries, len(c.fresh())))
			c.nextSeq++
			n--
		}
	}
	for ; n > 0 && (c.config.AckPolicy == server.AckNone || c.config.MaxAckPending <= 0 || len(c.given) < c.config.MaxAckPending); n-- {
		fresh := c.fresh()
		if len(fresh) == 0 {
			c.cursor = max(c.cursor, c.stream.last+1)
			break
		}
		seq := fresh[0]
		if c.skips[seq] {
			delete(c.skips, seq)
		} else {
			c.cursor = seq + 1
		}
		c.lastGiven = seq
		if c.config.AckPolicy == server.AckNone {
			c.floorConsumer, c.floorStream = c.nextSeq, seq
		} else {
			g := &twinGiven{first: c.nextSeq, tries: 1}
			c.arm(g, now, false)
			c.given[seq] = g
		}
		out = append(out, fmt.Sprintf("%d/%d/%d/%d", seq, c.nextSeq, 1, len(fresh)-1))
		c.nextSeq++
		if c.config.AckPolicy == server.AckNone {
			c.stream.release(seq)
		}
	}
	return out
}

// release removes a message that no consumer of an interest or work queue
// stream needs.
func (s *twinStream) release(seq uint64) {
	m := s.messages[seq]
	if s.config.Retention == server.LimitsPolicy || m == nil {
		return
	}
	for _, c := range s.consumers {
		if c.wants(m.subject) && (seq >= c.cursor || c.skips[seq] || c.given[seq] != nil || c.exhausted[seq]) {
			return
		}
	}
	s.remove(seq)
}

func (c *twinConsumer) settle(seq uint64) {
	first := c.given[seq].first
	delete(c.given, seq)
	if len(c.given) == 0 {
		c.floorConsumer, c.floorStream = c.nextSeq-1, c.lastGiven
		return
	}
	if first != c.floorConsumer+1 {
		return
	}
	c.floorConsumer, c.floorStream = first, seq
	for _, next := range slices.Sorted(maps.Keys(c.given)) {
		if next > seq {
			c.floorConsumer, c.floorStream = c.given[next].first-1, next-1
			break
		}
	}
}

func (c *twinConsumer) answer(now int64, a Ack) {
	g := c.given[a.StreamSeq]
	switch {
	case a.Kind == AckProgress:
		if g != nil && c.due(g) > now {
			c.arm(g, now, false)
		}
	case a.Kind == AckNak:
		if g != nil && a.ConsumerSeq > c.floorConsumer && a.ConsumerSeq < c.nextSeq && (a.Delay > 0 || c.due(g) > now) {
			c.arm(g, now+a.Delay-c.wait(g), true)
		}
	case a.Kind == AckReturn:
		if g != nil && g.tries == int(a.Deliveries) && g.tries > 0 {
			g.tries--
			c.arm(g, now-c.wait(g), true)
		}
	case a.StreamSeq > c.lastGiven || c.config.AckPolicy == server.AckNone:
	case c.config.AckPolicy == server.AckExplicit:
		if g != nil {
			c.settle(a.StreamSeq)
			c.stream.release(a.StreamSeq)
		} else if c.exhausted[a.StreamSeq] {
			delete(c.exhausted, a.StreamSeq)
			c.stream.release(a.StreamSeq)
		}
	case a.ConsumerSeq > c.floorConsumer && a.StreamSeq > c.floorStream && a.ConsumerSeq < c.nextSeq:
		c.floorConsumer, c.floorStream = a.ConsumerSeq, a.StreamSeq
		for _, seq := range slices.Sorted(maps.Keys(c.given)) {
			if seq <= a.StreamSeq {
				delete(c.given, seq)
				c.stream.release(seq)
			}
		}
		for _, seq := range slices.Sorted(maps.Keys(c.exhausted)) {
			if seq <= a.StreamSeq {
				delete(c.exhausted, seq)
				c.stream.release(seq)
			}
		}
	}
}

func (c *twinConsumer) state() string {
	redelivered := len(c.exhausted)
	for _, g := range c.given {
		if g.tries > 1 {
			redelivered++
		}
	}
	if c.config.MaxDeliver == 1 {
		redelivered = 0
	}
	return fmt.Sprintf("delivered %d/%d floor %d/%d unacked %d redelivered %d pending %d",
		c.nextSeq-1, c.lastGiven, c.floorConsumer, c.floorStream, len(c.given), redelivered, len(c.fresh()))
}

// drop deletes a consumer.
func (s *twinStream) drop(name string) {
	gone := s.consumers[name]
	delete(s.consumers, name)
	if s.config.Retention != server.InterestPolicy {
		return
	}
	if len(s.consumers) == 0 {
		for _, seq := range s.sequences("") {
			s.remove(seq)
		}
		s.first = s.last + 1
		return
	}
	for _, seq := range s.sequences("") {
		if seq >= max(gone.floorStream, s.first) {
			s.release(seq)
		}
	}
}

// reset returns where the consumer goes on, and whether it may.
func (c *twinConsumer) reset(seq uint64) (uint64, bool) {
	switch {
	case seq == 0:
		seq = c.floorStream + 1
	case c.config.DeliverPolicy == server.DeliverAll:
	case c.config.DeliverPolicy == server.DeliverByStartSequence && seq >= c.config.OptStartSeq:
	default:
		return 0, false
	}
	if len(c.skips) > 0 {
		for other := range c.given {
			c.skips[other] = true
		}
	} else {
		c.cursor = seq
	}
	c.given, c.exhausted = make(map[uint64]*twinGiven), make(map[uint64]bool)
	c.nextSeq, c.lastGiven, c.floorConsumer, c.floorStream = 1, seq-1, 0, seq-1
	if s := c.stream; s.config.Retention == server.InterestPolicy {
		for _, other := range s.sequences("") {
			s.release(other)
		}
	}
	return seq, true
}

func (c *twinConsumer) update(config *server.ConsumerConfig, now int64) {
	for _, seq := range slices.Sorted(maps.Keys(c.given)) {
		g := c.given[seq]
		if config.DeliverSubject != c.config.DeliverSubject {
			c.arm(g, now, true)
			g.fixed = now
		} else if due := c.due(g); due <= now {
			g.fixed = due
		}
	}
	before := fmt.Sprint(c.filters())
	c.config = config
	if s := c.stream; fmt.Sprint(c.filters()) != before && s.config.Retention == server.InterestPolicy {
		for _, seq := range s.sequences("") {
			if seq >= c.floorStream {
				s.release(seq)
			}
		}
	}
}

func (s *twinStream) state() string {
	return fmt.Sprint(len(s.messages), s.bytes(), s.first, s.last, s.lastStamp)
}
