// Bench compares a cluster of three Holdfast nodes with a cluster of three
// NATS servers with JetStream, of the version that Holdfast embeds.
//
//	go run ./bench [-seconds N] [-rounds N] [-only NAMES] [-dir FOLDER] [-encrypted]
//
// All nodes and the client run on this machine, over loopback. The targets
// take turns (A B C A B C …), each time from an empty store; a figure is the
// median of its rounds. The client is nats.go, the same code for all of them,
// and connects to the node that leads the stream. Streams and consumers are
// replicated three times and kept in files. Nodes talk to each other without
// encryption, or only those of Holdfast with it (-encrypted).
//
//	start      from starting the processes until the first stream exists
//	async128   publishing 128 bytes, 500 publishes outstanding
//	fetch      fetching what async128 published, 500 at a time, with an
//	           acknowledgement for each message
//	async1k    publishing 1 KiB, 500 publishes outstanding
//	sync128    publishing 128 bytes, one at a time
//	failover   from SIGKILL of the leader until a publish is acknowledged again
//	           that is sent through another node; one is sent every 10 ms
//
// Bytes written are those that the kernel charges to the processes
// (write_bytes in /proc/PID/io), divided by the payload that was published and
// by the number of nodes.
package main
