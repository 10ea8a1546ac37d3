package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"holdfast/internal/servers"
)

// programs are the binaries of a target in a folder: of Holdfast two, of different
// versions.
func programs(folder string, t *servers.Target) []string {
	if t == servers.Targets[0] {
		return []string{filepath.Join(folder, "holdfast-a"), filepath.Join(folder, "holdfast-b")}
	}
	return []string{filepath.Join(folder, "nats-server")}
}

// build makes the binaries that are needed.
func (o *options) build(ctx context.Context, folder string) error {
	done := map[string]bool{}
	for _, t := range o.targets {
		if t == servers.Targets[0] {
			if err := o.buildBoth(ctx, folder, programs(folder, t)); err != nil {
				return err
			}
			continue
		}
		program := programs(folder, t)[0]
		if !done[program] {
			done[program] = true
			if err := servers.Build(ctx, "", program, t.Source); err != nil {
				return err
			}
		}
	}
	return nil
}

// buildBoth makes two builds of Holdfast that call themselves by different versions,
// the second from another revision if there is one.
func (o *options) buildBoth(ctx context.Context, folder string, builds []string) error {
	source := ""
	if o.previous != "" {
		var err error
		if source, err = checkOut(ctx, folder, o.previous); err != nil {
			return err
		}
	}
	for i, program := range builds {
		version, from := fmt.Sprintf("torture-%c", 'a'+i), []string{"", source}[i]
		if err := servers.Build(ctx, from, program, servers.Targets[0].Source, "-ldflags=-X main.version="+version); err != nil {
			return err
		}
		said, err := exec.CommandContext(ctx, program, "version").CombinedOutput()
		if from == "" && (err != nil || strings.TrimSpace(string(said)) != version) {
			return fmt.Errorf("%s should be version %s and says %q: %w", program, version, said, err)
		}
	}
	return nil
}

// checkOut puts the source of a revision into a folder.
func checkOut(ctx context.Context, folder, revision string) (string, error) {
	to, archive := filepath.Join(folder, "source"), filepath.Join(folder, "source.tar")
	if err := os.Mkdir(to, 0o700); err != nil {
		return "", err
	}
	for _, words := range [][]string{
		{"git", "archive", "-o", archive, revision},
		{"tar", "-xf", archive, "-C", to},
	} {
		if out, err := exec.CommandContext(ctx, words[0], words[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, out)
		}
	}
	return to, nil
}
