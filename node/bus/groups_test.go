package bus

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

func TestGroupsFollowTheAnnouncements(t *testing.T) {
	var g groups
	check := func(subject, want string) {
		t.Helper()
		if got := string(g.match([]byte(subject), nil)); got != want {
			t.Fatalf("%s is for %q, want %q", subject, got, want)
		}
	}
	announce := func(args string, gone bool) {
		if c, ok := parseGroupChange([]byte(args), gone); ok {
			g.record(c)
		}
	}
	check("a", "")
	announce("a", false) // a plain subscription
	announce("a.>", false)
	announce("", false)
	check("a", "")
	announce("a q 1", false)
	announce("a q 7", false) // another weight
	announce("a p 1", false)
	announce("a.* q 1", false)
	announce("> all 2", false)
	announce("*.c last 1", false)
	check("a", "q p all ")
	check("a.b", "q all ")
	check("a.c", "q last all ")
	announce("a q", true)
	announce("nobody q", true)
	announce("no.* q", true)
	announce("> all", true)
	check("a", "p ")
	check("a.c", "q last ")
	announce("a p", true)
	announce("a.* q", true)
	check("a.c", "last ")
	g.reset([]groupChange{{subject: "b", queue: "r"}})
	check("a.c", "")
	check("b", "r ")
	if g.members != 1 || len(g.exact) != 1 || len(g.patterns) != 0 {
		t.Fatalf("left over: %+v", &g)
	}
}

// The server's own matching is the model.
func TestGroupsMatchAsTheServerDoes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	draw := func(tokens ...string) string {
		words := make([]string, 1+random.IntN(4))
		for i := range words {
			words[i] = tokens[random.IntN(len(tokens))]
		}
		return strings.Join(words, ".")
	}
	var g groups
	var patterns []string
	for len(patterns) < 100 {
		p := draw("a", "b", "*")
		if random.IntN(3) == 0 {
			p = strings.TrimPrefix(p+".>", "*.")
		}
		if !slices.Contains(patterns, p) {
			patterns = append(patterns, p)
			g.record(groupChange{subject: p, queue: fmt.Sprintf("q%d", len(patterns)-1)})
		}
	}
	for range 2000 {
		subject := draw("a", "b", "c")
		var want []string
		for i, p := range patterns {
			if server.SubjectsCollide(subject, p) {
				want = append(want, fmt.Sprintf("q%d", i))
			}
		}
		got := strings.Fields(string(g.match([]byte(subject), nil)))
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("%s is for %v, want %v", subject, got, want)
		}
	}
}
