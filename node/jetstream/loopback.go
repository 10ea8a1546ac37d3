package jetstream

import "bytes"

// loopback stands between the door and its bus. The NATS server gives a door
// nothing back that the door sent itself; what the door's own feeds are to get
// of its consumers is handed to them here.
type loopback struct {
	Bus
	door *Door
}

// loopedMessage is on its way to a feed of this door, or from one to its API.
type loopedMessage struct {
	to *feed // nil: the API
	Message
}

// Publish hands the message to a feed of this door, or sends it.
func (l *loopback) Publish(subject, reply, header, payload []byte) {
	if !l.door.loop(subject, reply, header, payload) {
		l.Bus.Publish(subject, reply, header, payload)
	}
}

// Deliver hands the message to a feed of this door, or sends it.
func (l *loopback) Deliver(to, reply, header, payload []byte) {
	if !l.door.loop(to, reply, header, payload) {
		l.Bus.Deliver(to, reply, header, payload)
	}
}

// Interest knows of the door's own feeds besides.
func (l *loopback) Interest(subject string) bool {
	return l.door.feeds.listen(subject) || l.Bus.Interest(subject)
}

// Watch knows of them as well, and of the subjects of the door's streams; relisten
// is told when they come and go.
func (l *loopback) Watch(subject, queue string) bool {
	listens := l.Bus.Watch(subject, queue)
	return listens || queue == "" && l.door.listensItself(subject)
}

// listen reports whether a feed of this door listens to deliveries on a subject
// that do not leave the door.
func (fs *feeds) listen(subject string) bool {
	f := fs.inboxes[subject]
	return f != nil && f.remote.local
}

// loop keeps a message for a feed of this door, if it is for one.
func (d *Door) loop(subject, reply, header, payload []byte) bool {
	if len(d.feeds.inboxes) == 0 {
		return false
	}
	f := d.feeds.inboxes[string(subject)]
	if f == nil || !f.remote.local {
		return false
	}
	m := Message{bytes.Clone(subject), bytes.Clone(reply), bytes.Clone(header), bytes.Clone(payload)}
	d.feeds.looped = append(d.feeds.looped, loopedMessage{to: f, Message: m})
	return true
}

// tellOrigin sends a message to where the feed's origin is.
func (d *Door) tellOrigin(f *feed, subject, reply string, header, payload []byte) {
	if f.remote.local {
		m := Message{[]byte(subject), []byte(reply), header, payload}
		d.feeds.looped = append(d.feeds.looped, loopedMessage{Message: m})
		return
	}
	d.bus.Publish([]byte(subject), []byte(reply), header, payload)
}

// runLoop passes on what is between feeds and the door's own API.
func (d *Door) runLoop() {
	for len(d.feeds.looped) > 0 {
		looped := d.feeds.looped
		d.feeds.looped = nil
		for i := range looped {
			switch m := &looped[i]; {
			case m.to == nil:
				d.Handle(&m.Message)
			case !m.to.gone:
				d.handleFeed(m.to, &m.Message)
			}
		}
	}
}
