// Package offline reads stores that no node runs on: it verifies one, shows what
// is in it, exports its messages, also from a damaged or quarantined store, and
// makes its file smaller. Import brings an export back, through a client.
//
// Nothing but Compact changes a file.
package offline
