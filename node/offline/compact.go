package offline

import (
	"fmt"
	"io"

	"holdfast/wal"
)

// Compact makes the store's file in a folder that no node uses as small as what is
// in it, and writes to out how far it is.
func Compact(out io.Writer, folder string) error {
	tenth := int64(-1)
	before, after, err := wal.Compact(folder, func(done, total int64) {
		if now := 10 * done / max(total, 1); now != tenth {
			tenth = now
			fmt.Fprintf(out, "%d of %d bytes (%d %%)\n", done, total, 10*now)
		}
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "the store had %d bytes and has %d\n", before, after)
	return nil
}
