package jetstream

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	headerLine = "NATS/1.0\r\n"
	crlf       = "\r\n"
)

// headerValue returns the value of the first header named key, without the
// spaces before it, or nil. Names are compared exactly, as nats-server does.
func headerValue(header []byte, key string) []byte {
	line := headerAt(header, key)
	if line < 0 {
		return nil
	}
	value := header[line+len(key)+1:]
	if end := bytes.Index(value, []byte(crlf)); end >= 0 {
		value = value[:end]
	}
	return bytes.TrimLeft(value, " ")
}

// headerAt returns where the line of key begins, or -1.
func headerAt(header []byte, key string) int {
	for at := 0; ; {
		end := bytes.Index(header[at:], []byte(crlf))
		if end < 0 {
			return -1
		}
		at += end + len(crlf)
		line := header[at:]
		if len(line) > len(key) && line[len(key)] == ':' && string(line[:len(key)]) == key {
			return at
		}
	}
}

// withoutHeader returns header without the lines named key. When no other line
// is left the whole header goes. The input is changed in place.
func withoutHeader(header []byte, key string) []byte {
	for {
		at := headerAt(header, key)
		if at < 0 {
			return header
		}
		end := bytes.Index(header[at:], []byte(crlf))
		if end < 0 {
			return header
		}
		header = append(header[:at], header[at+end+len(crlf):]...)
		if len(header) <= len(headerLine)+len(crlf) {
			return nil
		}
	}
}

// appendWithout appends a header to dst without the lines whose names begin with
// one of the prefixes; nothing when no other line is there.
func appendWithout(dst, header []byte, prefixes ...string) []byte {
	start := len(dst)
	end := bytes.Index(header, []byte(crlf))
	if end < 0 {
		return dst
	}
	dst = append(dst, headerLine...)
	for rest := header[end+len(crlf):]; ; {
		end := bytes.Index(rest, []byte(crlf))
		if end <= 0 {
			break
		}
		line := rest[:end+len(crlf)]
		rest = rest[len(line):]
		if !slices.ContainsFunc(prefixes, func(prefix string) bool { return bytes.HasPrefix(line, []byte(prefix)) }) {
			dst = append(dst, line...)
		}
	}
	if len(dst)-start == len(headerLine) {
		return dst[:start]
	}
	return append(dst, crlf...)
}

// withHeader returns a header in which the first line named key has that value,
// or one more line if there is none.
func withHeader(header []byte, key, value string) []byte {
	at := headerAt(header, key)
	if at < 0 {
		return withLine(header, key, value)
	}
	start := at + len(key) + 1
	if start < len(header) && header[start] == ' ' {
		start++
	}
	end := bytes.Index(header[start:], []byte(crlf))
	if end < 0 {
		return header
	}
	return slices.Concat(header[:start], []byte(value), header[start+end:])
}

// withoutStatus drops the status of a header's first line, so that a stored
// message is never mistaken for a control message. The input is changed in place.
func withoutStatus(header []byte) []byte {
	const version = "NATS/1.0"
	if !bytes.HasPrefix(header, []byte(version)) || bytes.HasPrefix(header[len(version):], []byte(crlf)) {
		return header
	}
	end := bytes.Index(header, []byte(crlf))
	if end < 0 {
		return header
	}
	header = append(header[:len(version)], header[end:]...)
	if len(header) <= len(headerLine)+len(crlf) {
		return nil
	}
	return header
}

// appendHeaderStart appends the lines of header to dst, without the empty line
// that ends them, or the first line alone when there is no header.
func appendHeaderStart(dst, header []byte) []byte {
	if len(header) < len(headerLine)+len(crlf) {
		return append(dst, headerLine...)
	}
	return append(dst, header[:len(header)-len(crlf)]...)
}

// appendHeadersOnly appends the header of a delivery that leaves out the
// payload: what was published, and the size of what is left out.
func appendHeadersOnly(dst, header []byte, payloadSize int) []byte {
	dst = appendHeaderStart(dst, header)
	dst = append(dst, server.JSMsgSize...)
	dst = append(dst, ": "...)
	dst = strconv.AppendInt(dst, int64(payloadSize), 10)
	return append(dst, crlf+crlf...)
}

// withLine is a copy of a header, which may be empty, with one more line.
func withLine(header []byte, name, value string) []byte {
	return append(appendLine(appendHeaderStart(nil, header), name, value), crlf...)
}

// metLevel is the header of a message of a batch without the API level that it asks
// for; false: that is higher than what is served.
func metLevel(header []byte) (rest []byte, ok bool) {
	if len(headerValue(header, server.JSRequiredApiLevel)) == 0 {
		return header, true
	}
	if requiresHigherLevel(header) {
		return header, false
	}
	return withoutHeader(bytes.Clone(header), server.JSRequiredApiLevel), true
}

// requiresHigherLevel reports whether a request asks for an API level above
// the one that is served.
func requiresHigherLevel(header []byte) bool {
	if len(header) == 0 {
		return false
	}
	value := headerValue(header, server.JSRequiredApiLevel)
	if len(value) == 0 {
		return false
	}
	level, err := strconv.Atoi(string(value))
	return err != nil || level > server.JSApiLevel
}
