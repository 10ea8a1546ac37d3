//go:build !linux

package config

// volatile reports whether the folder is on a file system that is gone after a
// power failure; this is only known on Linux.
func volatile(string) bool { return false }
