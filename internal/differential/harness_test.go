package differential

import (
	"slices"
	"testing"
)

// TestComparison makes sure that a difference is found where there is one, and
// only there.
func TestComparison(t *testing.T) {
	told := func(body string) *session {
		s := &session{side: &side{name: body}}
		s.told = append(s.told, telling{"request", (&answer{body: body}).fields()})
		return s
	}
	for _, c := range []struct {
		wanted, got string
		paths       []string
	}{
		{`{"a":1,"created":"2026-01-02T03:04:05Z"}`, `{"created":"2027-01-02T03:04:05Z","a":1}`, nil},
		{`{"a":1}`, `{"a":2}`, []string{".a"}},
		{`{"a":{"b":[1,2]}}`, `{"a":{"b":[1,3]}}`, []string{".a.b[1]"}},
		{`{"a":{"b":1}}`, `{}`, []string{".a"}},
		{`{"first_ts":"0001-01-01T00:00:00Z"}`, `{"first_ts":"2026-01-02T03:04:05Z"}`, []string{".first_ts"}},
		{`+OK`, `-ERR`, []string{""}},
		{`{"cluster":{"leader":"a"},"type":"x"}`, `{"cluster":{"leader":"b"},"type":"x"}`, nil},
	} {
		wanted, got := told(c.wanted), told(c.got)
		var paths []string
		for _, d := range differences(wanted.told[0].fields, got.told[0].fields, nil, nil) {
			paths = append(paths, d.path)
		}
		if !slices.Equal(paths, c.paths) {
			t.Errorf("%s and %s differ in %q, want %q", c.wanted, c.got, paths, c.paths)
		}
	}
}

// TestKnownDifference makes sure that only what is said to differ may.
func TestKnownDifference(t *testing.T) {
	s := &session{}
	s.known("Heading", ".config.*")
	wanted, got := (&answer{body: `{"config":{"a":1},"b":1}`}).fields(), (&answer{body: `{"config":{"a":2},"b":2}`}).fields()
	shown := make(map[known]bool)
	left := differences(wanted, got, s.knowns, shown)
	if len(left) != 1 || left[0].path != ".b" || !shown[s.knowns[0]] {
		t.Errorf("left %v, shown %v", left, shown)
	}
}
