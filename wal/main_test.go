package wal

import (
	"os"
	"testing"
)

// TestMain lets this program run as the child of a test that needs a process of
// its own (failures_test.go, power_test.go).
func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		os.Exit(runChild(name, os.Getenv(childFolder)))
	}
	if arguments := os.Getenv(powerVariable); arguments != "" {
		os.Exit(runPowerChild(arguments, os.Getenv(childFolder)))
	}
	os.Exit(m.Run())
}
