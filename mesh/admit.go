package mesh

import (
	"errors"
	"fmt"

	"holdfast/protocol"
)

// Errors of Admit. ErrRegressed means that the member's store is to be set aside
// and the member joins anew; the others that the process is to stop.
var (
	ErrStranger  = errors.New("not a member")
	ErrImpostor  = errors.New("another process runs under this node's name")
	ErrZombie    = errors.New("an older process of a store that was seen with a newer one")
	ErrRegressed = errors.New("the store went back in time")
)

// maxBoots bounds how many stores of one member are remembered.
const maxBoots = 16

// boot is the newest that was seen of a store.
type boot struct {
	store         protocol.StoreID
	boot, counter uint64
}

// remember keeps the newest boot and counter of the store.
func (p *peer) remember(s Status) {
	for i := range p.boots {
		if b := &p.boots[i]; b.store == s.Store {
			b.boot, b.counter = max(b.boot, s.Boot), max(b.counter, s.Counter)
			return
		}
	}
	if len(p.boots) == maxBoots {
		p.boots = p.boots[1:]
	}
	p.boots = append(p.boots, boot{s.Store, s.Boot, s.Counter})
}

// Admit judges the hello of a process that calls itself by the name, before its
// connection is used. A boot counter lower than one already seen of the same
// store is a zombie, a clone or a rolled-back disk; a status counter that went
// down while the boot counter did not is a rolled-back disk. Only the errors of
// this package are returned.
func (c *Core) Admit(name string, status Status) error {
	if name == c.options.Self {
		return fmt.Errorf("admit %s with store %s: %w, with store %s; stop one of the two", name, status.Store, ErrImpostor, c.local.Store)
	}
	p := c.peer(name)
	if p == nil || status.Member != name {
		return fmt.Errorf("admit %s: %w; the members are %s and %s", name, ErrStranger, c.options.Self, list(c.others()))
	}
	for _, b := range p.boots {
		switch {
		case b.store != status.Store:
		case status.Boot < b.boot:
			return fmt.Errorf("admit %s with store %s: %w: boot %d after boot %d", name, status.Store, ErrZombie, status.Boot, b.boot)
		case status.Counter < b.counter:
			return fmt.Errorf("admit %s with store %s: %w: change %d after change %d", name, status.Store, ErrRegressed, status.Counter, b.counter)
		}
	}
	return nil
}
