package main

import (
	"testing"
	"time"
)

// calm is a history without a fault: two publishers, a reader of each kind.
func calm() *history {
	plain := &publisher{name: "plain", inOrder: true, noted: noted[sent]{values: []sent{
		{id: "p-0", seq: 1, ended: 10}, {id: "p-1", ended: 0}, {id: "p-2", seq: 3, ended: 30}}}}
	once := &publisher{name: "once", inOrder: true, once: true, noted: noted[sent]{values: []sent{{id: "o-0", seq: 2, ended: 20}}}}
	return &history{
		stream:     "S",
		publishers: []*publisher{plain, once},
		readers: []*reader{
			{name: "ordered", ordered: true, noted: noted[delivery]{values: []delivery{{seq: 1, id: "p-0"}, {seq: 2, id: "o-0"}, {seq: 3, id: "p-2"}}}},
			{name: "pull", askedFor: true, noted: noted[delivery]{values: []delivery{
				{seq: 1, id: "p-0", asked: 1, came: 11, confirmed: 12}, {seq: 2, id: "o-0", asked: 1, came: 21, confirmed: 22}, {seq: 3, id: "p-2", asked: 13, came: 31, confirmed: 32}}}},
		},
		contents: map[string][]stored{
			"n1": {{seq: 1, id: "p-0"}, {seq: 2, id: "o-0"}, {seq: 3, id: "p-2"}},
			"n2": {{seq: 1, id: "p-0"}, {seq: 2, id: "o-0"}, {seq: 3, id: "p-2"}},
		},
	}
}

// Every checker is silent about a calm history and speaks about one that breaks its
// rule.
func TestCheckers(t *testing.T) {
	checks := map[rule]func(*verdict, *history){
		nothingLost:  func(v *verdict, h *history) { v.checkLost(h, false) },
		nothingTwice: (*verdict).checkTwice,
		inOrder:      (*verdict).checkOrder,
		oneTruth:     (*verdict).checkTruth,
		ackIsDurable: (*verdict).checkAcks,
		allDelivered: (*verdict).checkDelivered,
	}
	for r, check := range checks {
		var v verdict
		if check(&v, calm()); !v.clean() {
			t.Errorf("%v: %q", r, v.examples)
		}
	}
	for _, c := range []struct {
		name   string
		rule   rule
		change func(*history)
	}{
		{"one node does not have it", nothingLost, func(h *history) { h.contents["n2"] = h.contents["n2"][:2] }},
		{"another message has its place", nothingLost, func(h *history) { h.contents["n1"][0].id = "p-1" }},
		{"stored twice", nothingTwice, func(h *history) { h.contents["n1"] = append(h.contents["n1"], stored{seq: 4, id: "o-0"}) }},
		{"stored twice, and seen by a reader only", nothingTwice, func(h *history) { h.readers[1].add(delivery{seq: 4, id: "o-0"}) }},
		{"acknowledged in another order", inOrder, func(h *history) { h.publishers[0].values[0].seq = 7 }},
		{"a message left out for a reader", inOrder, func(h *history) { h.readers[0].values = h.readers[0].values[1:] }},
		{"a message again for a reader", inOrder, func(h *history) { h.readers[0].add(delivery{seq: 3, id: "p-2"}) }},
		{"a number means two messages", oneTruth, func(h *history) { h.readers[0].values[1].id = "p-1" }},
		{"nobody sent that", oneTruth, func(h *history) { h.contents["n2"][1].id = "damaged: x" }},
		{"acknowledged for two publishers", oneTruth, func(h *history) { h.publishers[1].values[0].seq = 3 }},
		{"asked for after it was confirmed", ackIsDurable, func(h *history) { h.readers[1].add(delivery{seq: 1, id: "p-0", asked: 13, came: 40}) }},
		{"never delivered", allDelivered, func(h *history) { h.readers[1].values = h.readers[1].values[:2] }},
	} {
		h := calm()
		c.change(h)
		var v verdict
		if checks[c.rule](&v, h); v.counts[c.rule] == 0 || len(v.examples) == 0 {
			t.Errorf("%s: nothing is found", c.name)
		}
	}
}

// What was on its way when the acknowledgement was confirmed may arrive afterwards.
func TestDeliveryOnItsWay(t *testing.T) {
	h := calm()
	h.readers[1].add(delivery{seq: 1, id: "p-0", asked: 11, came: 40})
	var v verdict
	if v.checkAcks(h); !v.clean() {
		t.Error(v.examples)
	}
}

