package integration

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// tale logs the numbered steps of a story, so that a failure says how far it
// got, and the log of a test reads like the comment above it.
type tale struct {
	t     *testing.T
	steps int
}

// step begins the next step. The number is given to be found by, and checked.
func (s *tale) step(number int, format string, args ...any) {
	s.t.Helper()
	if s.steps++; number != s.steps {
		s.t.Fatalf("step %d of the story is told as step %d", s.steps, number)
	}
	s.t.Logf("%d. %s", number, fmt.Sprintf(format, args...))
}

// waitFormed waits until the cluster is whole: every node serves, all agree who
// leads, the leader counts the present store of each of them as a voter, and a
// client of each is answered. It returns the leader.
func (c *cluster) waitFormed(t testing.TB) *node {
	t.Helper()
	leader := ""
	eventually(t, readyLimit, "the cluster has not formed", func() (err error) {
		if leader, err = c.formed(t); err != nil {
			return err
		}
		return c.answered()
	})
	return c.node(leader)
}

// formed returns the leader's name, or what is missing.
func (c *cluster) formed(t testing.TB) (leader string, err error) {
	stores := make(map[string]string)
	for _, n := range c.nodes {
		if !n.running() {
			t.Fatalf("%s: ended by itself with exit code %d:\n%s", n.name, n.process.exitCode(), n.lastLines(20))
		}
		s, err := n.status()
		switch {
		case err != nil:
			return "", err
		case !s.Serving:
			return "", fmt.Errorf("%s does not serve: %s", n.name, s.Waiting)
		case leader != "" && s.Leader != leader:
			return "", fmt.Errorf("%s says that %q leads, another says %q", n.name, s.Leader, leader)
		}
		leader = s.Leader
		stores[n.name] = s.Store
	}
	n := c.node(leader)
	if n == nil {
		return "", fmt.Errorf("the leader is %q", leader)
	}
	s, err := n.status()
	if err != nil {
		return "", err
	}
	for _, m := range s.Members {
		if m.State != "voter" || m.Store != stores[m.Name] {
			return "", fmt.Errorf("%s says that %s is %s with store %s, its store is %s", leader, m.Name, m.State, m.Store, stores[m.Name])
		}
	}
	if len(s.Alarms) > 0 {
		return "", errors.New(strings.Join(s.Alarms, "; "))
	}
	return leader, nil
}

// durations are measured times, for a log line.
type durations []time.Duration

// median is the middle one; of an even number the upper one of the two.
func (d durations) median() time.Duration { return slices.Sorted(slices.Values(d))[len(d)/2] }

func (d durations) String() string {
	words := make([]string, len(d))
	for i, one := range slices.Sorted(slices.Values(d)) {
		words[i] = one.Round(time.Millisecond).String()
	}
	return strings.Join(words, " ")
}
