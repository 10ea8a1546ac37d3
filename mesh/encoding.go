package mesh

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"

	"holdfast/protocol"
)

// encodingVersion begins every encoded status and message.
const encodingVersion = 3

// maxTextBytes bounds the sentences in a message; longer ones are cut.
const maxTextBytes = 1024

// minFoundingBytes is the least that an encoded founding takes, and so bounds
// how many of them a message of a given length can hold.
const minFoundingBytes = 8 + protocol.MinFoundingBytes

// minStatusBytes is the same for an encoded status: voter, lineage, four numbers,
// no voters, promise, replaced lineage, counter and boot.
const minStatusBytes = 1 + 8 + 16 + 4 + 1 + 16 + 16 + 2

// AppendStatus appends the encoded status to dst.
func AppendStatus(dst []byte, s *Status) []byte {
	return appendStatus(append(dst, encodingVersion), s)
}

// DecodeStatus reads what AppendStatus wrote. The error wraps
// protocol.ErrMalformed.
func DecodeStatus(data []byte) (Status, error) {
	r := protocol.Reader{Rest: data}
	if err := checkVersion("mesh status", r.Byte()); err != nil {
		return Status{}, err
	}
	s := readStatus(&r)
	if err := r.Done("mesh status"); err != nil {
		return Status{}, err
	}
	return s, nil
}

// checkVersion: members of different releases understand each other only if they
// write the same.
func checkVersion(what string, found byte) error {
	if found != encodingVersion {
		return fmt.Errorf("%s of version %d, this program speaks %d: run the same release of holdfast on every node: %w", what, found, encodingVersion, protocol.ErrMalformed)
	}
	return nil
}

// AppendMessage appends the encoded message to dst. Fields that its type does
// not use are left out.
func AppendMessage(dst []byte, m *Message) []byte {
	dst = append(dst, encodingVersion, byte(m.Type))
	dst = appendStatus(dst, &m.Status)
	switch m.Type {
	case TypeStatus:
		dst = appendRole(dst, &m.Role)
		dst = appendTrace(dst, &m.Heard)
	case TypeAsk, TypeAnswer:
		dst = binary.LittleEndian.AppendUint64(dst, m.Nonce)
	case TypeOffer:
		dst = appendRole(dst, &m.Role)
		dst = appendClaim(dst, m)
		dst = appendBool(dst, m.CatchUp)
	case TypeConfirm, TypeGrant:
		dst = appendAttempt(dst, m.Attempt)
		dst = appendClaim(dst, m)
		dst = appendPins(dst, m.Pins)
	case TypeConfirmed, TypeGranted:
		dst = appendAttempt(dst, m.Attempt)
	case TypeRefused:
		dst = appendAttempt(dst, m.Attempt)
		dst = append(dst, byte(m.Refusal))
		dst = appendText(dst, m.Reason)
	}
	return dst
}

// DecodeMessage reads what AppendMessage wrote. The error wraps
// protocol.ErrMalformed; a type that this version does not know is one.
func DecodeMessage(data []byte) (Message, error) {
	r := protocol.Reader{Rest: data}
	if err := checkVersion("mesh message", r.Byte()); err != nil {
		return Message{}, err
	}
	m := Message{Type: Type(r.Byte())}
	m.Status = readStatus(&r)
	switch m.Type {
	case TypeStatus:
		m.Role = readRole(&r)
		m.Heard = readTrace(&r)
	case TypeAsk, TypeAnswer:
		m.Nonce = r.Uint64()
	case TypeOffer:
		m.Role = readRole(&r)
		readClaim(&r, &m)
		m.CatchUp = readBool(&r)
	case TypeConfirm, TypeGrant:
		m.Attempt = readAttempt(&r)
		readClaim(&r, &m)
		m.Pins = readPins(&r)
	case TypeConfirmed, TypeGranted:
		m.Attempt = readAttempt(&r)
	case TypeRefused:
		m.Attempt = readAttempt(&r)
		m.Refusal = Refusal(r.Byte())
		m.Reason = readText(&r)
	default:
		return Message{}, fmt.Errorf("decode mesh message: type %d: %w", byte(m.Type), protocol.ErrMalformed)
	}
	if err := r.Done("mesh message"); err != nil {
		return Message{}, err
	}
	return m, nil
}

func appendStatus(dst []byte, s *Status) []byte {
	dst = protocol.AppendVoter(dst, s.Voter())
	dst = appendLineage(dst, s.Lineage)
	for _, n := range [...]uint64{s.Epoch, s.Term, s.LastTerm, s.LastIndex} {
		dst = binary.AppendUvarint(dst, n)
	}
	dst = protocol.AppendConfiguration(dst, s.Configuration)
	dst = appendAttempt(dst, s.Promise)
	dst = appendLineage(dst, s.Replaced)
	dst = binary.AppendUvarint(dst, s.Counter)
	return binary.AppendUvarint(dst, s.Boot)
}

