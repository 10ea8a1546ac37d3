package machine

// Removing all messages of a stream takes its blocks away at once. That the
// entries of the log in which the messages are have fewer live ones then is found
// out later, a few blocks at a time: for ten million messages it takes a second,
// in which nothing else could be applied. Nobody sees the delay: Dead and Live
// catch up first.

// grave is a block that is gone, with what is needed to know how much its messages
// counted.
type grave struct {
	block    *block
	subjects []subjectState
}

// Bury makes up for up to so many blocks, of at most 1,024 messages, and reports
// whether none are left. Whoever calls it now and then keeps Dead short.
func (m *Machine) Bury(blocks int) (done bool) {
	for ; blocks > 0 && len(m.graves) > 0; blocks-- {
		last := len(m.graves) - 1
		m.uncount(m.graves[last].block, m.graves[last].subjects)
		m.graves[last] = grave{}
		m.graves = m.graves[:last]
	}
	if len(m.graves) == 0 {
		m.graves = nil
	}
	return m.graves == nil
}

func (m *Machine) buryAll() { m.Bury(len(m.graves)) }

// uncount takes the live messages of a block out of the counts of their entries.
func (m *Machine) uncount(b *block, subjects []subjectState) {
	entry, count, live := uint64(0), 0, 0
	for i := b.nextAlive(0); i >= 0; i = b.nextAlive(i + 1) {
		r := b.at(i)
		if r.entry != entry {
			if count > 0 {
				m.entries.remove(entry, count, live)
			}
			entry, count, live = r.entry, 0, 0
		}
		count++
		live += messageSize(len(subjects[r.subject].name), r.content)
	}
	if count > 0 {
		m.entries.remove(entry, count, live)
	}
}
