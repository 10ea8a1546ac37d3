package node

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// String is the status for people: what is wrong comes first, what an operator
// can do behind an arrow.
func (s *Status) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of cluster %s: %s", s.Name, s.Cluster, s.Role)
	if s.Leader != "" && s.Role != "leader" {
		fmt.Fprintf(&b, ", the leader is %s", s.Leader)
	}
	if !s.Serving {
		b.WriteString("; NOT SERVING")
	}
	fmt.Fprintf(&b, "\nstore %s, lineage %s, epoch %d, term %d\nlog: last %d, committed %d, applied %d; %d streams, %s on disk\n",
		s.Store, s.Lineage, s.Epoch, s.Term, s.Last, s.Commit, s.Applied, s.Streams, bytes(s.StoreBytes))
	for _, founding := range s.Foundings {
		fmt.Fprintf(&b, "history: %s\n", founding)
	}
	for _, alarm := range s.Alarms {
		fmt.Fprintf(&b, "ALARM: %s\n", alarm)
	}
	if s.Shortage != "" {
		fmt.Fprintf(&b, "NO ROOM: %s\n", s.Shortage)
	}
	b.WriteString("members:\n")
	said := slices.Clone(s.Alarms)
	for i := range s.Members {
		said = s.Members[i].describe(&b, said)
	}
	s.describeQuarantine(&b)
	return b.String()
}

// shortRemedy is what is said again for each member, in bytes.
const shortRemedy = 80

// positions are numbers that members know of each other only a moment later.
var positions = regexp.MustCompile(`index \d+`)

// plain is a text without them.
func plain(text string) string { return positions.ReplaceAllString(text, "index") }

// describe writes a member's state, why it is in it, and what can be done, unless
// that was said before. It returns what was said then.
func (m *MemberStatus) describe(b *strings.Builder, said []string) []string {
	store := m.Store
	if store == "" {
		store = "not known"
	}
	fmt.Fprintf(b, "  %-12s %-10s store %s", m.Name, m.State, store)
	if j := m.Joining; j != nil && j.Total > 0 {
		fmt.Fprintf(b, "  %s of %s (%d %%)", bytes(j.Bytes), bytes(j.Total), min(100, 100*j.Bytes/j.Total))
	}
	b.WriteString("\n")
	switch {
	case m.Reason == "":
	case slices.ContainsFunc(said, func(text string) bool { return strings.HasPrefix(plain(text), plain(m.Reason)) }):
		b.WriteString("      as said above\n")
	default:
		fmt.Fprintf(b, "      %s\n", m.Reason)
	}
	switch {
	case m.Remedy == "":
		return said
	case len(m.Remedy) > shortRemedy && slices.ContainsFunc(said, func(text string) bool { return strings.HasSuffix(plain(text), plain(m.Remedy)) }):
		b.WriteString("      → as said above\n")
	default:
		fmt.Fprintf(b, "      → %s\n", m.Remedy)
	}
	return append(said, m.Remedy)
}

// shownQuarantined bounds how many stores that were set aside are listed.
const shownQuarantined = 10

func (s *Status) describeQuarantine(b *strings.Builder) {
	if len(s.Quarantine) == 0 {
		return
	}
	b.WriteString("set aside, oldest first (`holdfast inspect --file FILE` reads one, `holdfast discard STORE` removes one for good):\n")
	for i, q := range s.Quarantine {
		if i == shownQuarantined {
			fmt.Fprintf(b, "  … and %d more\n", len(s.Quarantine)-i)
			break
		}
		fmt.Fprintf(b, "  %s  %s  %s  store %s  lineage %s\n      %s\n", q.File, bytes(q.Bytes), q.Time.Format(time.DateTime), q.Store, q.Lineage, q.Reason)
	}
	if s.QuarantineExcess != "" {
		fmt.Fprintf(b, "WARNING: %s\n", s.QuarantineExcess)
	}
}

// bytes prints a size for people.
func bytes(n int64) string {
	const unit = 1024
	switch {
	case n < 10*unit:
		return fmt.Sprintf("%d B", n)
	case n < 10*unit*unit:
		return fmt.Sprintf("%d KiB", n/unit)
	case n < 10*unit*unit*unit:
		return fmt.Sprintf("%d MiB", n/unit/unit)
	}
	return fmt.Sprintf("%d GiB", n/unit/unit/unit)
}
