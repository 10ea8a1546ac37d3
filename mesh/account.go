package mesh

import (
	"fmt"
	"slices"
	"strings"

	"holdfast/protocol"
)

// Account says exactly what a founding kept and what it lost. It stands in the
// log of the founder, and in the status of every member of the lineage.
func Account(f protocol.Founding) string {
	text := fmt.Sprintf("epoch %d founded from %s at index %d; ", f.Attempt.Epoch, f.Voter.Name, f.Index)
	blank := f.Index == 1
	switch {
	case f.Loss.Held != "":
		text += fmt.Sprintf("acknowledged writes that only %s held are lost", names(f.Loss.Held))
	case !blank:
		text += "no acknowledged write is lost"
	case f.Loss.SetAside != "":
		text += fmt.Sprintf("nothing is kept: the stores of %s were set aside; all that was acknowledged before is lost from the cluster and can be read there", names(f.Loss.SetAside))
	case f.Loss.Absent != "":
		text += "nothing is kept: every store that was asked was blank"
	default:
		text += "every store was blank"
	}
	if f.Loss.Absent != "" && f.Loss.Absent != f.Loss.Held {
		text += fmt.Sprintf("; %s did not take part, by an operator's word: what was only there is not in the lineage", names(f.Loss.Absent))
	}
	return text
}

// names makes words of a list in a Loss.
func names(joined string) string { return list(strings.Split(joined, ",")) }

// loss is what the founding costs.
func (a *attempt) loss() protocol.Loss {
	l := protocol.Loss{Held: strings.Join(a.losses(), ","), Absent: strings.Join(a.without, ",")}
	if a.own.Blank() {
		l.SetAside = strings.Join(a.replaced(), ",")
	}
	return l
}

// losses lists the members whose stores may have held acknowledged entries that
// the founder's log lacks; none when that cannot be.
func (a *attempt) losses() []string {
	here := func(v protocol.Voter) bool {
		return v == a.own.Voter() || slices.ContainsFunc(a.asked, func(s asked) bool { return s.pin.Voter() == v && s.pin.Lineage == a.own.Lineage })
	}
	if !mayLose(a.own.Configuration, here) {
		return nil
	}
	return gone(here, a.own.Configuration, a.inForce)
}

// gone lists the members, ascending, with a store in one of the configurations that is
// not here.
func gone(here func(protocol.Voter) bool, configurations ...protocol.Configuration) []string {
	var names []string
	for _, c := range configurations {
		for _, v := range c.Voters {
			if !here(v) && !slices.Contains(names, v.Name) {
				names = append(names, v.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// mayLose reports whether acknowledged entries may be lost with the voters that are not
// here of the configuration that ends the best survivor's log. More than half of them
// share a store with every majority of this configuration, and of any that
// differs by one voter; so one of them knows of a later one if it was committed,
// and the best log does. Half of them do not: of two voters, one may have added a
// third and gone on with that.
func mayLose(c protocol.Configuration, here func(protocol.Voter) bool) bool {
	lost := len(gone(here, c))
	return lost > 0 && 2*lost >= len(c.Voters)
}

// replaced lists the members whose blank store took the place of a damaged one.
func (a *attempt) replaced() []string {
	var names []string
	if !a.own.Replaced.Blank() {
		names = append(names, a.own.Member)
	}
	for _, s := range a.asked {
		if !s.pin.Replaced.Blank() {
			names = append(names, s.pin.Member)
		}
	}
	slices.Sort(names)
	return names
}
