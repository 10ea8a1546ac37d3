package machine

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// twinOrigin is how far a twin is with one of its sources.
type twinOrigin struct {
	seq      uint64
	identity string
}

// randomOrigin makes a new stream one that takes messages of others.
func (p *pair) randomOrigin(c *server.StreamConfig) {
	switch p.random.IntN(4) {
	case 0:
		c.Mirror, c.Subjects, c.FirstSeq = &server.StreamSource{Name: "ORIGIN"}, nil, 0
	case 1:
		c.Sources = []*server.StreamSource{{Name: "O"}, {Name: "P", FilterSubject: "p.*"}}
	}
}

// takeRandom offers a message of another stream, often one that does not follow.
func (p *pair) takeRandom(s *Stream, twin *twinStream) {
	o := Origin{Stamp: max(twin.lastStamp+1, p.now-p.random.Int64N(int64(time.Second)))}
	var state *twinOrigin
	if twin.config.Mirror != nil {
		o.Previous = twin.last
	} else {
		o.Source = SourceName(twin.config.Sources[p.random.IntN(2)])
		if state = twin.origins[o.Source]; state == nil {
			state = &twinOrigin{}
			twin.origins[o.Source] = state
		}
		o.Previous, o.Identity = state.seq, state.identity
		if p.random.IntN(8) == 0 { // the origin was created again
			o.Identity = fmt.Sprint("i", p.random.IntN(3))
			if p.random.IntN(4) > 0 && o.Identity != state.identity && state.identity != "" {
				o.Previous = 0
			}
		}
	}
	if p.random.IntN(5) == 0 {
		o.Previous += uint64(p.random.IntN(3))
	}
	o.Seq = o.Previous + 1 + uint64(p.random.IntN(3)*p.random.IntN(60))
	subject, payload := p.randomSubject(s), fmt.Sprint("o", p.index, ".", p.batch.Slots())
	var h []byte
	headers := make(map[string]string)
	if p.random.IntN(4) == 0 {
		headers[server.JSMsgRollup] = []string{"sub", "all", "nonsense"}[p.random.IntN(3)]
		h = header(server.JSMsgRollup, headers[server.JSMsgRollup])
		if !twin.config.AllowRollup || headers[server.JSMsgRollup] == "nonsense" {
			delete(headers, server.JSMsgRollup)
		}
	}
	p.batch.StoreFrom(s.Incarnation(), &o, []byte(subject), h, []byte(payload))
	m := &twinMessage{subject: subject, stamp: p.now + int64(p.batch.Slots()-1), size: twin.sizeOf(subject, h, payload), payload: payload}
	p.expect(func(r *Result) {})
	follows := o.Previous == twin.last
	if state != nil {
		changed := state.identity != "" && o.Identity != "" && state.identity != o.Identity
		follows = !changed && o.Previous == state.seq || changed && o.Previous == 0
	}
	if !follows {
		p.expect(func(r *Result) {
			p.t.Helper()
			expect(p.t, "refused", r.Err != nil && r.Err.ErrCode == uint16(server.JSStreamSequenceNotMatchErr), true)
		})
		return
	}
	if twin.config.Mirror != nil {
		m.stamp = o.Stamp
		twin.last = o.Seq - 1
		if len(twin.messages) == 0 {
			twin.first = o.Seq
		}
	}
	seq, code := p.offer(twin, m, headers)
	if state != nil && code == 0 {
		*state = twinOrigin{o.Seq, o.Identity}
	}
	p.expect(func(r *Result) {
		p.t.Helper()
		got := server.ErrorIdentifier(0)
		if r.Err != nil {
			got = server.ErrorIdentifier(r.Err.ErrCode)
		}
		expect(p.t, "taken", fmt.Sprint(r.Seq, got), fmt.Sprint(seq, code))
	})
}

// offer publishes to the twin. A mirror takes everything.
func (p *pair) offer(twin *twinStream, m *twinMessage, headers map[string]string) (uint64, server.ErrorIdentifier) {
	config := twin.config
	if config.Mirror != nil {
		lenient := *config
		lenient.Discard = server.DiscardOld
		if config.Discard == server.DiscardNew {
			lenient.MaxMsgs, lenient.MaxBytes = -1, -1
		}
		twin.config = &lenient
	}
	seq, _, code := twin.publish(m, p.now, headers, preface{})
	twin.config = config
	return seq, code
}

