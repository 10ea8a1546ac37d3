package transport

import (
	"fmt"
	"strings"
	"unicode"

	"holdfast/protocol"
)

// Reason says why a process was refused.
type Reason byte

const (
	ReasonVersion   Reason = 1 // another version of the mesh protocol
	ReasonMalformed Reason = 2 // a hello that cannot be read
	ReasonCluster   Reason = 3 // another cluster
	ReasonUnknown   Reason = 4 // a name that is not among the members
	ReasonAddress   Reason = 5 // the dialler wanted another member: an address in its list is wrong
	ReasonMembers   Reason = 6 // a different member list
	ReasonIdentity  Reason = 7 // the certificate is for another name
	ReasonDuplicate Reason = 8 // another live process has the name
	ReasonRegressed Reason = 9 // the store was seen with a higher boot counter, or with the same one by another process
)

// String names the reason.
func (r Reason) String() string {
	switch r {
	case ReasonVersion:
		return "protocol version"
	case ReasonMalformed:
		return "malformed hello"
	case ReasonCluster:
		return "other cluster"
	case ReasonUnknown:
		return "unknown member"
	case ReasonAddress:
		return "wrong address"
	case ReasonMembers:
		return "different member list"
	case ReasonIdentity:
		return "certificate for another name"
	case ReasonDuplicate:
		return "duplicate name"
	case ReasonRegressed:
		return "regressed store"
	}
	return fmt.Sprintf("reason(%d)", byte(r))
}

// RefusedError reports that one process refused another one's hello.
type RefusedError struct {
	By     string // the member that refused
	Member string // the member that was refused
	Reason Reason
	Detail string // one sentence with names and numbers, and what to do
}

// Error tells the whole refusal in one line.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s refused %s (%s): %s", e.By, e.Member, e.Reason, e.Detail)
}

// appendRefusal appends the body of a refusal. Who is refused knows its name.
func appendRefusal(dst []byte, e *RefusedError) []byte {
	dst = append(dst, byte(e.Reason))
	dst = appendText(dst, e.By)
	return append(dst, e.Detail[:min(len(e.Detail), maxDetailBytes)]...)
}

// decodeRefusal reads the body of a refusal of member. The text is meant for a
// log: what is not printable in it is replaced.
func decodeRefusal(body []byte, member string) (*RefusedError, error) {
	r := protocol.Reader{Rest: body}
	e := &RefusedError{Member: member, Reason: Reason(r.Byte()), By: printable(takeText(&r, protocol.MaxNameBytes))}
	if len(r.Rest) > maxDetailBytes {
		r.Fail()
	}
	e.Detail = printable(string(r.Bytes(uint64(len(r.Rest)))))
	return e, r.Done("refusal")
}

func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return unicode.ReplacementChar
		}
		return c
	}, s)
}
