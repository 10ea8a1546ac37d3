package differential

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// answerLimit bounds the wait for an answer that should come.
	answerLimit = 2 * time.Second
	// untilLimit bounds the wait for something to happen by itself.
	untilLimit = 15 * time.Second
	// silence is how long nothing must come where nothing should.
	silence = 250 * time.Millisecond
)

// compare plays a script to both sides, at the same time, and reports what they
// answered differently.
func compare(t *testing.T, script func(s *session)) {
	t.Helper()
	compareOn(t, reference, subject, script)
}

// plays is how often a script is played to JetStream at most. A cluster of it answers
// before all of its servers know: a consumer that was just created may be missing in a
// list, or nobody may listen for its pull requests. So it has more than one right
// answer, and a difference counts if none of them is like the one that Holdfast,
// which is asked once, gave.
const plays = 3

// compareOn is compare for other sides than those of most tests.
func compareOn(t *testing.T, wanted, got *side, script func(s *session)) {
	t.Helper()
	theirs, ours := newSession(t, wanted), newSession(t, got)
	var done sync.WaitGroup
	for _, s := range []*session{theirs, ours} {
		done.Go(func() { s.play(script) })
	}
	done.Wait()
	if ours.failure != nil {
		t.Fatalf("%s: %v", got.name, ours.failure)
	}
	first := told(theirs, ours)
	for play, last := 2, first; len(last) > 0; play++ {
		if play > plays {
			for _, difference := range first {
				t.Error(difference)
			}
			return
		}
		t.Logf("%s is asked again, because of\n%s", wanted.name, strings.Join(last, "\n"))
		theirs = newSession(t, wanted)
		theirs.play(script)
		last = told(theirs, ours)
	}
}

// told is what the two sides told differently, or why one told nothing.
func told(theirs, ours *session) []string {
	if theirs.failure != nil {
		return []string{fmt.Sprintf("%s: %v", theirs.side.name, theirs.failure)}
	}
	return found(theirs, ours)
}

// play plays a script to its end, or to its failure.
func (s *session) play(script func(s *session)) {
	defer s.nc.Close()
	defer s.stopped()
	script(s)
}

// session is one playing of a script. A script may look at the answers, but
// must not do anything that depends on which side it talks to.
type session struct {
	side *side
	nc   *nats.Conn
	// name is the same on both sides and unique among tests: for streams.
	name string

	told    []telling
	knowns  []known
	failure error
}

// telling is one thing that the script wrote down.
type telling struct {
	what   string // was asked
	fields fields // of the answer
}

func newSession(t *testing.T, on *side) *session {
	t.Helper()
	nc, err := nats.Connect(on.url, nats.MaxReconnects(-1))
	if err != nil {
		t.Fatalf("connect to %s: %v", on.name, err)
	}
	name := strings.NewReplacer("/", "_", " ", "_", ".", "_", "#", "_", ">", "_", "*", "_").Replace(t.Name())
	return &session{side: on, nc: nc, name: name}
}

// scriptFailed is what fail panics with.
type scriptFailed struct{}

// fail ends the script: it cannot be played to its end.
func (s *session) fail(format string, args ...any) {
	s.failure = fmt.Errorf(format, args...)
	panic(scriptFailed{})
}

func (s *session) stopped() {
	if r := recover(); r != nil {
		if _, ok := r.(scriptFailed); !ok {
			s.failure = fmt.Errorf("panic: %v", r)
		}
	}
}

// note writes down a value under a name.
func (s *session) note(what string, value any) {
	s.told = append(s.told, telling{what, fields{"": fmt.Sprint(value)}})
}

// answer is a reply as a script sees it.
type answer struct {
	header nats.Header
	body   string
	err    error
}

// object is the body as JSON.
func (a *answer) object() map[string]any {
	var decoded map[string]any
	if json.Unmarshal([]byte(a.body), &decoded) != nil {
		return nil
	}
	return decoded
}

// text is a field of the body by its path, such as "state.last_seq".
func (a *answer) text(path string) string {
	var at any = a.object()
	for name := range strings.SplitSeq(path, ".") {
		fields, ok := at.(map[string]any)
		if !ok {
			return ""
		}
		at = fields[name]
	}
	if at == nil {
		return ""
	}
	return fmt.Sprint(at)
}

