package machine

// Removing all messages of a stream takes its blocks away at once. That the
// entries of the log in which the messages are have fewer live ones then is found
// out later, a few blocks at a time: for ten million messages it takes a second,
// in which nothing else could be applied. Nobody sees the delay: Dead and Live
// catch up first.

// Bury makes up for up to so many blocks, of at most 1,024 messages, and reports
// whether none are left. Whoever calls it now and then keeps Dead short.
func (m *Machine) Bury(blocks int) (done bool) {
	for ; blocks > 0 && len(m.graves) > 0; blocks-- {
		last := len(m.graves) - 1
		m.uncount(m.graves[last])
		m.graves[last] = nil
		m.graves = m.graves[:last]
	}
	if len(m.graves) == 0 {
		m.graves = nil
	}
	return m.graves == nil
}

func (m *Machine) buryAll() { m.Bury(len(m.graves)) }

// uncount takes the live messages of a block out of the counts of their entries.
func (m *Machine) uncount(b *block) {
	entry, count := uint64(0), 0
	for i := b.nextAlive(0); i >= 0; i = b.nextAlive(i + 1) {
		if r := b.at(i); r.entry != entry {
			if count > 0 {
				m.entries.remove(entry, count)
			}
			entry, count = r.entry, 0
		}
		count++
	}
	if count > 0 {
		m.entries.remove(entry, count)
	}
}
