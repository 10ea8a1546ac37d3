// Torture runs clusters of real processes, does to them what happens to machines,
// and judges what their clients saw.
//
//	go run ./torture [-minutes N] [-nodes 3,5] [-targets NAMES] [-seed N]
//
// Where the kernel allows it, a copy of this program runs in namespaces of its own,
// and every node in a network namespace on a disk of its own (see sandbox.go): then
// disks fill up, and networks split, slow down and lose. Otherwise the nodes are on
// loopback, without these faults. Either way nothing is left when the program ends,
// however it ends: the kernel takes it away.
//
// A trial (run.go) is one cluster with clients on every node:
//
//	load.go       publishers that wait for answers, that do not, and that insist;
//	              producers of a work queue
//	consumers.go  ordered readers, a durable pull consumer, a push consumer with a
//	              queue group, the workers of the queue
//	registry.go   reads and conditional writes of a key-value bucket
//	plan.go       which faults, when: a function of the seed
//	faults.go     how they are done, and undone
//
// Faults keep within what an acknowledgement promises: a majority that loses or
// spoils its memory at the same time is not among them, and after a node has lost
// its memory, the next one does only when the first has got it back. So nothing
// acknowledged may be lost, and no cluster may begin anew. The checkers (check.go,
// check_registry.go) work on what was recorded, after the fact. Of a build whose
// leader acknowledges what only itself has stored, three of them complain within a
// minute.
//
// The same trial drives nats-server with JetStream. Its faults are the same; a
// cluster that does not come back by itself within half a minute is restarted there,
// and that is counted.
package main
