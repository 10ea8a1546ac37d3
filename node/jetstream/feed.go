package jetstream

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

const (
	// maxFeedBytes and maxFeedMessages bound what one feed has proposed and not
	// seen applied.
	maxFeedBytes    = 1 << 20
	maxFeedMessages = 2048
	// feedSteps is how many messages of its origin a feed looks at in one go.
	feedSteps = 8192
	// feedPause is the wait after a message could not be stored, for example
	// because the stream is full and discards new messages.
	feedPause = int64(250 * time.Millisecond)
)

// feed fetches the messages of one origin for a mirror, or for a stream with
// sources. Only the leader has feeds, and what they know is volatile: what was
// taken over is part of the stream's state, from which the next leader goes on.
type feed struct {
	stream *machine.Stream // that takes the messages
	source *server.StreamSource
	name   string // machine.SourceName; empty for a mirror
	// filters of the origin's subjects, empty for all, and what becomes of the
	// subjects that each of them matches; nil leaves them as they are.
	filters    []string
	transforms []server.SubjectTransformer

	next     uint64 // sequence at the origin to go on with
	previous uint64 // machine.Origin.Previous of the next proposal
	identity string // of the origin
	again    bool   // it is another one than that of which the stream has taken messages
	flying   int    // proposals that were not applied yet
	bytes    int    // of these
	broken   bool   // a proposal was refused: begin anew when none is flying
	retryAt  int64  // nothing is proposed before
	limited  int64  // when it was last logged that the stream takes nothing

	err   *server.ApiError
	lag   uint64
	heard int64 // when the origin was last heard of, 0 for never

	remote    *remote // nil: the origin is a stream of this door, read directly
	scheduled bool    // is in feeds.work
	gone      bool
}

// feeds are all the feeds of a door.
type feeds struct {
	all []*feed
	of  map[machine.Incarnation][]*feed // those of a stream, in the order of its configuration
	// local are those that read a stream here, by its name.
	local map[string][]*feed
	work  []*feed // to be looked at before the next flush
	// inboxes are the subjects on which remote feeds are answered and delivered to.
	inboxes map[string]*feed
	// looped are messages between a feed and the API of this very door.
	looped []loopedMessage
	header []byte // being built
}

// openFeeds begins to fetch what a stream takes from others.
func (d *Door) openFeeds(s *machine.Stream) {
	config := s.Config()
	if config.Mirror != nil {
		d.openFeed(s, config.Mirror, "")
	}
	for _, source := range config.Sources {
		d.openFeed(s, source, machine.SourceName(source))
	}
}

func (d *Door) openFeed(s *machine.Stream, source *server.StreamSource, name string) {
	f := &feed{stream: s, source: source, name: name, broken: true}
	if source.FilterSubject != "" {
		f.filters, f.transforms = []string{source.FilterSubject}, []server.SubjectTransformer{nil}
	}
	for _, t := range source.SubjectTransforms {
		from := t.Source
		if from == "" {
			from = ">"
		}
		f.filters = append(f.filters, from)
		f.transforms = append(f.transforms, d.transformer(t.Source, t.Destination))
	}
	d.feeds.all = append(d.feeds.all, f)
	if d.feeds.of == nil {
		d.feeds.of = make(map[machine.Incarnation][]*feed)
	}
	d.feeds.of[s.Incarnation()] = append(d.feeds.of[s.Incarnation()], f)
	if d.readsDirectly(source) {
		d.watchOrigin(f)
	} else {
		f.remote = &remote{local: source.External == nil}
	}
	d.scheduleFeed(f)
}

// transformer returns what maps subjects, or nil when they stay as they are.
func (d *Door) transformer(from, to string) server.SubjectTransformer {
	t, err := server.NewSubjectTransform(from, to)
	if err != nil {
		d.logger.Error("subject transform cannot be used", "source", from, "destination", to, "error", err)
	}
	if err != nil || t == nil {
		return nil
	}
	return t
}

