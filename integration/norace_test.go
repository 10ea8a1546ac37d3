//go:build !race

package integration

// raceDetector: the binary is built as users get it.
const raceDetector = false
