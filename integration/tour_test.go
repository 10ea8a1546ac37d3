package integration

import "testing"

// feature is one part of the JetStream API, tried by a client of its own on a
// stream of its own.
type feature struct {
	name string
	try  func(*client)
}

// tour is everything that clients rely on.
var tour = [][]feature{
	streamFeatures, messageFeatures, publishFeatures, limitFeatures,
	consumerFeatures, deliverFeatures, ackFeatures, fetchFeatures, legacyFeatures, refusalFeatures,
}

// TestTourSingleNode takes the tour on one node that nobody configured.
func TestTourSingleNode(t *testing.T) {
	t.Parallel()
	c := startSingle(t)
	takeTour(t, c.nodes[0])
}

// TestTourThreeNodes takes the tour on three nodes, from a client of each: it
// makes no difference to a client which node it is connected to.
func TestTourThreeNodes(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	for _, n := range c.nodes {
		t.Run(n.name, func(t *testing.T) {
			t.Parallel()
			takeTour(t, n)
		})
	}
}

func takeTour(t *testing.T, n *node) {
	for _, features := range tour {
		for _, f := range features {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				f.try(newClient(t, n))
			})
		}
	}
}
