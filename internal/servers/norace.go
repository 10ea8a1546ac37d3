//go:build !race

package servers

// RaceDetector: binaries are built as users get them.
const RaceDetector = false
