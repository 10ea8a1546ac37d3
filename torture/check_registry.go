package main

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// checkTime bounds the search for an order of the operations on one key.
const checkTime = 20 * time.Second

// checkRegistry: for each key there is an order of all operations, in agreement
// with real time, in which each answer is right (Herlihy and Wing, 1990; the search
// is porcupine's). What became of a write without an answer, the bucket says in the
// end, of which contents are all revisions of all keys. It returns how many keys
// there are, and how many the search did not decide in time.
func (v *verdict) checkRegistry(operations []operation, contents []stored) (keys, undecided int) {
	revisionOf := map[string]uint64{} // by key and value, which is written once
	perKey := map[string]int{}
	for _, m := range contents {
		revisionOf[m.subject+" "+m.id] = m.seq
		perKey[m.subject]++
	}
	histories := map[string][]porcupine.Operation{}
	var names []string
	for _, o := range operations {
		if _, there := histories[o.key]; !there {
			names = append(names, o.key)
			histories[o.key] = nil
		}
		if one, told := o.told(revisionOf); told {
			histories[o.key] = append(histories[o.key], one)
		}
		if o.kind != reading && o.outcome == succeeded && revisionOf[o.key+" "+o.value] != o.revision {
			v.broken(nothingLost, "%s: %s, acknowledged as revision %d of %s at %.3f s, is revision %d in the end (0: it is not there)",
				bucket, o.value, o.revision, o.key, o.done.Seconds(), revisionOf[o.key+" "+o.value])
		}
	}
	slices.Sort(names)
	for _, key := range names {
		if perKey[key] >= revisions {
			undecided++ // there may have been more
			continue
		}
		switch check(histories[key]) {
		case porcupine.Illegal:
			broken := readsUpToDate
			if check(writesOf(histories[key])) == porcupine.Illegal {
				broken = writesOneByOne
			}
			v.broken(broken, "key %s:%s", key, tell(histories[key]))
		case porcupine.Unknown:
			undecided++
		}
	}
	return len(names), undecided
}

func check(history []porcupine.Operation) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(registryModel, history, checkTime)
}

// writesOf leaves the reads out.
func writesOf(history []porcupine.Operation) []porcupine.Operation {
	return slices.DeleteFunc(slices.Clone(history), func(one porcupine.Operation) bool {
		return one.Input.(operation).kind == reading
	})
}

// told is the operation as the search wants it; false: it tells nothing.
func (o *operation) told(revisionOf map[string]uint64) (porcupine.Operation, bool) {
	one := porcupine.Operation{ClientId: o.client, Input: *o, Call: int64(o.began), Return: int64(o.done)}
	if o.outcome != unknown {
		return one, true
	}
	known := *o
	known.revision = revisionOf[o.key+" "+o.value]
	if o.kind == reading || known.revision == 0 {
		return one, false // it never took effect
	}
	// It took effect at some time after it was sent.
	known.outcome = succeeded
	one.Input, one.Return = known, math.MaxInt64
	return one, true
}

// cell is the state of a key; the zero value: it does not exist.
type cell struct {
	revision uint64
	value    string
}

var registryModel = porcupine.Model{
	Init: func() any { return cell{} },
	Step: func(state, input, _ any) (bool, any) {
		now, o := state.(cell), input.(operation)
		return o.step(now)
	},
}

// step tells whether the answer is right in a state, and which one follows.
func (o *operation) step(now cell) (bool, cell) {
	switch {
	case o.kind == reading:
		return now == cell{o.revision, o.value}, now
	case o.outcome == refused:
		return now.revision != o.expect, now
	case o.kind == conditional && now.revision != o.expect:
		return false, now
	default:
		return o.revision > now.revision, cell{o.revision, o.value}
	}
}

// tell lists the operations on a key, in the order in which they began.
func tell(history []porcupine.Operation) string {
	slices.SortStableFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	text := ""
	for _, one := range history {
		o := one.Input.(operation)
		what := [...]string{"reads", "writes", "writes if"}[o.kind]
		if o.kind == conditional {
			what += fmt.Sprintf(" %d:", o.expect)
		}
		end := "…"
		if one.Return != math.MaxInt64 {
			end = fmt.Sprintf("%.3f", o.done.Seconds())
		}
		text += fmt.Sprintf("\n    %.3f–%s client %d %s %q, revision %d, %s", o.began.Seconds(), end, o.client, what, o.value, o.revision,
			[...]string{"unknown", "done", "refused"}[o.outcome])
	}
	return text
}