// readsDirectly reports whether a source is a stream of this account whose index
// is read, without a consumer. A stream that keeps messages only as long as
// somebody needs them has to know of the feed: it has a consumer for it.
func (d *Door) readsDirectly(source *server.StreamSource) bool {
	if source.External != nil || source.Consumer != nil {
		return false
	}
	origin := d.machine.Stream(source.Name)
	return origin == nil || origin.Config().Retention == server.LimitsPolicy
}

func (d *Door) watchOrigin(f *feed) {
	if d.feeds.local == nil {
		d.feeds.local = make(map[string][]*feed)
	}
	d.feeds.local[f.source.Name] = append(d.feeds.local[f.source.Name], f)
}

// closeFeeds stops fetching for a stream.
func (d *Door) closeFeeds(s *machine.Stream) {
	for _, f := range d.feeds.of[s.Incarnation()] {
		d.closeFeed(f)
	}
	d.sweepFeeds(s)
}

// sweepFeeds forgets the feeds of a stream that were closed.
func (d *Door) sweepFeeds(s *machine.Stream) {
	gone := func(f *feed) bool { return f.gone }
	of := d.feeds.of[s.Incarnation()]
	if !slices.ContainsFunc(of, gone) {
		return
	}
	if of = slices.DeleteFunc(of, gone); len(of) > 0 {
		d.feeds.of[s.Incarnation()] = of
	} else {
		delete(d.feeds.of, s.Incarnation())
	}
	d.feeds.all = slices.DeleteFunc(d.feeds.all, gone)
}

func (d *Door) closeFeed(f *feed) {
	f.gone = true
	if f.remote != nil {
		d.endRemote(f)
		return
	}
	list := slices.DeleteFunc(d.feeds.local[f.source.Name], func(o *feed) bool { return o == f })
	d.feeds.local[f.source.Name] = list
	if len(list) == 0 {
		delete(d.feeds.local, f.source.Name)
	}
}

// stopFeeds ends all feeds, before the leadership goes.
func (d *Door) stopFeeds() {
	for _, f := range d.feeds.all {
		d.closeFeed(f)
	}
	d.feeds = feeds{}
}

// startFeeds begins with the feeds of every stream.
func (d *Door) startFeeds() {
	d.feeds = feeds{}
	for _, s := range d.machine.Streams() {
		d.openFeeds(s)
	}
}

// updateFeeds follows a change of a stream's configuration. Feeds whose source
// did not change go on.
func (d *Door) updateFeeds(s *machine.Stream) {
	config := s.Config()
	wanted := make(map[string]*server.StreamSource)
	if config.Mirror != nil {
		wanted[""] = config.Mirror
	}
	for _, source := range config.Sources {
		wanted[machine.SourceName(source)] = source
	}
	for _, f := range d.feeds.of[s.Incarnation()] {
		if source := wanted[f.name]; source != nil && sameSource(source, f.source) {
			f.source = source
			delete(wanted, f.name)
		} else {
			d.forsake(f)
			d.closeFeed(f)
		}
	}
	d.sweepFeeds(s)
	for _, name := range sortedKeys(wanted) {
		d.openFeed(s, wanted[name], name)
	}
}

func sameSource(a, b *server.StreamSource) bool {
	sameTime := a.OptStartTime == nil && b.OptStartTime == nil ||
		a.OptStartTime != nil && b.OptStartTime != nil && a.OptStartTime.Equal(*b.OptStartTime)
	sameConsumer := a.Consumer == nil && b.Consumer == nil || a.Consumer != nil && b.Consumer != nil && *a.Consumer == *b.Consumer
	return a.OptStartSeq == b.OptStartSeq && sameTime && sameConsumer && machine.SourceName(a) == machine.SourceName(b)
}

