package wal

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"holdfast/protocol"
)

const (
	pointerTitle   = "holdfast store folder"
	pointerVersion = 1
)

// UnknownLineage stands for a lineage that could not be read any more, in
// Meta.Replaced: the store that was replaced may have held anything, so the one
// that comes after must not count as that of a first boot.
var UnknownLineage = protocol.Lineage{ID: math.MaxUint64}

// pointer is the content of the file "current": who the folder belongs to and
// which store file is the store. It is replaced as a whole.
type pointer struct {
	owner Owner
	// serial is the highest number of a store file that was ever current. A file
	// with a higher number was never used, one with a lower number is replaced.
	serial uint64
	// current says that the file of that number is the store. Otherwise there is
	// none, and the next one to be opened is created blank.
	current bool
	// identity is that of the current store. It is written before the store
	// itself takes a new one, so after a crash it may be ahead; it is never behind.
	identity protocol.Identity
	// replaced is the last lineage that this node lost with a quarantined store
	// and has not replaced since; blank when there is none.
	replaced protocol.Lineage
	// aside is the note of the last store that was set aside. While the file
	// itself is not in the quarantine yet, the next OpenDir puts it there.
	aside note
}

// blank reports that there is a store and that it holds no lineage: no entry, and
// nothing that it could have acknowledged.
func (p *pointer) blank() bool { return p.current && p.identity.Lineage.Blank() }

// lost is the lineage that a blank store would replace now.
func (p *pointer) lost() protocol.Lineage {
	if p.current && !p.identity.Lineage.Blank() {
		return p.identity.Lineage
	}
	return p.replaced
}

var pointerFields = []string{
	"cluster", "member", "serial", "current", "store", "lineage", "replaced",
	"aside-serial", "aside-store", "aside-lineage", "aside-reason", "aside-time",
}

func encodePointer(p *pointer) []byte {
	values := []string{
		p.owner.Cluster, p.owner.Member,
		strconv.FormatUint(p.serial, 10), strconv.FormatBool(p.current),
		p.identity.Store.String(), formatLineage(p.identity.Lineage), formatLineage(p.replaced),
	}
	values = append(values, p.aside.values()...)
	return encodeText(pointerTitle, pointerVersion, zipFields(pointerFields, values))
}

func decodePointer(content []byte) (pointer, error) {
	values, err := decodeText(content, pointerTitle, pointerVersion, pointerFields)
	if err != nil {
		return pointer{}, err
	}
	v := valueReader{values: values}
	p := pointer{
		owner:    Owner{Cluster: v.text(), Member: v.text()},
		serial:   v.number(10),
		current:  v.text() == "true",
		identity: protocol.Identity{Store: protocol.StoreID(v.number(16)), Lineage: v.lineage()},
		replaced: v.lineage(),
		aside:    v.note(),
	}
	return p, v.err
}

const (
	noteTitle   = "holdfast quarantined store"
	noteVersion = 1
)

// note says what a quarantined store file is.
type note struct {
	serial   uint64 // zero: no note
	identity protocol.Identity
	reason   string
	time     time.Time // to the second
}

var noteFields = []string{"serial", "store", "lineage", "reason", "time"}

func (n *note) values() []string {
	return []string{
		strconv.FormatUint(n.serial, 10), n.identity.Store.String(), formatLineage(n.identity.Lineage),
		n.reason, strconv.FormatInt(n.time.Unix(), 10) + " " + n.time.UTC().Format(time.RFC3339),
	}
}

func encodeNote(n *note) []byte {
	return encodeText(noteTitle, noteVersion, zipFields(noteFields, n.values()))
}

func decodeNote(content []byte) (note, error) {
	values, err := decodeText(content, noteTitle, noteVersion, noteFields)
	if err != nil {
		return note{}, err
	}
	v := valueReader{values: values}
	n := v.note()
	return n, v.err
}

func zipFields(names, values []string) []field {
	fields := make([]field, len(names))
	for i, name := range names {
		fields[i] = field{name: name, value: values[i]}
	}
	return fields
}

func formatLineage(l protocol.Lineage) string {
	return fmt.Sprintf("%d/%s", l.Epoch, l.ID)
}

// valueReader takes the values of a file one by one and remembers the first
// that is none.
type valueReader struct {
	values []string
	err    error
}

func (v *valueReader) text() string {
	value := v.values[0]
	v.values = v.values[1:]
	return value
}

func (v *valueReader) number(base int) uint64 { return v.parse(v.text(), base) }

func (v *valueReader) parse(text string, base int) uint64 {
	n, err := strconv.ParseUint(text, base, 64)
	if err != nil && v.err == nil {
		v.err = fmt.Errorf("%w: %q is not a number", errTextFile, text)
	}
	return n
}

func (v *valueReader) lineage() protocol.Lineage {
	epoch, id, _ := strings.Cut(v.text(), "/")
	return protocol.Lineage{Epoch: v.parse(epoch, 10), ID: protocol.AttemptID(v.parse(id, 16))}
}

func (v *valueReader) note() note {
	n := note{
		serial:   v.number(10),
		identity: protocol.Identity{Store: protocol.StoreID(v.number(16)), Lineage: v.lineage()},
		reason:   v.text(),
	}
	seconds, _, _ := strings.Cut(v.text(), " ")
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil && v.err == nil {
		v.err = fmt.Errorf("%w: %q is not a time", errTextFile, seconds)
	}
	n.time = time.Unix(unix, 0)
	return n
}
