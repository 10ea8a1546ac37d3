package machine

import (
	"cmp"
	"slices"

	"holdfast/protocol"
)

// DefaultAccount is the name of the account that has none: the streams of a
// cluster without accounts.
const DefaultAccount = ""

// Account is the streams of one NATS account. Names of streams and subjects of
// different accounts have nothing to do with each other. An account is there as
// soon as somebody asks for it, and is not part of the replicated state; its
// streams and its limits are.
type Account struct {
	machine *Machine
	name    string
	streams map[string]*Stream
	intakes map[string]*Stream // being filled, see intake.go
	router  router
	mirrors map[string][]string // names of the streams that mirror one of that name, in order

	limits    AccountLimits // see limits.go
	limitedBy Incarnation   // of the command that set them; 0: none did
	usage     accountUsage  // sum of Stream.bytes of streams and intakes
}

// Account returns the account of that name.
func (m *Machine) Account(name string) *Account {
	a := m.accounts[name]
	if a == nil {
		a = &Account{machine: m, name: name, streams: make(map[string]*Stream), limits: DefaultLimits}
		m.accounts[name] = a
	}
	return a
}

// Name is the account's name.
func (a *Account) Name() string { return a.name }

func byIncarnation(a, b *Stream) int { return cmp.Compare(a.incarnation, b.incarnation) }

// Stream returns the stream of that name, or nil.
func (a *Account) Stream(name string) *Stream { return a.streams[name] }

// StreamCount is the number of the account's streams.
func (a *Account) StreamCount() int { return len(a.streams) }

// AccountsWithStreams are those that have any, by name.
func (m *Machine) AccountsWithStreams() []*Account {
	var all []*Account
	for _, a := range m.accounts {
		if len(a.streams) > 0 {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b *Account) int { return cmp.Compare(a.name, b.name) })
	return all
}

// ConsumerCount is the number of consumers of the account's streams.
func (a *Account) ConsumerCount() int {
	count := 0
	for _, s := range a.streams {
		count += len(s.consumers)
	}
	return count
}

// Streams returns the account's streams, ordered by name.
func (a *Account) Streams() []*Stream {
	all := make([]*Stream, 0, len(a.streams))
	for _, s := range a.streams {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *Stream) int { return cmp.Compare(a.config.Name, b.config.Name) })
	return all
}

// MirrorsOf returns the names of the streams that mirror one of that name, in
// order.
// It must not be changed.
func (a *Account) MirrorsOf(name string) []string { return a.mirrors[name] }

// Match returns the account's stream that stores messages of that subject, or
// nil. It does not allocate.
func (a *Account) Match(subject []byte) *Stream { return a.router.match(subject) }

// Consumer returns the consumer of that name on the stream of that name, or nil.
func (a *Account) Consumer(stream, name string) *Consumer {
	if s := a.streams[stream]; s != nil {
		return s.Consumer(name)
	}
	return nil
}

// The following are those of the machine, for whoever has only the account.

// StreamOf returns the stream of that incarnation, or nil when it is gone.
func (a *Account) StreamOf(inc Incarnation) *Stream { return a.machine.StreamOf(inc) }

// ConsumerOf returns the consumer of that incarnation, or nil when it is gone.
func (a *Account) ConsumerOf(inc Incarnation) *Consumer { return a.machine.ConsumerOf(inc) }

// Stamp is Machine.Stamp.
func (a *Account) Stamp() int64 { return a.machine.Stamp() }

// NextExpiry is Machine.NextExpiry.
func (a *Account) NextExpiry() int64 { return a.machine.NextExpiry() }

// register makes a stream known under its name and subjects.
func (a *Account) register(s *Stream) {
	a.streams[s.config.Name] = s
	if mirror := s.config.Mirror; mirror != nil {
		if a.mirrors == nil {
			a.mirrors = make(map[string][]string)
		}
		names := a.mirrors[mirror.Name]
		at, _ := slices.BinarySearch(names, s.config.Name)
		a.mirrors[mirror.Name] = slices.Insert(names, at, s.config.Name)
	}
	for _, subject := range s.config.Subjects {
		a.router.add(subject, s)
	}
}

// unregister undoes register, or ends an intake.
func (a *Account) unregister(s *Stream) {
	if s.intake {
		delete(a.intakes, s.config.Name)
		return
	}
	delete(a.streams, s.config.Name)
	if mirror := s.config.Mirror; mirror != nil {
		left := slices.DeleteFunc(a.mirrors[mirror.Name], func(name string) bool { return name == s.config.Name })
		if a.mirrors[mirror.Name] = left; len(left) == 0 {
			delete(a.mirrors, mirror.Name)
		}
	}
	for _, subject := range s.config.Subjects {
		a.router.remove(subject)
	}
}

// overlaps reports whether a stream other than self has a subject that collides
// with one of these.
func (a *Account) overlaps(subjects []string, self *Stream) bool {
	for _, subject := range subjects {
		if a.router.root.collides(subject, self) {
			return true
		}
	}
	return false
}

// namedAccount takes the name of an account from a command and returns it.
func (m *Machine) namedAccount(body *protocol.Reader) *Account {
	name := readAccount(body)
	if body.Failed() {
		return nil
	}
	return m.Account(name)
}

// maxAccountName bounds the name of an account, in bytes.
const maxAccountName = 255

func readAccount(r *protocol.Reader) string {
	size := r.Uvarint()
	if size > maxAccountName {
		r.Fail()
		return ""
	}
	return string(r.Bytes(size))
}
