package bus

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// groups are the queue groups of other connections, as the server announces
// them with LS+ and LS-, and with them the plain subscribers of exact subjects.
//
// A leaf has to name the queue groups that a message is for: the server hands
// a message from a leaf that names none to plain subscribers only. The reader
// records the announcements and the owner applies them when it looks a subject
// up or flushes, so that looking up takes no lock.
type groups struct {
	changed atomic.Bool // changes is not empty

	mu      sync.Mutex
	changes []groupChange

	// Owner's goroutine only.
	exact    map[string][]string  // subject without wildcards → groups
	patterns map[string][]pattern // first token → patterns that begin with it
	members  int                  // pairs of subject and group in both

	listeners listeners
}

// groupChange is one announcement; an empty subject forgets all of them. An empty
// queue is that of a plain subscription.
type groupChange struct {
	subject, queue string
	gone           bool
}

// maxIdleChanges bounds the memory that is kept for the next announcements.
const maxIdleChanges = 4096

// pattern is a subject with wildcards, and a group that subscribes to it.
type pattern struct{ subject, queue string }

// parseGroupChange reads the arguments of an LS+ or LS-. Subscriptions with
// wildcards and without a queue group have no consequence for the link: not ok.
func parseGroupChange(args []byte, gone bool) (change groupChange, ok bool) {
	subject, rest := cutFirst(args)
	queue, _ := cutFirst(rest) // a weight follows in LS+
	if len(subject) == 0 || len(queue) == 0 && bytes.ContainsAny(subject, "*>") {
		return change, false
	}
	return groupChange{string(subject), string(queue), gone}, true
}

// record notes an announcement. Any goroutine.
func (g *groups) record(changes ...groupChange) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.changes = append(g.changes, changes...)
	g.changed.Store(true)
}

// reset forgets the groups of the connection before and begins with those of a
// new one. Any goroutine.
func (g *groups) reset(announced []groupChange) {
	g.mu.Lock()
	g.changes = append(g.changes[:0], groupChange{})
	g.mu.Unlock()
	g.record(announced...)
}

// match appends the names of the groups that a message to subject is for, each
// followed by a space. A name may occur twice; the server does not mind.
func (g *groups) match(subject, dst []byte) []byte {
	g.refresh()
	if g.members == 0 {
		return dst
	}
	for _, queue := range g.exact[string(subject)] {
		dst = append(append(dst, queue...), ' ')
	}
	if len(g.patterns) == 0 {
		return dst
	}
	first := subject
	if i := bytes.IndexByte(subject, '.'); i >= 0 {
		first = subject[:i]
	}
	dst = matchPatterns(g.patterns[string(first)], subject, dst)
	dst = matchPatterns(g.patterns["*"], subject, dst)
	return matchPatterns(g.patterns[">"], subject, dst)
}

func matchPatterns(patterns []pattern, subject, dst []byte) []byte {
	for i := range patterns {
		if matches(patterns[i].subject, subject) {
			dst = append(append(dst, patterns[i].queue...), ' ')
		}
	}
	return dst
}

// refresh applies what was announced since the last time.
func (g *groups) refresh() {
	if g.changed.Load() {
		g.apply()
	}
}

// apply brings the tables up to date with the announcements.
func (g *groups) apply() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.changes {
		switch {
		case c.subject == "":
			g.exact, g.patterns, g.members = nil, nil, 0
			g.listeners.forget()
		case c.queue == "":
			g.listeners.note(c.subject, c.gone)
		case strings.ContainsAny(c.subject, "*>"):
			g.applyPattern(c)
		default:
			g.applyExact(c)
			g.listeners.touch(listener{c.subject, c.queue})
		}
	}
	clear(g.changes)
	if g.changes = g.changes[:0]; cap(g.changes) > maxIdleChanges {
		g.changes = nil
	}
	g.changed.Store(false)
}

func (g *groups) applyExact(c groupChange) {
	queues := g.exact[c.subject]
	at := slices.Index(queues, c.queue)
	switch {
	case c.gone && at >= 0:
		g.members--
		if len(queues) == 1 {
			delete(g.exact, c.subject)
			return
		}
		g.exact[c.subject] = slices.Delete(queues, at, at+1)
	case !c.gone && at < 0:
		g.members++
		if g.exact == nil {
			g.exact = map[string][]string{}
		}
		g.exact[c.subject] = append(queues, c.queue)
	}
}

func (g *groups) applyPattern(c groupChange) {
	first, _, _ := strings.Cut(c.subject, ".")
	patterns := g.patterns[first]
	at := slices.Index(patterns, pattern{c.subject, c.queue})
	switch {
	case c.gone && at >= 0:
		g.members--
		if len(patterns) == 1 {
			delete(g.patterns, first)
			return
		}
		g.patterns[first] = slices.Delete(patterns, at, at+1)
	case !c.gone && at < 0:
		g.members++
		if g.patterns == nil {
			g.patterns = map[string][]pattern{}
		}
		g.patterns[first] = append(patterns, pattern{c.subject, c.queue})
	}
}

// matches reports whether a subject without wildcards matches a pattern, by
// the rules of NATS: * stands for one token, a last > for one or more.
func matches(pattern string, subject []byte) bool {
	for {
		token, restPattern, morePattern := strings.Cut(pattern, ".")
		if token == ">" && !morePattern {
			return len(subject) > 0
		}
		word, restSubject, moreSubject := bytes.Cut(subject, []byte{'.'})
		if token != "*" && token != string(word) {
			return false
		}
		if !morePattern || !moreSubject {
			return morePattern == moreSubject
		}
		pattern, subject = restPattern, restSubject
	}
}