// What a worker got is not lost when the queue does not have it any more.
func TestDeliveredWorkIsNotLost(t *testing.T) {
	h := calm()
	h.contents = map[string][]stored{"n1": nil}
	h.readers[1].values = h.readers[1].values[:2]
	h.readers = h.readers[1:]
	var v verdict
	if v.checkLost(h, true); v.counts[nothingLost] != 1 {
		t.Errorf("%d are lost, want 1: %q", v.counts[nothingLost], v.examples)
	}
}

func TestAgreement(t *testing.T) {
	var v verdict
	if v.checkAgreement(map[string]string{"n1": "a", "n2": "a", "n3": "a"}); !v.clean() {
		t.Error(v.examples)
	}
	if v.checkAgreement(map[string]string{"n1": "a", "n2": "a", "n3": "b"}); v.counts[nodesAgree] != 1 {
		t.Error("a node that differs is not found")
	}
}

// The operations of a key, and the revisions that the bucket has in the end.
func TestRegistryChecker(t *testing.T) {
	write := func(began, done time.Duration, expect uint64, value string, revision uint64, result outcome) operation {
		return operation{key: "k", began: began, done: done, kind: conditional, expect: expect, value: value, revision: revision, outcome: result}
	}
	read := func(began, done time.Duration, value string, revision uint64) operation {
		return operation{key: "k", client: 1, began: began, done: done, value: value, revision: revision, outcome: succeeded}
	}
	contents := []stored{{1, "k", "a"}, {4, "k", "b"}}
	for _, c := range []struct {
		name       string
		operations []operation
		broken     rule // -1: none
	}{
		{"one after the other", []operation{write(1, 2, 0, "a", 1, succeeded), read(3, 4, "a", 1), write(5, 6, 1, "b", 4, succeeded), read(7, 8, "b", 4)}, -1},
		{"at the same time", []operation{write(1, 9, 0, "a", 1, succeeded), read(2, 3, "", 0), read(4, 5, "a", 1), write(6, 7, 1, "b", 4, succeeded)}, -1},
		{"refused, rightly", []operation{write(1, 2, 0, "a", 1, succeeded), write(3, 4, 0, "x", 0, refused), write(5, 6, 1, "b", 4, succeeded)}, -1},
		{"no answer, took effect later", []operation{write(1, 2, 0, "a", 1, succeeded), write(3, 4, 1, "b", 0, unknown), read(5, 6, "a", 1), read(7, 8, "b", 4)}, -1},
		{"no answer, never took effect", []operation{write(1, 2, 0, "a", 1, succeeded), write(3, 4, 1, "x", 0, unknown), write(5, 6, 1, "b", 4, succeeded)}, -1},
		{"a stale read", []operation{write(1, 2, 0, "a", 1, succeeded), write(3, 4, 1, "b", 4, succeeded), read(5, 6, "a", 1)}, readsUpToDate},
		{"a read of what is not there yet", []operation{read(1, 2, "a", 1), write(3, 4, 0, "a", 1, succeeded)}, readsUpToDate},
		{"two with the same condition", []operation{write(1, 2, 0, "a", 1, succeeded), write(3, 4, 0, "b", 4, succeeded)}, writesOneByOne},
		{"refused, wrongly", []operation{write(1, 2, 0, "a", 1, succeeded), write(3, 4, 1, "x", 0, refused), write(5, 6, 1, "b", 4, succeeded)}, writesOneByOne},
		{"acknowledged and gone", []operation{write(1, 2, 0, "a", 1, succeeded), write(3, 4, 1, "gone", 2, succeeded)}, nothingLost},
	} {
		var v verdict
		keys, undecided := v.checkRegistry(c.operations, contents)
		if keys != 1 || undecided != 0 {
			t.Errorf("%s: %d keys, %d undecided", c.name, keys, undecided)
		}
		if c.broken < 0 && !v.clean() {
			t.Errorf("%s: %q", c.name, v.examples)
		} else if c.broken >= 0 && v.counts[c.broken] == 0 {
			t.Errorf("%s: nothing is found", c.name)
		}
	}
}

// A payload that was changed anywhere has not the ID that it was sent under.
func TestPayload(t *testing.T) {
	good := payload("once-n1-17")
	if id := idOf(good); id != "once-n1-17" {
		t.Fatalf("the ID of %q is %q", good, id)
	}
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 1
		if id := idOf(bad); id == "once-n1-17" || id == "once-n1-16" {
			t.Errorf("the ID of %q is %q", bad, id)
		}
	}
}