// followStream looks after the feeds of a stream that was created, updated or
// deleted, and after those of which it is the origin.
func (d *Door) followStream(e *machine.Event) {
	if d.role != leading {
		return
	}
	switch e.Kind {
	case machine.EventStreamCreated:
		d.openFeeds(e.Stream)
	case machine.EventStreamUpdated:
		d.updateFeeds(e.Stream)
	case machine.EventStreamDeleted:
		for _, f := range d.feeds.of[e.Stream.Incarnation()] {
			d.forsake(f)
		}
		d.closeFeeds(e.Stream)
	}
	d.originChanged(e.Stream)
}

// originChanged looks at the feeds of a stream that was created, updated or
// deleted: it may have to be read in another way now.
func (d *Door) originChanged(s *machine.Stream) {
	for _, f := range slices.Clone(d.feeds.all) {
		if f.source.External != nil || f.source.Name != s.Name() {
			continue
		}
		if direct := d.readsDirectly(f.source); direct != (f.remote == nil) && !f.gone {
			d.closeFeed(f)
			d.sweepFeeds(f.stream)
			d.openFeed(f.stream, f.source, f.name)
			continue
		}
		f.broken = f.broken || f.remote == nil
		d.scheduleFeed(f)
	}
}

// scheduleFeed asks for the feed to be looked at before the next flush.
func (d *Door) scheduleFeed(f *feed) {
	if !f.scheduled && !f.gone {
		f.scheduled = true
		d.feeds.work = append(d.feeds.work, f)
	}
}

// runFeeds looks at the scheduled feeds.
func (d *Door) runFeeds() {
	d.runLoop()
	if len(d.feeds.work) == 0 {
		return
	}
	now := d.node.Now()
	work := d.feeds.work
	d.feeds.work = nil
	for _, f := range work {
		f.scheduled = false
		switch {
		case f.gone:
		case f.remote != nil:
			d.advanceRemote(f, now)
		default:
			d.advanceFeed(f, now)
		}
	}
}

// tickFeeds looks after what waits for a time.
func (d *Door) tickFeeds(now int64) {
	for _, f := range d.feeds.all {
		if f.retryAt != 0 && f.retryAt <= now || f.remote != nil && d.remoteDue(f, now) {
			d.scheduleFeed(f)
		}
	}
}

// mayPropose reports whether a feed may add to what it has proposed.
func (d *Door) mayPropose(f *feed, now int64) bool {
	if f.retryAt > now || f.bytes >= maxFeedBytes || f.flying >= maxFeedMessages {
		return false
	}
	if d.batches.queued > d.options.MaxQueued/2 {
		f.retryAt = now + retryDelay
		return false
	}
	f.retryAt = 0
	return true
}

// proposeFrom proposes a message of the origin. It reports false when the message
// has to be fetched again later.
func (d *Door) proposeFrom(f *feed, o *machine.Origin, subject string, header, payload []byte) bool {
	o.Source, o.Previous, o.Identity = f.name, f.previous, f.identity
	header = d.takenHeader(f, o, subject, header)
	target := []byte(f.transform(subject))
	if st := d.streamOf(f.stream); st != nil && st.transforms.input != nil {
		target = st.transforms.storedSubject(target)
	}
	k := call{feed: f}
	if f.stream.Config().AllowMsgCounter && f.name != "" {
		var ok bool
		if header, payload, ok = d.sumSourced(&k, target, header, payload); !ok {
			f.broken, f.retryAt = true, d.node.Now()+retryDelay
			return false
		}
	}
	k.size = len(header) + len(payload) + len(target) + len(f.name) + 3*commandOverhead
	d.room(k.size)
	if k.total != nil {
		o.Said = machine.PrefaceCounter
		o.SaidA, o.SaidB = k.total.base(d.batches.open)
	}
	slot := d.batches.builder.StoreFrom(f.stream.Incarnation(), o, target, header, payload)
	for range o.Slots() - 1 {
		d.batches.wait(waiter{})
	}
	d.batches.waitForCall(waitFeed, k)
	if k.total != nil {
		k.total.onTheWay(d.batches.open, slot)
	}
	d.touch(f.stream)
	f.previous = o.Seq
	f.flying++
	f.bytes += k.size
	return true
}

