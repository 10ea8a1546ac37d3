package node

import (
	"syscall"
	"time"
	"unsafe"
)

// uptime is the time since the process began. Unlike Go's monotonic clock it
// goes on while the machine is suspended, which look finds out.
type uptime struct {
	began     time.Time
	asleep    int64 // nanoseconds by which the two clocks of the kernel differed when the process began
	suspended int64 // and by which that has grown
}

func newUptime() uptime { return uptime{began: time.Now(), asleep: asleep()} }

// elapsed is in nanoseconds. It costs no system call.
func (u *uptime) elapsed() int64 { return int64(time.Since(u.began)) + u.suspended }

func (u *uptime) look() { u.suspended = max(u.suspended, asleep()-u.asleep) }

// Clocks of clock_gettime(2).
const clockMonotonic, clockBoottime = 1, 7

// asleep is for how many nanoseconds the machine was suspended since it booted.
func asleep() int64 { return kernelClock(clockBoottime) - kernelClock(clockMonotonic) }

// kernelClock reads a clock, or gives 0 where it is missing.
func kernelClock(which uintptr) int64 {
	var now syscall.Timespec
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, which, uintptr(unsafe.Pointer(&now)), 0); errno != 0 {
		return 0
	}
	return now.Nano()
}
