package node

import (
	"log/slog"
	"strings"
	"testing"
)

// TestNATSMessagesThatMislead: of a member that is down the mesh tells, by its name;
// what is wrong with a connection is an error.
func TestNATSMessagesThatMislead(t *testing.T) {
	for message, level := range map[string]string{
		"127.0.0.1:6222 - rid:12 - TLS route handshake error: EOF":                                                                      "",
		"127.0.0.1:6222 - rid:12 - TLS route handshake error: read tcp 127.0.0.1:32826->127.0.0.1:6222: read: connection reset by peer": "",
		"127.0.0.1:6222 - rid:12 - TLS route handshake error: write tcp 127.0.0.1:32826->127.0.0.1:6222: write: broken pipe":            "",
		"Error trying to connect to route (attempt 1): dial tcp 127.0.0.1:6222: connect: connection refused":                            "",
		"127.0.0.1:6222 - rid:12 - TLS route handshake error: remote error: tls: bad certificate":                                       "ERROR",
		"127.0.0.1:6222 - rid:12 - TLS route handshake error: tls: first record does not look like a TLS handshake":                     "ERROR",
		"127.0.0.1:4222 - cid:7 - maximum payload violation: 2000000 vs 1048576":                                                        "ERROR",
	} {
		var out strings.Builder
		l := &natsLogger{logger: slog.New(slog.NewTextHandler(&out, nil))}
		l.Errorf("%s", message)
		if (level == "") != (out.Len() == 0) || !strings.Contains(out.String(), level) {
			t.Errorf("%s\nis told as %q", message, out.String())
		}
	}
}
