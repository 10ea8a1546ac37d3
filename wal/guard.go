package wal

import (
	"fmt"
	"runtime/debug"
)

// panicError is a panic that was caught on the way through the database.
type panicError struct{ value any }

// Error tells a fault of the memory map from a panic of bbolt.
func (p *panicError) Error() string {
	if fault, ok := p.value.(interface{ Addr() uintptr }); ok {
		return fmt.Sprintf("memory-map fault at %#x (%v)", fault.Addr(), p.value)
	}
	return fmt.Sprintf("panic: %v", p.value)
}

// guard calls fn and turns a panic, and a fault on the memory map (a file that
// became shorter, a disk that cannot be read), into an error. It holds for this
// goroutine only.
func guard(fn func() error) (err error) {
	defer catch(&err, debug.SetPanicOnFault(true))
	return fn()
}

// catch is deferred by whatever reads the memory map:
//
//	defer catch(&err, debug.SetPanicOnFault(true))
func catch(err *error, faultsBefore bool) {
	debug.SetPanicOnFault(faultsBefore)
	if value := recover(); value != nil {
		*err = &panicError{value: value}
	}
}