// encode makes a payload of a value: a string is taken as it is.
func (s *session) encode(body any) []byte {
	switch body := body.(type) {
	case nil:
		return nil
	case string:
		return []byte(body)
	case []byte:
		return body
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		s.fail("encode %v: %v", body, err)
	}
	return encoded
}

// api sends a request to $JS.API and writes the answer down. Headers are given
// as "Name: value".
func (s *session) api(subject string, body any, headers ...string) *answer {
	return s.ask("$JS.API."+subject, body, headers...)
}

// ask sends a request, or a publish, and writes the answer down.
func (s *session) ask(subject string, body any, headers ...string) *answer {
	payload := s.encode(body)
	a := s.request(subject, payload, headers)
	s.told = append(s.told, telling{describe(subject, payload, headers), a.fields()})
	return a
}

// until sends a request again and again, until good says that the answer is the
// one to write down, or too long.
func (s *session) until(subject string, body any, good func(a *answer) bool) *answer {
	payload := s.encode(body)
	var a *answer
	s.eventually(func() bool {
		a = s.request("$JS.API."+subject, payload, nil)
		return good(a)
	})
	s.told = append(s.told, telling{describe(subject, payload, nil) + " (at last)", a.fields()})
	return a
}

// eventually looks again and again, until what it looks for is there, or too
// long.
func (s *session) eventually(there func() bool) bool {
	deadline := time.Now().Add(untilLimit)
	for !there() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
	return true
}

// message is what is sent; with headers that are kept as they are written.
func message(subject string, payload []byte, headers []string) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = payload
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ":")
		m.Header[name] = append(m.Header[name], strings.TrimPrefix(value, " "))
	}
	return m
}

func (s *session) request(subject string, payload []byte, headers []string) *answer {
	deadline := time.Now().Add(s.side.settle)
	for {
		reply, err := s.nc.RequestMsgWithContext(timeout(answerLimit), message(subject, payload, headers))
		if errors.Is(err, nats.ErrNoResponders) && time.Now().Before(deadline) {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		if err != nil {
			return &answer{err: err}
		}
		return &answer{header: reply.Header, body: string(reply.Data)}
	}
}

// send publishes without waiting for an answer.
func (s *session) send(subject string, body any, headers ...string) {
	if err := s.nc.PublishMsg(message(subject, s.encode(body), headers)); err != nil {
		s.fail("publish %s: %v", subject, err)
	}
}

// ear is a subscription of the script.
type ear struct {
	session *session
	sub     *nats.Subscription
}

// listen subscribes; the server knows of it when listen returns.
func (s *session) listen(subject string) *ear {
	sub, err := s.nc.SubscribeSync(subject)
	if err == nil {
		err = s.nc.FlushWithContext(timeout(answerLimit))
	}
	if err != nil {
		s.fail("subscribe %s: %v", subject, err)
	}
	return &ear{s, sub}
}

// hear waits for so many messages and writes them down.
func (e *ear) hear(count int) []*nats.Msg {
	var heard []*nats.Msg
	for range count {
		m, err := e.sub.NextMsg(answerLimit)
		what := fmt.Sprintf("message %d on %s", len(heard)+1, e.sub.Subject)
		if err != nil {
			e.session.told = append(e.session.told, telling{what, fields{"": "<none: " + err.Error() + ">"}})
			return heard
		}
		heard = append(heard, m)
		all := (&answer{header: m.Header, body: string(m.Data)}).fields()
		all["subject"] = m.Subject
		e.session.told = append(e.session.told, telling{what, all})
	}
	return heard
}

// hearNothing writes down what comes although nothing should.
func (e *ear) hearNothing() {
	if m, err := e.sub.NextMsg(silence); err == nil {
		e.session.note("unexpected on "+e.sub.Subject, m.Subject+" "+string(m.Data))
	}
}

// describe is how a request is named in a report.
func describe(subject string, payload []byte, headers []string) string {
	text := subject
	if len(headers) > 0 {
		text += fmt.Sprintf(" %q", headers)
	}
	if body := string(payload); len(body) > 300 {
		text += " " + body[:300] + "…"
	} else if body != "" {
		text += " " + body
	}
	return text
}
