package simulation

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"log/slog"
	"strings"
	"time"
)

// trace takes down what happens: always as a hash, by which two runs are
// compared, and as text when there is somebody to read it.
type trace struct {
	hash   hash.Hash64
	out    io.Writer // nil: nobody reads
	buffer []byte
	lines  uint64
}

func newTrace(out io.Writer) *trace { return &trace{hash: fnv.New64a(), out: out} }

// note takes down one line of text.
func (t *trace) note(now int64, who, text string) {
	t.lines++
	t.buffer = binary.LittleEndian.AppendUint64(t.buffer[:0], uint64(now))
	t.buffer = append(append(append(t.buffer, who...), ' '), text...)
	t.hash.Write(t.buffer)
	if t.out != nil {
		fmt.Fprintf(t.out, "%12.6f %-3s %s\n", time.Duration(now).Seconds(), who, text)
	}
}

// count takes down numbers of which only the hash is kept.
func (t *trace) count(now int64, numbers ...uint64) {
	t.buffer = binary.LittleEndian.AppendUint64(t.buffer[:0], uint64(now))
	for _, n := range numbers {
		t.buffer = binary.LittleEndian.AppendUint64(t.buffer, n)
	}
	t.hash.Write(t.buffer)
}

// bytes takes down the content of a frame or a message.
func (t *trace) bytes(now int64, content []byte) {
	t.count(now, uint64(len(content)))
	t.hash.Write(content)
}

// Log lines of the members go into the trace, and to whoever watches for them.
type logHandler struct {
	world *world
	who   string
	watch func(level slog.Level, line string)
}

func (h *logHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}
func (h *logHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *logHandler) WithGroup(string) slog.Handler      { return h }

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	var line strings.Builder
	line.WriteString(r.Level.String() + " " + r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "kept_as" { // a path of this machine
			fmt.Fprintf(&line, " %s=%v", a.Key, a.Value)
		}
		return true
	})
	text := strings.ReplaceAll(line.String(), h.world.options.Folder, "")
	h.world.trace.note(h.world.now, h.who, text)
	h.watch(r.Level, text)
	return nil
}
