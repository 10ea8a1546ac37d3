package bus

import "slices"

// listener is a subject without wildcards, and the queue group of those who
// subscribe to it; an empty group stands for those who are in none.
type listener struct{ subject, queue string }

// listeners knows who subscribes to exact subjects, from what the server
// announces: the first of them and the last, in the cluster, and nothing for
// those between. Owner's goroutine only.
type listeners struct {
	plain   map[string]struct{} // subjects with subscribers outside of queue groups
	watched map[listener]bool   // what was said of them last
	changed []listener          // watched, to be looked at by heard
}

// note takes over the announcement of a subscription without a queue group.
func (ls *listeners) note(subject string, gone bool) {
	if gone {
		delete(ls.plain, subject)
	} else {
		if ls.plain == nil {
			ls.plain = map[string]struct{}{}
		}
		ls.plain[subject] = struct{}{}
	}
	ls.touch(listener{subject: subject})
}

func (ls *listeners) touch(l listener) {
	if _, ok := ls.watched[l]; ok {
		ls.changed = append(ls.changed, l)
	}
}

// forget is for a new connection, which announces everything anew.
func (ls *listeners) forget() {
	ls.plain = nil
	for l := range ls.watched { // heard sorts them
		ls.changed = append(ls.changed, l)
	}
}

// listens reports whether somebody subscribes.
func (g *groups) listens(l listener) bool {
	if l.queue != "" {
		return slices.Contains(g.exact[l.subject], l.queue)
	}
	_, ok := g.listeners.plain[l.subject]
	return ok
}

// Watch reports whether anybody in the cluster subscribes to exactly that subject,
// in that queue group or, when queue is empty, in none. From now on Heard tells
// when that changes. A subscription with wildcards does not count: this is how
// the NATS server looks for the listeners of a push consumer. Owner's goroutine
// only.
func (l *Link) Watch(subject, queue string) bool {
	g := &l.out.groups
	g.refresh()
	key := listener{subject, queue}
	listens := g.listens(key)
	if g.listeners.watched == nil {
		g.listeners.watched = map[listener]bool{}
	}
	if _, known := g.listeners.watched[key]; !known { // who watches already hears of a change
		g.listeners.watched[key] = listens
	}
	return listens
}

// Unwatch ends what Watch began. Owner's goroutine only.
func (l *Link) Unwatch(subject, queue string) {
	delete(l.out.groups.listeners.watched, listener{subject, queue})
}

// Heard calls f for every watched subject and queue whose listeners came or went
// since they were last told of, with whether there are any now. It costs next to
// nothing when nothing was announced. Owner's goroutine only.
func (l *Link) Heard(f func(subject, queue string, listens bool)) {
	g := &l.out.groups
	g.refresh()
	if len(g.listeners.changed) == 0 {
		return
	}
	changed := g.listeners.changed
	g.listeners.changed = nil
	slices.SortFunc(changed, func(a, b listener) int {
		return subscription{subject: a.subject, queue: a.queue}.compare(subscription{subject: b.subject, queue: b.queue})
	})
	for _, key := range slices.Compact(changed) {
		before, watched := g.listeners.watched[key]
		if now := g.listens(key); watched && now != before {
			g.listeners.watched[key] = now
			f(key.subject, key.queue, now)
		}
	}
}
