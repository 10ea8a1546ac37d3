package config

import (
	"fmt"
	"strings"
)

// keyLines tells on which line each key and table of a file stands. The TOML
// decoder does not tell, so the text is looked through once more; it is known
// to be valid by then.
type keyLines map[string]int

// of returns the line of a key, or of the innermost table around it that has
// one; zero when there is none.
func (k keyLines) of(key string) int {
	for key != "" {
		if line, ok := k[key]; ok {
			return line
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	return 0
}

// findLines looks through a valid TOML text.
func findLines(text string) keyLines {
	s := lineScanner{lines: keyLines{}, tables: map[string]int{}}
	for i, line := range strings.Split(text, "\n") {
		s.scan(strings.TrimSpace(line), i+1)
	}
	return s.lines
}

type lineScanner struct {
	lines  keyLines
	tables map[string]int // how many of each array of tables were met
	table  string         // path of the table that the next keys belong to
	quote  string         // closing quotes of a string over several lines; or empty
	depth  int            // brackets and braces that are open
}

func (s *lineScanner) scan(line string, number int) {
	if s.quote != "" || s.depth > 0 {
		s.skipValue(line)
		return
	}
	switch {
	case line == "" || line[0] == '#':
	case strings.HasPrefix(line, "[["):
		words, _ := keyWords(line[2:])
		name := s.path(words[:len(words)-1], words[len(words)-1])
		s.table = fmt.Sprintf("%s[%d]", name, s.tables[name])
		s.tables[name]++
		s.lines[s.table] = number
	case line[0] == '[':
		words, _ := keyWords(line[1:])
		s.table = s.path(words, "")
		s.lines[s.table] = number
	default:
		words, value := keyWords(line)
		path := s.table
		for _, word := range words {
			path = join(path, word)
			if _, known := s.lines[path]; !known {
				s.lines[path] = number
			}
		}
		s.skipValue(value)
	}
}

// path joins the words of a table's name; a word that names an array of tables
// means its last element.
func (s *lineScanner) path(words []string, last string) string {
	path := ""
	for _, word := range words {
		path = join(path, word)
		if n := s.tables[path]; n > 0 {
			path = fmt.Sprintf("%s[%d]", path, n-1)
		}
	}
	if last != "" {
		path = join(path, last)
	}
	return path
}

func join(path, word string) string {
	if path == "" {
		return word
	}
	return path + "." + word
}

// keyWords splits a dotted key at the start of text, up to = or ], and returns
// what follows.
func keyWords(text string) (words []string, rest string) {
	word := ""
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '"', '\'':
			end := strings.IndexByte(text[i+1:], c)
			if end < 0 {
				return append(words, word), ""
			}
			word += text[i+1 : i+1+end]
			i += end + 1
		case ' ', '\t':
		case '.':
			words, word = append(words, word), ""
		case '=', ']':
			return append(words, word), text[i+1:]
		default:
			word += string(c)
		}
	}
	return append(words, word), ""
}

// skipValue goes over a value, or one line of it, and notes what stays open.
func (s *lineScanner) skipValue(text string) {
	for text != "" {
		if s.quote != "" {
			text = s.skipString(text)
			continue
		}
		switch {
		case strings.HasPrefix(text, `"""`), strings.HasPrefix(text, "'''"):
			s.quote, text = text[:3], text[3:]
			continue
		case text[0] == '"', text[0] == '\'':
			s.quote = text[:1]
		case text[0] == '[', text[0] == '{':
			s.depth++
		case text[0] == ']', text[0] == '}':
			s.depth--
		case text[0] == '#':
			return
		}
		text = text[1:]
	}
	if len(s.quote) == 1 {
		s.quote = "" // such a string ends with its line
	}
}

// skipString returns what follows the string that is open, if it ends here.
func (s *lineScanner) skipString(text string) string {
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && s.quote[0] == '"':
			i++
		case strings.HasPrefix(text[i:], s.quote):
			rest := text[i+len(s.quote):]
			s.quote = ""
			return rest
		}
	}
	return ""
}
