// Package testdisk is a disk for tests. It is a file system in memory that any
// process uses through FUSE, and it knows what real disks hide.
//
// A [Disk] records every change in the order in which it answered them: writes,
// lengths, names, syncs. A [Cut] goes through that record to any moment and lays
// out, in an ordinary folder, what a loss of power in that moment may leave there.
// Whatever was synced is there. What was not may be there or not, in any
// combination: each sector of 512 bytes has any of the contents that it had since
// the last sync, a length any of its values, and each change of a name happened or
// not. A rename within a folder is one change. A rename between two folders leaves
// the file under the old name, the new one, or both, and never under none. This is
// less than what journaling file systems promise, and all that docs/storage.md
// assumes.
//
// A Disk can also fail: see [Disk.Fail], [Disk.Flip] and [Disk.DropCache].
//
// [Disk.Mount] needs root and /dev/fuse. The file system has no mount point: its
// path leads through a file descriptor of this process, so nothing is left of it
// when the process ends, however that ends. This process must not map its files
// into memory: a page fault stops a thread where the runtime cannot know of it, and
// this process is who has to answer it.
package testdisk
