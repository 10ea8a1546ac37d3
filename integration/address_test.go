package integration

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// address is where one node listens. Every node of every test has a loopback
// address of its own (all of 127.0.0.0/8 is loopback on Linux) and ports below
// the range that the kernel gives to outgoing connections, so that no two
// tests, and no client connection, ever want the same.
type address struct {
	host                          string
	client, routes, mesh, monitor int
}

func (n *node) clientAddress() string  { return n.at.join(n.at.client) }
func (n *node) routesAddress() string  { return n.at.join(n.at.routes) }
func (n *node) meshAddress() string    { return n.at.join(n.at.mesh) }
func (n *node) monitorAddress() string { return n.at.join(n.at.monitor) }

func (n *node) clientURL() string             { return "nats://" + n.clientAddress() }
func (n *node) monitorURL(page string) string { return "http://" + n.monitorAddress() + page }
func (a address) join(port int) string        { return net.JoinHostPort(a.host, strconv.Itoa(port)) }
func (a address) ports() []int                { return []int{a.client, a.routes, a.mesh, a.monitor} }
func fourPorts(host string, first int) address {
	return address{host, first, first + 1, first + 2, first + 3}
}

// freeAddress draws an address until nobody listens on any of its ports. Only a
// stranger who listens on every address of the machine can be in the way.
func freeAddress(t *testing.T) address {
	t.Helper()
	for range 100 {
		host := fmt.Sprintf("127.%d.%d.%d", 16+rand.IntN(200), rand.IntN(256), 1+rand.IntN(254))
		a := fourPorts(host, 10_000+rand.IntN(20_000))
		if a.free() {
			return a
		}
	}
	t.Fatal("no free loopback address after 100 tries")
	return address{}
}

func (a address) free() bool {
	for _, port := range a.ports() {
		listener, err := net.Listen("tcp", a.join(port))
		if err != nil {
			return false
		}
		listener.Close()
	}
	return true
}
