package main

import (
	"fmt"
	"maps"
	"slices"
)

// rule is one that every run has to keep.
type rule int

const (
	nothingLost    rule = iota // what was acknowledged is there, as it was sent
	nothingTwice               // what was sent under an ID is stored once
	inOrder                    // the order of one publisher, and of the stream for one reader
	oneTruth                   // a sequence number means the same to everybody, and something that was sent
	ackIsDurable               // a confirmed acknowledgement is not forgotten
	allDelivered               // every consumer gets all that was acknowledged
	writesOneByOne             // writes of a key, conditional or not, are linearizable
	readsUpToDate              // so are the reads between them
	nodesAgree                 // every node stores the same in the end
	comesBack                  // when faults stop, all is well without help
	noneDies                   // nothing ends that nobody ended
	ruleCount
)

var ruleNames = [ruleCount]string{
	"acknowledged and lost", "stored twice", "out of order", "contradictions", "delivered after a confirmed ack",
	"acknowledged and not delivered", "keys whose writes are not linearizable", "keys with reads that are not linearizable",
	"nodes that disagree", "did not come back by itself", "processes that ended by themselves",
}

func (r rule) String() string { return ruleNames[r] }

// verdict is what the checkers found.
type verdict struct {
	counts   [ruleCount]int
	examples []string
}

// maxExamples bounds what is told of each rule.
const maxExamples = 5

func (v *verdict) broken(r rule, format string, args ...any) {
	if v.counts[r]++; v.counts[r] <= maxExamples {
		v.examples = append(v.examples, fmt.Sprintf("%v: ", r)+fmt.Sprintf(format, args...))
	}
}

func (v *verdict) clean() bool { return v.counts == [ruleCount]int{} }

// checkLost: what was acknowledged is in the stream, whoever leads it; of a work
// queue, it was delivered at least.
func (v *verdict) checkLost(h *history, delivered bool) {
	seen := map[uint64]bool{}
	if delivered {
		for _, r := range h.readers {
			for _, d := range r.all() {
				seen[d.seq] = true
			}
		}
	}
	missing := map[uint64]string{}
	for _, leader := range slices.Sorted(maps.Keys(h.contents)) {
		contents := map[uint64]string{}
		for _, m := range h.contents[leader] {
			contents[m.seq] = m.id
		}
		for _, p := range h.publishers {
			for _, s := range p.all() {
				if s.seq > 0 && contents[s.seq] != s.id && !seen[s.seq] && missing[s.seq] == "" {
					missing[s.seq] = s.id
					v.broken(nothingLost, "%s: %s, acknowledged as %d at %.3f s, is %q when %s leads", h.stream, s.id, s.seq, s.ended.Seconds(), contents[s.seq], leader)
				}
			}
		}
	}
}

// checkTwice: no two messages of the stream, in the end or as they were delivered,
// have an ID that is stored once.
func (v *verdict) checkTwice(h *history) {
	once := map[string]bool{}
	for _, p := range h.publishers {
		for _, s := range p.all() {
			if p.once {
				once[s.id] = true
			}
		}
	}
	at := map[string]uint64{}
	look := func(seq uint64, id string) {
		if !once[id] {
			return
		}
		if at[id] == 0 {
			at[id] = seq
		} else if at[id] != seq {
			v.broken(nothingTwice, "%s: %s is both %d and %d", h.stream, id, at[id], seq)
			at[id] = seq
		}
	}
	for _, leader := range slices.Sorted(maps.Keys(h.contents)) {
		for _, m := range h.contents[leader] {
			look(m.seq, m.id)
		}
	}
	for _, r := range h.readers {
		for _, d := range r.all() {
			look(d.seq, d.id)
		}
	}
}

