package node

import (
	"strings"
	"testing"
)

// What is wrong with several members for one reason is told once.
func TestStatusTextSaysThingsOnce(t *testing.T) {
	remedy := "to give up 1/a (its log goes to index 7) run `holdfast discard 1` on n1, to give up 2/b run `holdfast discard 3` on n3"
	later := strings.Replace(remedy, "index 7", "index 8", 1)
	s := &Status{
		Name: "n1", Cluster: "c", Role: "leader", Alarms: []string{"two lineages are live; " + remedy},
		Members: []MemberStatus{
			{Name: "n1", State: "alarmed", Store: "1", Reason: "two lineages are live", Remedy: remedy},
			{Name: "n2", State: "alarmed", Store: "2", Reason: "store 2 stays", Remedy: later},
			{Name: "n3", State: "unknown", Reason: "not seen", Remedy: "start it"},
			{Name: "n4", State: "unknown", Reason: "not seen", Remedy: "start it"},
		},
	}
	_, got, _ := strings.Cut(s.String(), "ALARM: ")
	want := "two lineages are live; " + remedy + `
members:
  n1           alarmed    store 1
      as said above
      → as said above
  n2           alarmed    store 2
      store 2 stays
      → as said above
  n3           unknown    store not known
      not seen
      → start it
  n4           unknown    store not known
      not seen
      → start it
`
	if got != want {
		t.Errorf("the status says:\n%s\nwant:\n%s", got, want)
	}
}
