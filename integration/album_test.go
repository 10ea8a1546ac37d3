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
	path string
	want string // what the file says; not read when it is rewritten
	text strings.Builder
}

// newAlbum is an empty album for a file of testdata.
func newAlbum(t *testing.T, name string) *album {
	t.Helper()
	a := &album{t: t, path: filepath.Join("testdata", name)}
	if *update {
		return a
	}
	want, err := os.ReadFile(a.path)
	if err != nil {
		t.Fatal(err)
	}
	a.want = string(want)
	return a
}

// show adds what a node says once it says all of these words, and one that is
// given twice, twice, and the rest as in the file: what it knows of the others
// is of a moment ago, and the words alone can be there before the rest is.
func (a *album) show(title string, n *node, words ...string) {
	a.t.Helper()
	said := ""
	eventually(a.t, readyLimit, fmt.Sprintf("%s: the status of %s is not as it should be", title, n.name), func() error {
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
		return a.differs(a.text.String() + page(title, said))
	})
	a.text.WriteString(page(title, said))
}

// add adds what a command said.
func (a *album) add(title, said string) {
	a.t.Helper()
	a.text.WriteString(page(title, said))
	if err := a.differs(a.text.String()); err != nil {
		a.t.Fatalf("%v, in:\n%s", err, said)
	}
}

func page(title, said string) string { return fmt.Sprintf("# %s\n\n%s\n", title, said) }

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

// plain is a text without what varies: identities are numbered in the order in
// which they appear.
func plain(text string) string {
	for _, v := range whatVaries {
		text = v.pattern.ReplaceAllString(text, v.instead)
	}
	var ids []string
	return regexp.MustCompile(`\b[0-9a-f]{16}\b`).ReplaceAllStringFunc(text, func(id string) string {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
		return fmt.Sprintf("#%d", 1+slices.Index(ids, id))
	})
}

// differs says where a text is not how the file begins.
func (a *album) differs(text string) error {
	have := plain(text)
	if *update || strings.HasPrefix(a.want, have) {
		return nil
	}
	theirs := strings.Split(a.want, "\n")
	for i, line := range strings.Split(have, "\n") {
		switch {
		case i >= len(theirs):
			return fmt.Errorf("%s ends where there is more (-update rewrites it): %s", a.path, line)
		case theirs[i] != line:
			return fmt.Errorf("%s, line %d (-update rewrites it):\nwant %s\nhave %s", a.path, i+1, theirs[i], line)
		}
	}
	return nil
}

// end ends the story: the file has nothing more.
func (a *album) end() {
	a.t.Helper()
	have := plain(a.text.String())
	if *update {
		if err := os.WriteFile(a.path, []byte(have), 0o644); err != nil {
			a.t.Fatal(err)
		}
		return
	}
	if rest, _ := strings.CutPrefix(a.want, have); rest != "" {
		a.t.Fatalf("%s has more (-update rewrites it): %s", a.path, rest)
	}
}
