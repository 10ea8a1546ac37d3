package jetstream

import (
	"encoding/json"
	"io"
)

// outline writes a large JSON document in pieces: objects within lists of objects,
// of which every item is told by itself.
type outline struct {
	out    io.Writer // never fails
	levels []outlined
	err    error // of the first value that could not be encoded
}

// outlined is an object that was begun and not ended. The last one holds the list
// that is under way.
type outlined struct {
	list string // to which the last item went, not closed yet; "" for none
	bare bool   // nothing is in the object so far
}

// begin begins an object with the fields of v, as the next item of a list of the object
// under way. The document itself is in no list.
func (o *outline) begin(list string, v any) {
	o.next(list)
	body := o.encode(v)
	o.write(body[:len(body)-1])
	o.levels = append(o.levels, outlined{bare: len(body) == len("{}")})
}

// add puts a value into a list of the object under way. The items of a list come one
// after the other.
func (o *outline) add(list string, v any) {
	o.next(list)
	o.write(o.encode(v))
}

// end ends the object under way; the fields of rest, an object too, come last.
func (o *outline) end(rest any) {
	level := &o.levels[len(o.levels)-1]
	if level.list != "" {
		o.text("]")
	}
	if body := o.encode(rest); len(body) == len("{}") {
		o.text("}")
	} else {
		if !level.bare {
			o.text(",")
		}
		o.write(body[1:])
	}
	o.levels = o.levels[:len(o.levels)-1]
}

// next makes room for an item of a list of the object under way.
func (o *outline) next(list string) {
	if len(o.levels) == 0 {
		return
	}
	level := &o.levels[len(o.levels)-1]
	if level.list == list {
		o.text(",")
		return
	}
	if level.list != "" {
		o.text("]")
	}
	if !level.bare {
		o.text(",")
	}
	level.list, level.bare = list, false
	o.text(`"` + list + `":[`)
}

// encode returns an object, an empty one when it cannot be encoded.
func (o *outline) encode(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		if o.err == nil {
			o.err = err
		}
		return []byte("{}")
	}
	return body
}

func (o *outline) write(b []byte) { _, _ = o.out.Write(b) }
func (o *outline) text(s string)  { _, _ = io.WriteString(o.out, s) }