// compareOrigins compares how far machine and twin are with the sources.
func (p *pair) compareOrigins(s *Stream, twin *twinStream) {
	p.t.Helper()
	for name, state := range twin.origins {
		seq, identity := s.Taken(name)
		expect(p.t, "taken from "+name, fmt.Sprint(seq, identity), fmt.Sprint(state.seq, state.identity))
	}
}

func mirrorOf(name string) func(*server.StreamConfig) {
	return func(c *server.StreamConfig) { c.Mirror, c.Subjects = &server.StreamSource{Name: name}, nil }
}

// takeAll offers messages under these sequences, each following on the last.
func (w *world) takeAll(s *Stream, source string, seqs ...uint64) {
	w.t.Helper()
	previous, _ := s.Taken(source)
	if source == "" {
		previous = s.last
	}
	for _, seq := range seqs {
		w.batch.StoreFrom(s.Incarnation(), &Origin{Source: source, Previous: previous, Seq: seq, Stamp: epoch + int64(seq)}, []byte("o.x"), nil, nil)
		previous = seq
	}
	for i, r := range w.apply().Slots {
		if r.Err != nil {
			w.t.Fatalf("slot %d: %v", i, r.Err)
		}
	}
}

func TestMirrorsKeepSequencesAndTimes(t *testing.T) {
	w := newWorld(t)
	s := w.stream("M", mirrorOf("O"))
	w.takeAll(s, "", 101, 102, 105, 400, 1000)
	expect(t, "contents", contents(s), "101:o.x 102:o.x 105:o.x 400:o.x 1000:o.x")
	state := s.State()
	expect(t, "state", fmt.Sprint(state.FirstSeq, state.LastSeq, state.Msgs, state.NumDeleted), "101 1000 5 895")
	for _, seq := range []uint64{101, 102, 105, 400, 1000} {
		stored, _ := s.Message(seq)
		expect(t, "stamp", stored.Stamp, epoch+int64(seq))
		expect(t, "content", string(w.read(stored.Location).Subject), "o.x")
	}
	expect(t, "sequence at a time", s.SequenceAt(epoch+103), 105)

	w.batch.SkipTo(s.Incarnation(), 1200)
	w.batch.SkipTo(s.Incarnation(), 7)
	w.apply()
	expect(t, "last", s.State().LastSeq, 1200)
	w.batch.StoreFrom(s.Incarnation(), &Origin{Previous: 1000, Seq: 1201}, []byte("o.x"), nil, nil)
	expect(t, "what does not follow", w.apply().Slots[1].Err.ErrCode, uint16(server.JSStreamSequenceNotMatchErr))
	w.takeAll(s, "", 1201)
	expect(t, "last", s.State().LastSeq, 1201)

	empty := w.stream("E", mirrorOf("O"))
	w.batch.SkipTo(empty.Incarnation(), 100)
	w.apply()
	state = empty.State()
	expect(t, "an empty mirror", fmt.Sprint(state.FirstSeq, state.LastSeq), "101 100")
	plain := w.stream("P")
	w.batch.SkipTo(plain.Incarnation(), 100)
	expect(t, "not a mirror", w.one().Err.ErrCode, uint16(server.JSStreamSequenceNotMatchErr))
}

func TestMirrorsTellWhenTheyAreReady(t *testing.T) {
	w := newWorld(t)
	s := w.stream("M", mirrorOf("O"))
	for seq, pending := range []uint64{30, 10, 9, 0} {
		w.batch.StoreFrom(s.Incarnation(), &Origin{Previous: uint64(seq), Seq: uint64(seq) + 1, Pending: pending}, []byte("o.x"), nil, nil)
		told := false
		for _, e := range w.apply().Events {
			told = told || e.Kind == EventMirrorReady && e.Stream == s
		}
		expect(t, fmt.Sprint("told with pending ", pending), told, pending == 9)
		expect(t, "ready", s.MirrorReady(), pending < 10)
	}
}

