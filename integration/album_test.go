package integration

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the expected texts in testdata")

// album collects what `holdfast status` says at the stations of a story. The
// whole is compared with a file of testdata.
type album struct {
	t    *testing.T
	text strings.Builder
}

// show adds what a node says once it says all of these words, and one that is
// given twice, twice: what it knows of the others is of a moment ago.
func (a *album) show(title string, n *node, words ...string) {
	a.t.Helper()
	said := ""
	eventually(a.t, readyLimit, fmt.Sprintf("the status of %s does not say %q", n.name, words), func() error {
		e := runToEnd(a.t, nil, "status", "--monitor", n.monitorAddress())
		said = e.output
		if strings.Contains(said, "has not said yet how it is") {
			return fmt.Errorf("members have not said yet how they are:\n%s", said)
		}
		for i, word := range words {
			times := 1 + strings.Count(strings.Join(words[:i], "\n"), word)
			if e.code != 0 || strings.Count(said, word) < times {
				return fmt.Errorf("no %q (exit code %d) in:\n%s", word, e.code, said)
			}
		}
		return nil
	})
	fmt.Fprintf(&a.text, "# %s\n\n%s\n", title, said)
}

// add adds what a command said.
func (a *album) add(title, said string) { fmt.Fprintf(&a.text, "# %s\n\n%s\n", title, said) }

// whatVaries is what differs from run to run, and what stands for it. A log is
// longer after an election that had to be repeated.
var whatVaries = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`\b\d+ s\b`), "… s"},
	{regexp.MustCompile(`\b(last|committed|applied|index|term|entry) \d+\b`), "$1 …"},
	{regexp.MustCompile(`\b\d+ [KM]iB\b`), "… bytes"},
	{regexp.MustCompile(`\b\d+ streams\b`), "… streams"},
	{regexp.MustCompile(`\b\d+ bytes\b`), "… bytes"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ?`), "(time)"},
	{regexp.MustCompile(`\S+/store-\d+\.db`), "…/store-….db"},
	{regexp.MustCompile(`is damaged: .*`), "is damaged: …"},
	{regexp.MustCompile(`: (pre-candidate|candidate|follower); NOT SERVING`), ": (looks for a leader); NOT SERVING"},
	{regexp.MustCompile(`http://\S+|127\.\d+\.\d+\.\d+:\d+`), "(address)"},
	{regexp.MustCompile(`test-[0-9a-f]{16}`), "test"},
}

// compare ends the story.
func (a *album) compare(name string) {
	a.t.Helper()
	got := a.text.String()
	for _, v := range whatVaries {
		got = v.pattern.ReplaceAllString(got, v.instead)
	}
	var ids []string
	got = regexp.MustCompile(`\b[0-9a-f]{16}\b`).ReplaceAllStringFunc(got, func(id string) string {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
		return fmt.Sprintf("#%d", 1+slices.Index(ids, id))
	})
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			a.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		a.t.Fatal(err)
	}
	theirs, ours := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for i := range max(len(theirs), len(ours)) {
		switch {
		case i >= len(theirs):
			a.t.Fatalf("%s ends where there is more (-update rewrites it): %s", path, ours[i])
		case i >= len(ours):
			a.t.Fatalf("%s has a line too many (-update rewrites it): %s", path, theirs[i])
		case theirs[i] != ours[i]:
			a.t.Fatalf("%s, line %d (-update rewrites it):\nwant %s\nhave %s", path, i+1, theirs[i], ours[i])
		}
	}
}
