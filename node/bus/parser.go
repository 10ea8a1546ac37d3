package bus

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// Bounds of what the server may send. Both are far above what it does send:
// it limits a control line to 16 times max_control_line (64 KiB by default)
// and a payload to max_payload (at most 64 MiB), plus headers it adds itself.
const (
	maxInboundLine    = 1 << 20
	maxInboundPayload = 64<<20 + 64<<10
)

// opKind says what one operation of the leaf protocol is.
type opKind uint8

const (
	opMessage     opKind = iota + 1 // LMSG or HMSG: operation.message
	opPing                          // answer with PONG
	opPong                          // the answer to our PING
	opSubscribe                     // LS+: operation.args is "subject" or "subject queue weight"
	opUnsubscribe                   // LS-: operation.args is "subject" or "subject queue"
	opConnect                       // CONNECT: operation.args is JSON
	opInfo                          // INFO: operation.args is JSON
	opError                         // -ERR: operation.args is text
	opOK                            // +OK
)

// operation is one parsed operation; its slices alias the parsed buffer.
type operation struct {
	kind    opKind
	message Message
	args    []byte
}

var errProtocol = errors.New("unexpected bytes in the leaf protocol")

// parser cuts the server's byte stream into operations. It keeps no bytes: the
// caller hands in everything from the start of the first unfinished operation.
type parser struct {
	// need is how many bytes, counted from the start of the unfinished
	// operation, are known to be needed before parsing it again can succeed.
	// It never exceeds maxInboundLine + maxPayload + 2.
	need int
	// maxPayload is the largest payload that is let through, at most
	// maxInboundPayload; 0 until the peer has shown its credential.
	maxPayload int
}

// next parses the operation at the start of buf and returns how many bytes it
// took. 0 without an error means that buf ends inside of the operation: read
// until there are at least p.need bytes and call again with the longer buffer.
// An error means that the stream is lost: close the connection.
func (p *parser) next(buf []byte, op *operation) (int, error) {
	if len(buf) < p.need {
		return 0, nil
	}
	end := bytes.IndexByte(buf, '\n')
	if end < 0 {
		if len(buf) > maxInboundLine {
			return 0, fmt.Errorf("%w: a line longer than %d bytes", errProtocol, maxInboundLine)
		}
		p.need = len(buf) + 1
		return 0, nil
	}
	if end > maxInboundLine {
		return 0, fmt.Errorf("%w: a line longer than %d bytes", errProtocol, maxInboundLine)
	}
	line := buf[:end]
	if end > 0 && buf[end-1] == '\r' {
		line = buf[:end-1]
	}
	p.need = 0
	if len(line) > 5 && line[4] == ' ' {
		switch string(line[:4]) {
		case "LMSG":
			return p.message(buf, line[5:], end+1, false, op)
		case "HMSG":
			return p.message(buf, line[5:], end+1, true, op)
		}
	}
	if err := op.control(line); err != nil {
		return 0, err
	}
	return end + 1, nil
}

// controls are the operations that are one line, by the word they start with.
var controls = []struct {
	word string
	kind opKind
	args bool // arguments must follow
}{
	{"LS+", opSubscribe, true},
	{"LS-", opUnsubscribe, true},
	{"PING", opPing, false},
	{"PONG", opPong, false},
	{"+OK", opOK, false},
	{"-ERR", opError, true},
	{"INFO", opInfo, true},
	{"CONNECT", opConnect, true},
}

// control parses an operation that is one line.
func (op *operation) control(line []byte) error {
	for i := range controls {
		c := &controls[i]
		if len(line) < len(c.word) || string(line[:len(c.word)]) != c.word {
			continue
		}
		args := line[len(c.word):]
		if c.args != (len(args) > 1 && args[0] == ' ') || !c.args && len(args) > 0 {
			break
		}
		op.kind, op.args = c.kind, bytes.TrimLeft(args, " ")
		return nil
	}
	return fmt.Errorf("%w: %.40q", errProtocol, line)
}

// message parses an LMSG or HMSG whose arguments are args and whose payload
// begins at buf[start]:
//
//	LMSG subject [reply] size
//	LMSG subject + reply queue… size      for the named queue groups
//	LMSG subject | queue… size            the same without a reply
//	HMSG subject … headerSize totalSize   the same forms with a header
func (p *parser) message(buf, args []byte, start int, withHeader bool, op *operation) (int, error) {
	bad := func(what string) (int, error) {
		return 0, fmt.Errorf("%w: %s in message arguments %.80q", errProtocol, what, args)
	}
	rest, last := cutLast(args)
	size, ok := parseSize(last)
	if !ok || size > p.maxPayload {
		return bad("bad size")
	}
	header := 0
	if withHeader {
		rest, last = cutLast(rest)
		if header, ok = parseSize(last); !ok || header > size {
			return bad("bad header size")
		}
	}
	subject, rest := cutFirst(rest)
	if len(subject) == 0 {
		return bad("no subject")
	}
	var reply []byte
	if len(rest) > 0 {
		if reply, ok = parseReply(rest); !ok {
			return bad("bad reply")
		}
	}

	total := start + size + 2
	if len(buf) < total {
		p.need = total
		return 0, nil
	}
	if buf[total-2] != '\r' || buf[total-1] != '\n' {
		return bad("payload of another length than said")
	}
	op.kind = opMessage
	m := &op.message
	m.Subject, m.Reply, m.Header = slices.Clip(subject), slices.Clip(reply), nil
	if header > 0 {
		m.Header = buf[start : start+header : start+header]
	}
	m.Payload = buf[start+header : start+size : start+size]
	return total, nil
}

// parseReply finds the reply among what stands between subject and sizes. The
// queue groups are not kept: the link is one member of each of its groups.
func parseReply(args []byte) (reply []byte, ok bool) {
	first, queues := cutFirst(args)
	if len(first) == 1 && len(queues) > 0 {
		switch first[0] {
		case '+':
			reply, queues = cutFirst(queues)
			return reply, len(reply) > 0 && len(queues) > 0
		case '|':
			return nil, true
		}
	}
	return first, len(first) > 0 && len(queues) == 0
}

// cutFirst splits at the first space; without one, rest is empty.
func cutFirst(args []byte) (first, rest []byte) {
	if i := bytes.IndexByte(args, ' '); i >= 0 {
		return args[:i], args[i+1:]
	}
	return args, nil
}

// cutLast splits at the last space; without one, rest is empty.
func cutLast(args []byte) (rest, last []byte) {
	if i := bytes.LastIndexByte(args, ' '); i >= 0 {
		return args[:i], args[i+1:]
	}
	return nil, args
}

// parseSize parses a decimal number of at most nine digits.
func parseSize(digits []byte) (int, bool) {
	if len(digits) == 0 || len(digits) > 9 {
		return 0, false
	}
	n := 0
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = n*10 + int(d-'0')
	}
	return n, true
}