func TestSourcesAreFollowedOneByOne(t *testing.T) {
	w := newWorld(t)
	config := func(sources ...string) func(*server.StreamConfig) {
		return func(c *server.StreamConfig) {
			for _, name := range sources {
				c.Sources = append(c.Sources, &server.StreamSource{Name: name})
			}
		}
	}
	s := w.stream("S", config("O", "P"))
	offer := func(source string, previous, seq uint64, identity string) *server.ApiError {
		w.batch.StoreFrom(s.Incarnation(), &Origin{Source: source + " > >", Previous: previous, Seq: seq, Identity: identity}, []byte("o.x"), nil, nil)
		return w.apply().Slots[1].Err
	}
	for _, step := range []struct {
		source        string
		previous, seq uint64
		identity      string
		ok            bool
	}{
		{"O", 0, 5, "", true}, {"O", 0, 5, "", false}, {"O", 5, 6, "one", true}, {"P", 0, 1, "", true},
		{"O", 4, 7, "one", false}, {"O", 6, 6, "one", false}, {"O", 7, 8, "one", false}, {"O", 6, 9, "one", true},
		{"O", 9, 10, "two", false}, {"O", 0, 2, "two", true}, {"O", 2, 3, "two", true}, {"Q", 0, 1, "", false}, {"", 0, 1, "", false},
	} {
		expect(t, fmt.Sprint(step), offer(step.source, step.previous, step.seq, step.identity) == nil, step.ok)
	}
	update := func(sources ...string) {
		w.batch.UpdateStream(w.normalStream(streamConfig("S", config(sources...))))
		expect(t, "update", w.one().Err, nil)
	}
	update("P")
	expect(t, "no source any more", offer("O", 3, 4, "two") != nil, true)
	update("P", "O")
	expect(t, "a source again goes on", offer("O", 3, 4, "two"), nil)
	update("P")
	w.batch.PurgeStream(s.Incarnation(), server.JSApiStreamPurgeRequest{})
	w.apply()
	update("O", "P")
	update("P")
	update("O", "P")
	expect(t, "after a purge it begins anew", offer("O", 0, 1, "two"), nil)
}

func TestWhatSourcesCannotStoreIsOfferedAgain(t *testing.T) {
	w := newWorld(t)
	s := w.stream("S", func(c *server.StreamConfig) {
		c.Sources = []*server.StreamSource{{Name: "O"}}
		c.Discard, c.MaxMsgs = server.DiscardNew, 2
	})
	w.takeAll(s, "O > >", 1, 2)
	w.batch.StoreFrom(s.Incarnation(), &Origin{Source: "O > >", Previous: 2, Seq: 3}, []byte("o.x"), nil, nil)
	expect(t, "full", w.apply().Slots[1].Err.ErrCode, uint16(server.JSStreamStoreFailedF))
	w.batch.DeleteMessage(s.Incarnation(), 1, false)
	w.apply()
	w.takeAll(s, "O > >", 3)
	expect(t, "contents", contents(s), "2:o.x 3:o.x")
}

func TestOriginsBelongToAMessage(t *testing.T) {
	w := newWorld(t)
	s := w.stream("S", func(c *server.StreamConfig) { c.Sources = []*server.StreamSource{{Name: "O"}} })
	w.batch.StoreFrom(s.Incarnation(), &Origin{Source: "O > >", Seq: 1}, []byte("o.x"), nil, nil)
	whole := append([]byte(nil), w.batch.Bytes()...)
	w.batch.Reset(w.now)
	w.batch.DeleteStream(s.Incarnation())
	deletion := append([]byte(nil), w.batch.Bytes()[batchHeaderSize:]...)
	alone := whole[:batchHeaderSize+2+int(whole[batchHeaderSize+1])]
	if err := New(Options{}).Apply(1, append(append([]byte(nil), alone...), deletion...), &w.results); err == nil {
		t.Error("an origin without a message was taken")
	}
}

