// Package differential sends the same requests to a JetStream cluster of the
// embedded nats-server module and to a Holdfast cluster, and compares the
// answers field by field. Both run in the process of the test, three nodes
// each, so that a stream has three replicas on either side.
//
// A test is a script, see [compare]: it is played to each side, and writes
// down every answer that it gets. Holdfast is asked once; JetStream up to three
// times, as it may answer before all its servers know. What no two servers answer alike (times,
// names of servers, the shape of the cluster) is left out. Every other
// difference fails the test, unless the script says with [session.known] that it
// is one that docs/differences.md explains; a known difference that does not
// show fails as well, so that the document stays true.
//
// To add a case, write a test that calls compare, or a line in one of the tables.
package differential
