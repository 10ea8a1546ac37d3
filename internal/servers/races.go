package servers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// racesFolder is where reports of races go, below the folder of a binary.
const racesFolder = "races"

// watchRaces has every process that this one starts from now on end at the first race
// that it detects, with a report in a file near the binary. Whatever user it runs as
// can write that.
func watchRaces(program string) error {
	folder, err := filepath.Abs(filepath.Join(filepath.Dir(program), racesFolder))
	if err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(folder, 0o777), os.Chmod(folder, 0o777)); err != nil {
		return err
	}
	return os.Setenv("GORACE", "halt_on_error=1 log_path="+filepath.Join(folder, "race"))
}

// Races returns what the race detector found in the binaries that Build put into a
// folder, also in a process that was to end anyway; nil: nothing.
func Races(folder string) error {
	reports, err := filepath.Glob(filepath.Join(folder, racesFolder, "*"))
	for _, report := range reports {
		text, readErr := os.ReadFile(report)
		err = errors.Join(err, readErr, fmt.Errorf("a node has a race:\n%s", text))
	}
	return err
}
