package bus

import (
	"slices"
	"strconv"
	"strings"
)

// subscriptions is what the link subscribes to: sorted, each pair once.
type subscriptions []subscription

type subscription struct {
	subject, queue string

	yields bool // see Link.Yield
}

// rankWeights are the weights of a member of a queue group. The server picks
// members in proportion to their weights; 1 and 999,999,999 are the smallest and
// the largest that it knows. The first step is the higher one: most often there
// is no second.
var rankWeights = [MaxRank + 1]uint64{1, 1_000_000, 31_000_000, 999_999_999}

// MaxRank is the highest rank of a link.
const MaxRank = 3

// yieldWeight is that of the lowest rank: who takes over has a higher one.
const yieldWeight = 1

func (s subscription) compare(other subscription) int {
	if c := strings.Compare(s.subject, other.subject); c != 0 {
		return c
	}
	return strings.Compare(s.queue, other.queue)
}

// appendSubscribe appends LS+. For a queue member that is subscribed already,
// the server only takes over the weight.
func (s subscription) appendSubscribe(dst []byte, rank int) []byte {
	dst = append(append(dst, "LS+ "...), s.subject...)
	if s.queue != "" {
		weight := rankWeights[rank]
		if s.yields {
			weight = yieldWeight
		}
		dst = append(append(append(dst, ' '), s.queue...), ' ')
		dst = strconv.AppendUint(dst, weight, 10)
	}
	return append(dst, '\r', '\n')
}

// appendUnsubscribe appends LS-.
func (s subscription) appendUnsubscribe(dst []byte) []byte {
	dst = append(append(dst, "LS- "...), s.subject...)
	if s.queue != "" {
		dst = append(append(dst, ' '), s.queue...)
	}
	return append(dst, '\r', '\n')
}

// valid reports whether the server can take it; anything else would cut the
// connection.
func (s subscription) valid() bool {
	return s.subject != "" && !strings.ContainsAny(s.subject, " \t\r\n") &&
		!strings.ContainsAny(s.queue, " \t\r\n")
}

// Subscribe makes the server send what is published to subject, which may have
// wildcards: everything when queue is empty, else a share of it together with
// the other members of that queue group. A message that matches several
// subscriptions of the link arrives once. Subscribing again to the same pair
// has no effect, and so has a subject or queue with white space in it.
//
// It takes effect in the order of the link's other output, with Flush, and is
// remembered for the time after a lost connection. See the package
// documentation for when it is known where. Owner's goroutine only.
func (l *Link) Subscribe(subject, queue string) {
	s := subscription{subject: subject, queue: queue}
	l.mu.Lock()
	defer l.mu.Unlock()
	at, found := slices.BinarySearchFunc(l.subscriptions, s, subscription.compare)
	if found || !s.valid() {
		return
	}
	l.subscriptions = slices.Insert(l.subscriptions, at, s)
	if l.out.current() {
		l.out.front = s.appendSubscribe(l.out.front, l.rank)
	}
}

// Yield leaves the messages of a queue group to its other members from now on,
// as far as there are any of a higher rank than 0: it is picked once in a million
// times. Without such a subscription it has no effect.
//
// Unsubscribe alone can lose a message that the server is routing to the link
// at that very moment; Yield some time before it closes this gap. See the
// package documentation for the whole hand-over. Owner's goroutine only.
func (l *Link) Yield(subject, queue string) {
	s := subscription{subject: subject, queue: queue}
	l.mu.Lock()
	defer l.mu.Unlock()
	at, found := slices.BinarySearchFunc(l.subscriptions, s, subscription.compare)
	if !found || queue == "" || l.subscriptions[at].yields {
		return
	}
	l.subscriptions[at].yields = true
	if l.out.current() {
		l.out.front = l.subscriptions[at].appendSubscribe(l.out.front, l.rank)
	}
}

// SetRank puts the link before or behind others in every queue group, from 0, as
// it begins, to MaxRank: rank 1 is picked a million times as often as rank 0, and
// each further one thirty times as often as the one below. The link of a host that vanished
// stays in its groups for as long as the servers keep their routes to it, because
// nothing tells them; to outrank it is the only way to be given what it would be
// given. Owner's goroutine only.
func (l *Link) SetRank(rank int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if rank = min(max(rank, 0), MaxRank); rank == l.rank {
		return
	}
	l.rank = rank
	for _, s := range l.subscriptions {
		if s.queue != "" && !s.yields && l.out.current() {
			l.out.front = s.appendSubscribe(l.out.front, rank)
		}
	}
}

// Unsubscribe ends what Subscribe began with the same arguments; without such
// a subscription it has no effect. Messages that the server has already sent
// still arrive: a Fence after it tells when they have. Owner's goroutine only.
func (l *Link) Unsubscribe(subject, queue string) {
	s := subscription{subject: subject, queue: queue}
	l.mu.Lock()
	defer l.mu.Unlock()
	at, found := slices.BinarySearchFunc(l.subscriptions, s, subscription.compare)
	if !found {
		return
	}
	l.subscriptions = slices.Delete(l.subscriptions, at, at+1)
	if l.out.current() {
		l.out.front = s.appendUnsubscribe(l.out.front)
	}
}

// Fence asks the server to answer once it has acted on everything that was
// queued before, and flushes. The returned number, greater than all before,
// comes back as the Fence of a chunk: everything that the server sent before
// its answer has been handed over by then. When the connection is lost first,
// the number comes back with the next one. Owner's goroutine only.
func (l *Link) Fence() uint64 {
	l.mu.Lock()
	l.fences++
	number := l.fences
	if l.out.current() {
		l.out.front = append(l.out.front, "PING\r\n"...)
	}
	l.mu.Unlock()
	l.Flush()
	return number
}
