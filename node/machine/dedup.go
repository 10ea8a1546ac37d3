package machine

// dedupPageEntries is how many message IDs a page of the window holds.
const dedupPageEntries = 1024

// dedupWindow remembers the message IDs of a stream (header Nats-Msg-Id) for
// as long as the configured window. IDs lie in pages in the order of time; a
// page is forgotten when its last ID is too old. What a page holds besides is
// told apart by its stamp, so how soon pages go changes no answer.
type dedupWindow struct {
	seen  map[string]dedupEntry
	pages []*dedupPage // ascending by number
	next  uint64       // number of the next page
}

type dedupEntry struct {
	seq   uint64
	stamp int64
}

// dedupPage is a piece of the window. Only the last one grows.
type dedupPage struct {
	number  uint64
	ids     []string
	entries []dedupEntry
	dirty   bool // the durable state lacks something of it
	saved   bool // it was handed out under its key
}

func (p *dedupPage) lastStamp() int64 { return p.entries[len(p.entries)-1].stamp }

// find returns the sequence of a message with that ID, if it is stamped after
// horizon. It does not allocate.
func (w *dedupWindow) find(id []byte, horizon int64) (uint64, bool) {
	e, ok := w.seen[string(id)]
	return e.seq, ok && e.stamp > horizon
}

// add remembers the ID of a message that is younger than all before.
func (w *dedupWindow) add(id string, e dedupEntry) {
	if w.seen == nil {
		w.seen = make(map[string]dedupEntry)
	}
	w.seen[id] = e
	if n := len(w.pages); n == 0 || len(w.pages[n-1].ids) == dedupPageEntries {
		w.pages = append(w.pages, &dedupPage{number: w.next})
		w.next++
	}
	p := w.pages[len(w.pages)-1]
	p.ids = append(p.ids, id)
	p.entries = append(p.entries, e)
	p.dirty = true
}

// forget drops the first page if all of it is stamped at or before horizon.
func (w *dedupWindow) forget(horizon int64) *dedupPage {
	if len(w.pages) == 0 || w.pages[0].lastStamp() > horizon {
		return nil
	}
	p := w.pages[0]
	w.pages[0] = nil
	w.pages = w.pages[1:]
	for i, id := range p.ids {
		if w.seen[id] == p.entries[i] {
			delete(w.seen, id)
		}
	}
	if len(w.pages) == 0 { // a map never shrinks: let go of it
		w.pages, w.seen = nil, nil
	}
	return p
}

// due is the stamp of the entry at which forget drops a page, 0 for none.
func (w *dedupWindow) due(window int64) int64 {
	if len(w.pages) == 0 {
		return 0
	}
	return later(w.pages[0].lastStamp(), window)
}
