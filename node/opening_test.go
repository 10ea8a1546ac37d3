package node

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What a store that is being opened is like shows on the monitor, before there is
// anything else to show.
func TestOpeningIsShown(t *testing.T) {
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	n := &Node{logger: logger, notify: newNotifier(logger)}
	shown := func(handler http.HandlerFunc, want string) {
		t.Helper()
		answer := httptest.NewRecorder()
		handler(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
		if body := answer.Body.String(); answer.Code != http.StatusServiceUnavailable || !strings.Contains(body, want) {
			t.Errorf("%d %s, want %q", answer.Code, body, want)
		}
	}
	shown(n.serveStatus, "starting\n")
	n.opening(1<<30, 4<<30)
	shown(n.serveStatus, "starting: the store is being checked, 25 % of 4096 MB\n")
	n.opening(3<<30, 4<<30)
	shown(n.serveHealth, "not serving: starting: the store is being checked, 75 % of 4096 MB\n")
}
