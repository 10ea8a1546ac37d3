//go:build race

package integration

// raceDetector: with `go test -race` the binary has the race detector too.
const raceDetector = true