func TestOriginChecks(t *testing.T) {
	w := newWorld(t)
	w.stream("O", func(c *server.StreamConfig) { c.MaxMsgSize, c.AllowDirect = 1000, true })
	create := func(change func(*server.StreamConfig)) *server.ApiError {
		w.t.Helper()
		w.batch.CreateStream(w.normalStream(streamConfig("S", change)))
		r := w.one()
		if r.Err == nil {
			w.batch.DeleteStream(r.Stream.Incarnation())
			w.apply()
		}
		return r.Err
	}
	source := func(s server.StreamSource) func(*server.StreamConfig) {
		return func(c *server.StreamConfig) { c.Sources = []*server.StreamSource{&s}; c.MaxMsgSize = 999 }
	}
	expect(t, "source", create(source(server.StreamSource{Name: "O"})).ErrCode, uint16(server.JSSourceMaxMessageSizeTooBigErr))
	expect(t, "elsewhere", create(source(server.StreamSource{Name: "O", External: &server.ExternalStream{ApiPrefix: "$JS.x.API"}})), nil)
	expect(t, "mirror", create(func(c *server.StreamConfig) {
		mirrorOf("O")(c)
		c.MaxMsgSize = 999
	}).ErrCode, uint16(server.JSMirrorMaxMessageSizeTooBigErr))
	expect(t, "deliver prefix", create(func(c *server.StreamConfig) {
		c.Sources = []*server.StreamSource{{Name: "O"}, {Name: "X", External: &server.ExternalStream{DeliverPrefix: "o"}}}
	}).ErrCode, uint16(server.JSStreamExternalDelPrefixOverlapsErrF))

	inherited := w.stream("M", mirrorOf("O"))
	expect(t, "mirror direct", inherited.Config().MirrorDirect, true)
	pedantic := w.normalStream(streamConfig("M2", mirrorOf("O")))
	expect(t, "pedantic", w.machine.Account(DefaultAccount).CheckOrigins(pedantic, true).ErrCode, uint16(server.JSPedanticErrF))

	a := w.stream("A", func(c *server.StreamConfig) { c.Sources = []*server.StreamSource{{Name: "B"}} })
	w.batch.CreateStream(w.normalStream(streamConfig("B", func(c *server.StreamConfig) { c.Sources = []*server.StreamSource{{Name: "A"}} })))
	cycle := w.one().Err
	expect(t, "cycle", cycle.Description, server.NewJSStreamInvalidConfigError(errors.New("detected cycle")).Description)
	w.batch.DeleteStream(a.Incarnation())
	w.apply()
	w.stream("A", func(c *server.StreamConfig) { c.Sources = []*server.StreamSource{{Name: "B", FilterSubject: "b"}} })
	expect(t, "no overlap, no cycle", create(func(c *server.StreamConfig) {
		c.Name, c.Subjects = "B", []string{"b"}
		c.Sources = []*server.StreamSource{{Name: "A", FilterSubject: "a.only"}}
	}), nil)
	w.stream("MM", mirrorOf("NN"))
	w.batch.CreateStream(w.normalStream(streamConfig("NN", mirrorOf("MM"))))
	expect(t, "cycle of mirrors", w.one().Err != nil, true)
}

func TestSourceNames(t *testing.T) {
	hub := &server.ExternalStream{ApiPrefix: "$JS.hub.API"}
	for want, source := range map[string]server.StreamSource{
		"O > >":                                  {Name: "O"},
		"O a.* >":                                {Name: "O", FilterSubject: "a.*"},
		"O a\fb c\f>":                            {Name: "O", SubjectTransforms: []server.SubjectTransformConfig{{Source: "a", Destination: "c"}, {Source: "b"}}},
		"O:" + shortHash(hub.ApiPrefix) + " > >": {Name: "O", External: hub},
		"O:" + shortHash(hub.ApiPrefix) + ":C=" + shortHash("c") + " > >": {Name: "O", External: hub, Consumer: &server.StreamConsumerSource{Name: "c"}},
	} {
		expect(t, "name", SourceName(&source), want)
	}
	expect(t, "hash", shortHash("A"), "NUmM6cRx")
}
