//go:build race

package servers

// RaceDetector: what Build makes of Holdfast has the race detector, as this program has.
const RaceDetector = true
