// Package integration tests the built binary from outside: real processes on
// loopback addresses, real NATS clients, signals and removed stores.
//
// The tests are told as stories: a tour of the API from every node, a leader
// killed under load, a planned stop, a follower that lost its memory, restarts,
// bad input. A [cluster] holds the processes of one test and ends them with it;
// when a test fails it prints the last lines that each of them logged.
//
// With HOLDFAST_TEST_TARGET=nats-server the same tests run against JetStream
// itself, three nats-server processes of the module version in go.mod. That
// proves that what they expect of the API is what JetStream does. Stories about
// what only Holdfast has (its status, its failover, its stores) are left out
// then.
package integration
