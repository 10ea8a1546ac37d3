package machine

import (
	"crypto/sha256"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// SourceName tells the sources of a stream apart: name, filters and destinations
// of what is sourced, separated by spaces. The header Nats-Stream-Source has it
// (composeIName of the NATS server).
func SourceName(source *server.StreamSource) string {
	name := source.Name
	if source.External != nil {
		name += ":" + shortHash(source.External.ApiPrefix)
	}
	if source.Consumer != nil {
		name += ":C=" + shortHash(source.Consumer.Name)
	}
	or := func(text string) string {
		if text == "" {
			return anyTail
		}
		return text
	}
	from, to := []string{or(source.FilterSubject)}, []string{anyTail}
	if len(source.SubjectTransforms) > 0 {
		from, to = nil, nil
	}
	for _, t := range source.SubjectTransforms {
		from, to = append(from, or(t.Source)), append(to, or(t.Destination))
	}
	return name + " " + strings.Join(from, "\f") + " " + strings.Join(to, "\f")
}

// StreamIdentity tells a stream from an earlier one of the same name (identity
// of the NATS server's streams).
func StreamIdentity(created time.Time) string {
	return shortHash(created.UTC().Format(time.RFC3339Nano))
}

// shortHash is getHash of the NATS server.
func shortHash(text string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum := sha256.Sum256([]byte(text))
	for i := range 8 {
		sum[i] = digits[int(sum[i])%len(digits)]
	}
	return string(sum[:8])
}

// ConsumerHash is the part of the names of the consumers through which a stream
// sources that the NATS server derives from who sources.
func ConsumerHash(parts ...string) string { return shortHash(strings.Join(parts, " ")) }