// checkOrder: what one publisher sent in order was acknowledged in order, and a
// reader that is ordered gets message after message.
func (v *verdict) checkOrder(h *history) {
	for _, p := range h.publishers {
		last := sent{}
		for _, s := range p.all() {
			if !p.inOrder || s.seq == 0 {
				continue
			}
			if s.seq <= last.seq {
				v.broken(inOrder, "%s: %s was sent after %s and acknowledged as %d, before %d", h.stream, s.id, last.id, s.seq, last.seq)
			}
			last = s
		}
	}
	for _, r := range h.readers {
		last := uint64(0)
		for _, d := range r.all() {
			if r.ordered && d.seq != last+1 {
				v.broken(inOrder, "%s: %s got %d after %d, at %.3f s", h.stream, r.name, d.seq, last, d.came.Seconds())
			}
			last = d.seq
		}
	}
}

// checkTruth: one sequence number is one message for publishers, readers and every
// node, and one that somebody sent.
func (v *verdict) checkTruth(h *history) {
	truth := map[uint64]string{}
	sentAtAll := map[string]bool{}
	look := func(who string, seq uint64, id string) {
		switch known, there := truth[seq]; {
		case !sentAtAll[id]:
			v.broken(oneTruth, "%s: %s has %q as %d, which nobody sent", h.stream, who, id, seq)
		case !there:
			truth[seq] = id
		case known != id:
			v.broken(oneTruth, "%s: %s has %s as %d, which is %s to another", h.stream, who, id, seq, known)
		}
	}
	for _, p := range h.publishers {
		for _, s := range p.all() {
			sentAtAll[s.id] = true
		}
	}
	for _, p := range h.publishers {
		for _, s := range p.all() {
			if s.seq > 0 {
				look("publisher "+p.name, s.seq, s.id)
			}
		}
	}
	for _, r := range h.readers {
		for _, d := range r.all() {
			look("reader "+r.name, d.seq, d.id)
		}
	}
	for _, leader := range slices.Sorted(maps.Keys(h.contents)) {
		for _, m := range h.contents[leader] {
			look("the stream, with "+leader+" leading,", m.seq, m.id)
		}
	}
}

// checkAcks: a message is not given in answer to a request that was sent after the
// server had confirmed that its acknowledgement is stored. It may well arrive after
// that: it may have been on its way.
func (v *verdict) checkAcks(h *history) {
	for _, r := range h.readers {
		if !r.askedFor {
			continue
		}
		confirmed := map[uint64]delivery{}
		for _, d := range r.all() {
			if first, there := confirmed[d.seq]; d.confirmed > 0 && (!there || d.confirmed < first.confirmed) {
				confirmed[d.seq] = d
			}
		}
		for _, d := range r.all() {
			if first, there := confirmed[d.seq]; there && d.asked > first.confirmed {
				v.broken(ackIsDurable, "%s: %s gave %d for a request at %.3f s, its acknowledgement was confirmed at %.3f s",
					h.stream, r.name, d.seq, d.asked.Seconds(), first.confirmed.Seconds())
			}
		}
	}
}

// checkDelivered: every consumer got every message that was acknowledged.
func (v *verdict) checkDelivered(h *history) {
	for _, r := range h.readers {
		got := map[uint64]bool{}
		for _, d := range r.all() {
			got[d.seq] = true
		}
		for _, p := range h.publishers {
			for _, s := range p.all() {
				if s.seq > 0 && !got[s.seq] {
					v.broken(allDelivered, "%s: %s never got %d, %s", h.stream, r.name, s.seq, s.id)
				}
			}
		}
	}
}

// checkAgreement: every node stores the same. Each is known by a text that is the
// same for the same contents.
func (v *verdict) checkAgreement(byNode map[string]string) {
	first := ""
	for _, name := range slices.Sorted(maps.Keys(byNode)) {
		if first == "" {
			first = name
		} else if byNode[name] != byNode[first] {
			v.broken(nodesAgree, "%s stores %s, %s stores %s", first, byNode[first], name, byNode[name])
		}
	}
}
