// Package replication is the Raft core of Holdfast.
package replication
