package integration

import (
	"net"
	"strconv"
	"testing"

	"holdfast/internal/servers"
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

// freeAddress draws an address until nobody listens on any of its ports. Only a
// stranger who listens on every address of the machine can be in the way.
func freeAddress(t *testing.T) address {
	t.Helper()
	var m servers.Member
	if err := m.ChooseLoopback(); err != nil {
		t.Fatal(err)
	}
	return address{m.Host, m.Port + servers.ClientPort, m.Port + servers.RoutePort, m.Port + servers.MeshPort, m.Port + servers.MonitorPort}
}