// transform returns the subject under which a message is stored.
func (f *feed) transform(subject string) string {
	for _, t := range f.transforms {
		if t == nil {
			continue
		}
		if mapped, err := t.Match(subject); err == nil {
			return mapped
		}
	}
	return subject
}

// takenHeader returns the header under which a message is stored: without what
// the publisher expected of the origin, and for a source with where it is from.
// Format: stream, sequence, filter, destination, subject, identity.
func (d *Door) takenHeader(f *feed, o *machine.Origin, subject string, header []byte) []byte {
	b := d.feeds.header[:0]
	if len(header) > 0 {
		b = appendWithout(b, header, "Nats-Expected-", "Nats-Batch-")
		if f.name != "" {
			b = withoutHeader(b, server.JSStreamSource)
		}
	}
	if f.name != "" {
		if len(b) == 0 {
			b = append(d.feeds.header[:0], headerLine...)
		} else {
			b = b[:len(b)-len(crlf)]
		}
		name, rest := cutName(f.name)
		b = append(b, server.JSStreamSource+": "...)
		b = append(append(b, name...), ' ')
		b = append(strconv.AppendUint(b, o.Seq, 10), ' ')
		b = append(append(b, rest...), ' ')
		b = append(b, subject...)
		if f.identity != "" {
			b = append(append(b, ' '), f.identity...)
		}
		b = append(b, crlf+crlf...)
	}
	d.feeds.header = b
	return b
}

// cutName splits a SourceName behind the stream.
func cutName(name string) (stream, rest string) {
	for i := range len(name) {
		if name[i] == ' ' {
			return name[:i], name[i+1:]
		}
	}
	return name, ""
}

// fed takes the result of a proposal.
func (d *Door) fed(k *call, result *machine.Result) {
	f := k.feed
	f.flying--
	f.bytes -= k.size
	d.summed(k.total, result)
	if f.gone {
		return
	}
	stored := result.Err == nil && !result.Unmet
	if f.remote != nil {
		f.remote.settled(stored)
	}
	if !stored && !f.broken {
		f.broken = true
		now := d.node.Now()
		f.retryAt = now + feedPause
		if result.Err != nil && result.Err.ErrCode != uint16(server.JSStreamSequenceNotMatchErr) && now-f.limited > int64(time.Minute) {
			f.limited = now
			d.logger.Warn("a sourced message cannot be stored; it is tried again", "stream", f.stream.Name(), "source", f.source.Name, "error", result.Err)
		}
	}
	d.scheduleFeed(f)
}

// lost takes note that a proposal never reached the log.
func (d *Door) lost(f *feed, size int) {
	f.flying--
	f.bytes -= size
	f.broken = true
	d.scheduleFeed(f)
}

// describeFeeds is what the info of a stream says of its mirror or sources.
func (d *Door) describeFeeds(s *machine.Stream) (mirror *server.StreamSourceInfo, sources []*server.StreamSourceInfo) {
	for _, f := range d.feeds.of[s.Incarnation()] {
		info := d.describeFeed(f)
		if f.name == "" {
			return info, nil
		}
		info.Seq, _ = s.Taken(f.name)
		sources = append(sources, info)
	}
	return nil, sources
}

func (d *Door) describeFeed(f *feed) *server.StreamSourceInfo {
	info := &server.StreamSourceInfo{
		Name: f.source.Name, External: f.source.External, Lag: f.lag, Error: f.err,
		FilterSubject: f.source.FilterSubject, SubjectTransforms: f.source.SubjectTransforms, Active: -1,
	}
	if f.remote == nil {
		if origin := d.machine.Stream(f.source.Name); origin != nil {
			info.Lag, info.Active = f.behind(origin), 0
		}
	} else if f.heard != 0 {
		info.Active = time.Duration(d.node.Now() - f.heard)
	}
	return info
}

var errNoResponse = errors.New("no answer from the origin's JetStream API")
