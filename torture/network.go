package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"holdfast/internal/servers"
)

// network connects the nodes: each in a network namespace of its own, with one
// end of a veth pair, the other end in a bridge. This process and its clients are
// at the bridge too, so that a node which is cut off from the others is not cut
// off from its clients.
//
// Who reaches whom is decided by the neighbour table of the sender, in which
// every other node has a fixed entry. A wrong entry sends frames to nobody: they
// are lost in silence, one way, which is what a broken network does, and what no
// firewall rule has to be there for.
type network struct {
	hosts []*host
	// delays is the qdisc that slows a node down and loses some of what it sends.
	delays []string

	mu   sync.Mutex
	cuts map[direction]int // how many faults cut it
}

// host is where a node runs.
type host struct {
	place   *servers.Place
	address string
	mac     string
	thread  int // of the place
}

// direction is from whom to whom, by the numbers of the nodes.
type direction struct{ from, to int }

// nowhere is a hardware address that nobody has.
const nowhere = "02:00:00:00:ff:ff"

func hostAddress(i int) string { return fmt.Sprintf("10.253.7.%d", i+1) }

// newNetwork makes the bridge and the hosts in the network namespace of this
// process, which is its own.
func newNetwork(size int) (*network, error) {
	w := &network{cuts: make(map[direction]int)}
	here := servers.Here()
	err := ipAll(here,
		"link set lo up",
		"link add hub type bridge",
		"addr add 10.253.7.254/24 dev hub",
		"link set hub up")
	if err != nil {
		return nil, err
	}
	for i := range size {
		h := &host{address: hostAddress(i), mac: fmt.Sprintf("02:00:00:00:07:%02x", i+1)}
		h.place, err = servers.NewPlace(func() error {
			h.thread = syscall.Gettid()
			return syscall.Unshare(syscall.CLONE_NEWNET)
		})
		if err != nil {
			return nil, fmt.Errorf("make a network namespace: %w", err)
		}
		err = ipAll(here,
			fmt.Sprintf("link add port%d type veth peer name eth0 address %s netns %d", i+1, h.mac, h.thread),
			fmt.Sprintf("link set port%d master hub up", i+1))
		if err != nil {
			return nil, err
		}
		err = ipAll(h.place, "link set lo up", fmt.Sprintf("addr add %s/24 dev eth0", h.address), "link set eth0 up")
		if err != nil {
			return nil, err
		}
		w.hosts = append(w.hosts, h)
	}
	for from := range w.hosts {
		for to := range w.hosts {
			if from != to {
				if err := w.point(direction{from, to}, w.hosts[to].mac); err != nil {
					return nil, err
				}
			}
		}
	}
	return w, w.chooseDelays()
}

// end takes everything down.
func (w *network) end() error {
	err := ipAll(servers.Here(), "link del hub")
	for i, h := range w.hosts {
		err = errors.Join(err, ipAll(servers.Here(), fmt.Sprintf("link del port%d", i+1)))
		h.place.End()
	}
	return err
}

// chooseDelays prefers netem, which delays, loses, repeats and reorders packets at
// random; a kernel without it has a queue that is slow and short, which delays and
// loses under load. All that the nodes send goes over TCP, so neither changes what
// arrives, but when.
func (w *network) chooseDelays() error {
	var errs []error
	for _, delays := range []string{
		"netem delay 25ms 20ms loss 2% duplicate 1% reorder 10%",
		"tbf rate 4mbit burst 16kb latency 80ms",
	} {
		w.delays = strings.Fields(delays)
		err := errors.Join(w.slow(0), w.quick(0))
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// point makes what one node sends to another go to a hardware address.
func (w *network) point(way direction, mac string) error {
	return ipAll(w.hosts[way.from].place, fmt.Sprintf("neigh replace %s lladdr %s dev eth0 nud permanent", w.hosts[way.to].address, mac))
}

// cut loses everything in some directions, until join.
func (w *network) cut(ways []direction) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var err error
	for _, way := range ways {
		if w.cuts[way]++; w.cuts[way] == 1 {
			err = errors.Join(err, w.point(way, nowhere))
		}
	}
	return err
}

func (w *network) join(ways []direction) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var err error
	for _, way := range ways {
		if w.cuts[way]--; w.cuts[way] == 0 {
			err = errors.Join(err, w.point(way, w.hosts[way.to].mac))
		}
	}
	return err
}

// slow delays what a node sends, and loses some of it, until quick.
func (w *network) slow(node int) error {
	words := append(strings.Fields("qdisc replace dev eth0 root"), w.delays...)
	return runIn(w.hosts[node].place, "tc", words...)
}

func (w *network) quick(node int) error {
	return runIn(w.hosts[node].place, "tc", strings.Fields("qdisc del dev eth0 root")...)
}

// ipAll runs ip for each line of words.
func ipAll(place *servers.Place, lines ...string) error {
	for _, line := range lines {
		if err := runIn(place, "ip", strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

// runIn runs a tool to its end.
func runIn(place *servers.Place, tool string, words ...string) error {
	return place.Do(func() error {
		if out, err := exec.Command(tool, words...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w: %s", tool, strings.Join(words, " "), err, strings.TrimSpace(string(out)))
		}
		return nil
	})
}