func readStatus(r *protocol.Reader) Status {
	var s Status
	v := r.Voter()
	s.Member, s.Store = v.Name, v.Store
	s.Lineage = readLineage(r)
	s.Epoch, s.Term, s.LastTerm, s.LastIndex = r.Uvarint(), r.Uvarint(), r.Uvarint(), r.Uvarint()
	s.Configuration = r.Configuration()
	s.Promise = readAttempt(r)
	s.Replaced = readLineage(r)
	s.Counter, s.Boot = r.Uvarint(), r.Uvarint()
	return s
}

func appendTrace(dst []byte, t *Trace) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(t.Store))
	for _, n := range [...]uint64{t.Boot, t.Counter, t.Promise, t.Term, t.Index} {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

func readTrace(r *protocol.Reader) Trace {
	return Trace{Store: protocol.StoreID(r.Uint64()),
		Boot: r.Uvarint(), Counter: r.Uvarint(), Promise: r.Uvarint(), Term: r.Uvarint(), Index: r.Uvarint()}
}

// appendClaim appends what the sender says about the receiver's log and its own.
func appendClaim(dst []byte, m *Message) []byte {
	dst = appendStatus(dst, &m.Pinned)
	dst = appendBool(dst, m.Contained)
	dst = binary.AppendUvarint(dst, uint64(len(m.Foundings)))
	for _, f := range m.Foundings {
		dst = binary.LittleEndian.AppendUint64(dst, f.Index)
		dst = protocol.AppendFounding(dst, f)
	}
	return dst
}

func readClaim(r *protocol.Reader, m *Message) {
	m.Pinned = readStatus(r)
	m.Contained = readBool(r)
	count := r.Uvarint()
	if count > uint64(len(r.Rest)/minFoundingBytes) {
		r.Fail()
		return
	}
	for range count {
		f := r.Founding(r.Uint64())
		if r.Failed() {
			return
		}
		m.Foundings = append(m.Foundings, f)
	}
}

func appendPins(dst []byte, pins []Status) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(pins)))
	for i := range pins {
		dst = appendStatus(dst, &pins[i])
	}
	return dst
}

func readPins(r *protocol.Reader) []Status {
	count := r.Uvarint()
	if count > uint64(len(r.Rest)/minStatusBytes) {
		r.Fail()
		return nil
	}
	var pins []Status
	for range count {
		pins = append(pins, readStatus(r))
		if r.Failed() {
			return nil
		}
	}
	return pins
}

func appendRole(dst []byte, role *Role) []byte {
	dst = appendBool(dst, role.Leading)
	dst = append(dst, byte(role.State))
	for _, text := range [...]string{role.Leader, role.Reason, role.Remedy} {
		dst = appendText(dst, text)
	}
	dst = binary.AppendUvarint(dst, role.Copied)
	return binary.AppendUvarint(dst, role.Total)
}

func readRole(r *protocol.Reader) Role {
	return Role{
		Leading: readBool(r), State: State(r.Byte()),
		Leader: readText(r), Reason: readText(r), Remedy: readText(r),
		Copied: r.Uvarint(), Total: r.Uvarint(),
	}
}

func appendAttempt(dst []byte, a protocol.Attempt) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, a.Epoch)
	return binary.LittleEndian.AppendUint64(dst, uint64(a.ID))
}

func readAttempt(r *protocol.Reader) protocol.Attempt {
	return protocol.Attempt{Epoch: r.Uint64(), ID: protocol.AttemptID(r.Uint64())}
}

func appendLineage(dst []byte, l protocol.Lineage) []byte {
	return appendAttempt(dst, protocol.Attempt(l))
}

func readLineage(r *protocol.Reader) protocol.Lineage { return protocol.Lineage(readAttempt(r)) }

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func readBool(r *protocol.Reader) bool {
	b := r.Byte()
	if b > 1 {
		r.Fail()
	}
	return b == 1
}

func appendText(dst []byte, text string) []byte {
	if len(text) > maxTextBytes {
		text = strings.ToValidUTF8(text[:maxTextBytes], "")
	}
	dst = binary.AppendUvarint(dst, uint64(len(text)))
	return append(dst, text...)
}

func readText(r *protocol.Reader) string {
	size := r.Uvarint()
	if size > maxTextBytes {
		r.Fail()
		return ""
	}
	text := string(r.Bytes(size))
	if !utf8.ValidString(text) {
		r.Fail()
		return ""
	}
	return text
}
