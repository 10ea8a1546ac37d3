// Package servers builds, configures and starts servers for the tools that put
// Holdfast and nats-server side by side: the same clusters for all of them.
//
// A [Target] is one kind of server. A [Cluster] says who its members are and where
// they listen; [Target.Configure] writes what a user would write for them. A
// [Process] is started by a [Place] and never outlives the process that started
// it, however that ends.
package servers
