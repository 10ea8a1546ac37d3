package differential

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// fields are the parts of an answer by their path: ".config.max_age" of a JSON
// body, "header Nats-Sequence", or "" for a body that is not JSON.
type fields map[string]string

// ignored are the names of what no two servers say alike.
var ignored = []string{"cluster", "leader", "replicas", "server", "client", "id", "acc", "timestamp", "ts", "pause_remaining"}

// fields takes an answer apart.
func (a *answer) fields() fields {
	all := fields{}
	if a.err != nil {
		all["error"] = a.err.Error()
		return all
	}
	for name, values := range a.header {
		for i, value := range values {
			all[fmt.Sprintf("header %s %d", name, i)] = withoutTime(value)
		}
	}
	decoder := json.NewDecoder(strings.NewReader(a.body))
	decoder.UseNumber()
	var decoded any
	if decoder.Decode(&decoded) != nil || decoder.More() {
		all[""] = a.body
		return all
	}
	all.add("", decoded)
	return all
}

func (f fields) add(at string, value any) {
	switch value := value.(type) {
	case map[string]any:
		f[at] = "{}"
		for name, inner := range value {
			if !slices.Contains(ignored, name) {
				f.add(at+"."+name, inner)
			}
		}
	case []any:
		f[at] = fmt.Sprintf("%d elements", len(value))
		for i, inner := range value {
			f.add(fmt.Sprintf("%s[%d]", at, i), inner)
		}
	case string:
		if strings.HasSuffix(at, ".hdrs") {
			value = headerLines(value)
		}
		f[at] = withoutTime(value)
	default:
		f[at] = fmt.Sprint(value)
	}
}

// headerLines makes the header of a stored message readable. The lines are
// sorted: our client sends them in any order.
func headerLines(encoded string) string {
	header, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return encoded
	}
	lines := strings.Split(strings.TrimSuffix(string(header), "\r\n\r\n"), "\r\n")
	for i, line := range lines {
		if name, value, ok := strings.Cut(line, ": "); ok {
			lines[i] = name + ": " + withoutTime(value)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, " | ")
}

// withoutTime replaces a time, unless it is zero.
func withoutTime(text string) string {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil && !t.IsZero() {
		return "<a time>"
	}
	return text
}

// known is a difference that docs/differences.md explains.
type known struct {
	heading string // of the section there
	pattern string // of the path of a field, as path.Match has it
}

// known says that from here on a field may differ; the heading names the
// section of docs/differences.md that says why. The pattern is matched against
// the field's path ("*" is any text without a slash).
func (s *session) known(heading string, patterns ...string) {
	for _, pattern := range patterns {
		s.knowns = append(s.knowns, known{heading, pattern})
	}
}

// headings are those of docs/differences.md.
var headings = sync.OnceValue(func() map[string]bool {
	found := map[string]bool{}
	text, _ := os.ReadFile("../../docs/differences.md") // an empty one explains nothing
	for line := range strings.Lines(string(text)) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			found[strings.TrimSpace(title)] = true
		}
	}
	return found
})

// found is what the two sides told differently, in words.
func found(wanted, got *session) []string {
	var all []string
	shown := make(map[known]bool)
	for i := range max(len(wanted.told), len(got.told)) {
		if i >= len(wanted.told) || i >= len(got.told) {
			all = append(all, fmt.Sprintf("%s told %d things, %s %d", wanted.side.name, len(wanted.told), got.side.name, len(got.told)))
			break
		}
		all = append(all, foundAt(i, wanted, got, shown)...)
	}
	for _, k := range wanted.knowns {
		if !headings()[k.heading] {
			all = append(all, fmt.Sprintf("docs/differences.md has no section %q", k.heading))
		}
		if !shown[k] {
			all = append(all, fmt.Sprintf("the known difference %q of %q does not show", k.heading, k.pattern))
		}
	}
	return all
}

func foundAt(i int, wanted, got *session, shown map[known]bool) (all []string) {
	w, g := wanted.told[i], got.told[i]
	if w.what != g.what {
		all = append(all, fmt.Sprintf("step %d: %s was asked\n  %s\nbut %s\n  %s", i+1, wanted.side.name, w.what, got.side.name, g.what))
	}
	var lines []string
	for _, d := range differences(w.fields, g.fields, wanted.knowns, shown) {
		lines = append(lines, fmt.Sprintf("  %s:\n    %-11s %s\n    %-11s %s", d.path, wanted.side.name, d.wanted, got.side.name, d.got))
	}
	if len(lines) > 0 {
		all = append(all, fmt.Sprintf("step %d: %s\n%s", i+1, w.what, strings.Join(lines, "\n")))
	}
	return all
}

// difference is a field that two answers do not have in common.
type difference struct{ path, wanted, got string }

// differences are sorted by path; what is known is noted in shown.
func differences(wanted, got fields, knowns []known, shown map[known]bool) []difference {
	names := maps.Clone(wanted)
	maps.Copy(names, got)
	var found []difference
	for _, name := range slices.Sorted(maps.Keys(names)) {
		a, inA := wanted[name]
		b, inB := got[name]
		if inA == inB && a == b || explained(knowns, name, shown) {
			continue
		}
		if inA != inB && alone(names, wanted, got, name) {
			continue // what it is part of is missing, which says enough
		}
		found = append(found, difference{name, value(a, inA), value(b, inB)})
	}
	return found
}

// alone reports whether the object or list around a field is on one side only.
func alone(names, a, b fields, name string) bool {
	parent := name[:max(strings.LastIndexAny(name, ".["), 0)]
	if _, ok := names[parent]; !ok || parent == name {
		return false
	}
	_, inA := a[parent]
	_, inB := b[parent]
	return inA != inB
}

func value(text string, present bool) string {
	if !present {
		return "<missing>"
	}
	return text
}

func explained(knowns []known, name string, shown map[known]bool) bool {
	found := false
	for _, k := range knowns {
		if ok, _ := path.Match(k.pattern, name); ok {
			shown[k], found = true, true
		}
	}
	return found
}
