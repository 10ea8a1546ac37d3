// Torture runs clusters of real processes, does to them what happens to machines,
// and judges what their clients saw.
//
//	go run ./torture [-minutes N] [-nodes 3,5] [-targets NAMES] [-seed N] [-stores memory|disk] [-previous REVISION]
//
// Where the kernel allows it, a copy of this program runs in namespaces of its own,
// and every node in a network namespace on a disk of its own (see sandbox.go): then
// disks fill up, and networks split, slow down and lose. The disks are in memory or,
// with -stores disk and for root, ext4 in files (image.go). Otherwise the nodes are on
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
//	disaster.go   the last: a majority loses its memory, and an operator goes on
//
// Until the last, faults keep within what an acknowledgement promises: a majority that loses or
// spoils its memory at the same time is not among them, and after a node has lost
// its memory, the next one does only when the first has got it back. So nothing
// acknowledged may be lost, and no cluster may begin anew. The checkers (check.go,
// check_registry.go) work on what was recorded, after the fact. Of a build whose
// leader acknowledges what only itself has stored, three of them complain within a
// minute.
//
// What no fault here does is to change the time of day: it is the machine's, the same
// for all nodes and everybody else on it, a time namespace does not change it, and a
// static Go program asks nobody who could lie to it. That the clocks of nodes are
// wrong by hours is simulated (node/simulation). Packets that are repeated or change
// places would change nothing either: all that nodes say goes over TCP.
//
// The same trial drives nats-server with JetStream. Its faults are the same; a
// cluster that does not come back by itself within half a minute is restarted there,
// and that is counted.
package main
