// Package protocol holds the words that the other packages share: who a store
// is, which history it holds, and what one entry of the log looks like.
//
// It has no behaviour beyond comparing, printing and encoding these words. The
// pure packages (replication, mesh, node/machine) may import it and nothing
// else of this module, so that they stay independent of each other.
package protocol
