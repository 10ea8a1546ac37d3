package machine

import "strings"

const (
	anyToken = "*"
	anyTail  = ">"
)

// isLiteral reports whether a subject has no wildcard token.
func isLiteral(subject string) bool {
	for rest, more := subject, true; more; {
		var token string
		token, rest, more = strings.Cut(rest, ".")
		if token == anyToken || token == anyTail {
			return false
		}
	}
	return true
}

// covers reports whether every subject that matches subject also matches
// pattern; both may have wildcards. For a literal subject this is matching.
func covers(pattern, subject string) bool {
	for {
		p, patternRest, patternMore := strings.Cut(pattern, ".")
		s, subjectRest, subjectMore := strings.Cut(subject, ".")
		if p == anyTail && !patternMore {
			return true
		}
		if s == anyTail && !subjectMore {
			return false
		}
		if p != s && p != anyToken {
			return false
		}
		if patternMore != subjectMore {
			return false
		}
		if !patternMore {
			return true
		}
		pattern, subject = patternRest, subjectRest
	}
}

// coversAny reports whether one of the patterns covers subject; no patterns at
// all cover everything.
func coversAny(patterns []string, subject string) bool {
	for _, p := range patterns {
		if covers(p, subject) {
			return true
		}
	}
	return len(patterns) == 0
}
