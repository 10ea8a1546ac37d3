package node

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestOnlyThisMachineGivesOrders(t *testing.T) {
	handler := fromThisMachine(func(http.ResponseWriter, *http.Request) {})
	for _, c := range []struct {
		from, to string
		want     int
	}{
		{"127.0.0.1:4000", "127.0.0.1:8222", http.StatusOK},
		{"127.3.2.1:4000", "127.0.0.1:8222", http.StatusOK},
		{"[::1]:4000", "[::1]:8222", http.StatusOK},
		{"10.0.0.1:4000", "10.0.0.1:8222", http.StatusOK},
		{"[::ffff:10.0.0.1]:4000", "10.0.0.1:8222", http.StatusOK},
		{"[fe80::1%eth0]:4000", "[fe80::1%eth0]:8222", http.StatusOK},
		{"10.0.0.2:4000", "10.0.0.1:8222", http.StatusForbidden},
		{"[fe80::2%eth0]:4000", "[fe80::1%eth0]:8222", http.StatusForbidden},
		{"nonsense", "nonsense", http.StatusForbidden},
	} {
		address, err := net.ResolveTCPAddr("tcp", c.to)
		if err != nil {
			address = nil
		}
		request := httptest.NewRequestWithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(address)), http.MethodPost, "/found", nil)
		request.RemoteAddr = c.from
		answer := httptest.NewRecorder()
		handler(answer, request)
		if answer.Code != c.want {
			t.Errorf("from %s to %s: %d, want %d", c.from, c.to, answer.Code, c.want)
		}
	}
}
