package servers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
)

// A member listens on these ports, counted from its first.
const (
	ClientPort = iota
	RoutePort
	MeshPort
	MonitorPort
	portCount
)

// Cluster is who the members are and what they share.
type Cluster struct {
	Name   string
	Folder string // for what the members share
	// Secret with which Holdfast's nodes talk by TLS; "": none. The nodes of the other
	// targets never do.
	Secret string
	// WhenMajorityLost is Holdfast's setting of that name; "": its default.
	WhenMajorityLost string
	Members          []*Member
}

// Member is one server of a cluster.
type Member struct {
	Name   string
	Folder string // for its configuration and its log
	Store  string // the folder of what has to survive
	Host   string
	Port   int // the first of its ports
}

// Address is HOST:PORT of one of the member's ports.
func (m *Member) Address(port int) string { return net.JoinHostPort(m.Host, strconv.Itoa(m.Port+port)) }

// URL is where clients connect.
func (m *Member) URL() string { return "nats://" + m.Address(ClientPort) }

// Log is the file that the member's output goes to.
func (m *Member) Log() string { return filepath.Join(m.Folder, "log") }

// ChooseLoopback draws a loopback address (all of 127.0.0.0/8 is) and ports below
// those of outgoing connections, until nobody listens there.
func (m *Member) ChooseLoopback() (err error) {
	m.Host, m.Port, err = freeLoopback(portCount)
	return err
}

// FreeAddress draws HOST:PORT where nobody listens. Nobody will by chance: the port is
// none that the system gives to outgoing connections, or to who asks for any.
func FreeAddress() (string, error) {
	host, port, err := freeLoopback(1)
	return net.JoinHostPort(host, strconv.Itoa(port)), err
}

// freeLoopback draws an address with so many free ports, from the one returned on.
func freeLoopback(ports int) (host string, first int, err error) {
	for range 100 {
		host = fmt.Sprintf("127.%d.%d.%d", 16+rand.IntN(200), rand.IntN(256), 1+rand.IntN(254))
		first = 10_000 + rand.IntN(20_000)
		free := true
		for port := range ports {
			listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(first+port)))
			if free = free && err == nil; err == nil {
				_ = listener.Close()
			}
		}
		if free {
			return host, first, nil
		}
	}
	return "", 0, errors.New("no free loopback ports after 100 tries")
}
