package config

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	File string // or the flag that the value came from; may be empty
	Line int    // zero: unknown
	Text string
}

// String is file:line: text, as far as they are known.
func (p Problem) String() string {
	switch {
	case p.File == "":
		return p.Text
	case p.Line == 0:
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Errors is everything that is wrong with a configuration, by line.
type Errors []Problem

// Error has a line for each problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// source tells where the values of a configuration came from, and collects what
// is wrong with them. A key is named by its path: cluster.member[0].mesh.
type source struct {
	file     string
	lines    keyLines
	flags    map[string]string // keys that a flag set, and its name
	shape    Errors            // found while decoding
	problems Errors            // found by the check that runs now
}

func (s *source) setByFlag(key, flag string) {
	if s.flags == nil {
		s.flags = map[string]string{}
	}
	s.flags[key] = flag
}

// at makes a problem of the value under key.
func (s *source) at(key, format string, args ...any) Problem {
	text := fmt.Sprintf(format, args...)
	if flag, ok := s.flags[key]; ok {
		return Problem{File: flag, Text: text}
	}
	return Problem{File: s.file, Line: s.lines.of(key), Text: text}
}

// complain notes a problem of the value under key.
func (s *source) complain(key, format string, args ...any) {
	s.problems = append(s.problems, s.at(key, format, args...))
}

// errors returns all problems in the order of their lines, or nil.
func (s *source) errors() error {
	all := slices.Concat(s.shape, s.problems)
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b Problem) int { return a.Line - b.Line })
	return all
}

// maxTypos is how many letters may be wrong for a suggestion.
const maxTypos = 2

// suggestion returns what to add to a complaint about an unknown word.
func suggestion(word string, known []string) string {
	best, least := "", maxTypos+1
	for _, candidate := range known {
		if d := distance(word, candidate); d < least {
			best, least = candidate, d
		}
	}
	if best == "" || least >= len(best) {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is the least number of letters to insert, delete, replace or swap
// with the next one to make b of a (optimal string alignment).
func distance(a, b string) int {
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
