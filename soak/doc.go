// Soak keeps three nodes busy for as long as it is told and looks for what grows.
//
//	go run ./soak [-minutes N] [-dir FOLDER] [-profiles FOLDER] [-only ROUNDS] [-leak]
//
// Clients on every node create, use and delete: streams, consumers, connections,
// buckets, objects (churn.go); the lead goes from node to node all the while. Much
// of it is left to the servers to clean up: messages age, consumers are abandoned,
// connections break off. What exists at a time is always about as much.
//
// Of each node, its process and its store, the measures of sample.go are taken:
// at rest before the churn, hundreds of times during it, and at rest after
// everything was deleted. The judge (judge.go) lets the first half pass as warm-up.
// Over the second half, the trend of a measure must not rise by more than its
// bound; at rest, it must not be more than its bound above what it was. A table
// shows all of them.
//
// With -leak, clients forget to delete and to close. That looks to the judge as if
// a server did, and it has to complain: a judge that does not proves nothing.
package main
