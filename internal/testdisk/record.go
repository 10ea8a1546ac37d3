package testdisk

import (
	"path"
	"strings"
)

// sectorBytes are written whole or not at all.
const sectorBytes = 512

// kind is what a change does.
type kind uint8

const (
	writing  kind = iota // bytes of a file
	resizing             // the length of a file
	naming               // names in folders
	syncing              // makes what was done before to a file, or to the names in a folder, durable
)

// change is one line of the record.
type change struct {
	kind     kind
	file     uint64 // the file, or the folder that is synced
	isFolder bool
	offset   int64
	data     []byte
	size     int64
	names    []assignment
	path     string // of what is synced
}

// assignment gives a name in a folder to a file, or to nobody (0). A rename within
// one folder is two at once; of one between folders, the new name is the first.
type assignment struct {
	folder   uint64
	name     string
	file     uint64
	isFolder bool
}

// Sync describes a sync in the record, for Cut.Ignore.
type Sync struct {
	Path   string // from the root of the disk; "." or "": the root
	Folder bool
	// Before are the offsets of the writes to the file since the sync before, in
	// their order; Next is that of the next write to it, -1 if none comes.
	Before []int64
	Next   int64
}

// elements cuts a path into its names.
func elements(name string) []string {
	name = path.Clean("/" + name)[1:]
	if name == "" {
		return nil
	}
	return strings.Split(name, "/")
}
