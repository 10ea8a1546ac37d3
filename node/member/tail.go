package member

// tail holds the data of the newest applied entries: what is delivered soon after
// it was published is read from here. It also bridges the time
// in which an entry is applied, because a majority has it, while this node's
// own disk does not have it yet.
type tail struct {
	limit   int      // bytes that are kept although they are durable
	first   uint64   // index of entries[0]
	entries [][]byte // consecutive; nil for entries without data
	head    int      // entries before it are gone
	bytes   int
}

// add takes the entry at index, which follows the one before, or starts anew.
func (t *tail) add(index uint64, data []byte) {
	if index != t.first+uint64(len(t.entries)) {
		*t = tail{limit: t.limit, first: index}
	}
	t.entries = append(t.entries, data)
	t.bytes += len(data)
}

// trim lets the oldest entries go while too many bytes are held; only those at
// or below durable, which can be read from the store.
func (t *tail) trim(durable uint64) {
	for t.bytes > t.limit && t.head < len(t.entries) && t.first+uint64(t.head) <= durable {
		t.bytes -= len(t.entries[t.head])
		t.entries[t.head] = nil
		t.head++
	}
	if t.head > len(t.entries)/2 && t.head > 1024 {
		n := copy(t.entries, t.entries[t.head:])
		clear(t.entries[n:])
		t.entries = t.entries[:n]
		t.first += uint64(t.head)
		t.head = 0
	}
}

// get returns an entry's data, or nil when it is not held.
func (t *tail) get(index uint64) []byte {
	if index < t.first+uint64(t.head) || index >= t.first+uint64(len(t.entries)) {
		return nil
	}
	return t.entries[index-t.first]
}
