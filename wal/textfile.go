package wal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// The small files of a folder (current, and the note beside a quarantined
// store) are for people as well: a title with the format's version, one line a
// field with its value quoted, and a CRC32C over all lines before it.
//
//	holdfast store folder, format 1
//	cluster "edge-1"
//	...
//	crc32c 1a2b3c4d

const maxTextFileBytes = 64 << 10

var errTextFile = errors.New("not a readable file of this kind")

type field struct{ name, value string }

func encodeText(title string, version int, fields []field) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, format %d\n", title, version)
	for _, f := range fields {
		fmt.Fprintf(&b, "%s %s\n", f.name, strconv.Quote(f.value))
	}
	fmt.Fprintf(&b, "crc32c %08x\n", crc32.Checksum([]byte(b.String()), castagnoli))
	return []byte(b.String())
}

// decodeText returns the values of the named fields, which stand in this order.
// A newer version is told apart before anything else is looked at.
func decodeText(content []byte, title string, version int, names []string) ([]string, error) {
	if len(content) > maxTextFileBytes {
		return nil, fmt.Errorf("%w: it has %d bytes", errTextFile, len(content))
	}
	text := string(content)
	first, rest, _ := strings.Cut(text, "\n")
	number, ok := strings.CutPrefix(first, title+", format ")
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with %q", errTextFile, title)
	}
	found, err := strconv.Atoi(number)
	if err != nil {
		return nil, fmt.Errorf("%w: its format is %q", errTextFile, number)
	}
	if found > version {
		return nil, fmt.Errorf("%w: it has format %d, this program knows up to %d", ErrNewerFormat, found, version)
	}
	body, sum, ok := cutSum(text)
	if !ok || fmt.Sprintf("%08x", crc32.Checksum([]byte(body), castagnoli)) != sum {
		return nil, fmt.Errorf("%w: checksum mismatch", errTextFile)
	}
	values := make([]string, 0, len(names))
	for _, name := range names {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		quoted, ok := strings.CutPrefix(line, name+" ")
		if !ok {
			return nil, fmt.Errorf("%w: no field %q", errTextFile, name)
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, fmt.Errorf("%w: field %q", errTextFile, name)
		}
		values = append(values, value)
	}
	return values, nil
}

// cutSum separates the last line, the checksum, from what it covers.
func cutSum(text string) (body, sum string, ok bool) {
	at := strings.LastIndex(text, "crc32c ")
	if at < 0 || !strings.HasSuffix(text, "\n") {
		return "", "", false
	}
	return text[:at], strings.TrimSuffix(text[at+len("crc32c "):], "\n"), true
}
