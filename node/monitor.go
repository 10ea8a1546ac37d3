package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"slices"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// monitorTimeout bounds a request to the monitor.
const monitorTimeout = 10 * time.Second

// profileTimeout bounds an answer of the monitor; a profile takes its time.
const profileTimeout = 2 * time.Minute

// listenMonitor opens the monitor: /healthz, /metrics, /status and, from the
// same machine only, profiles and the operator's commands.
func (n *Node) listenMonitor() error {
	listener, err := net.Listen("tcp", n.config.Monitor.Listen)
	if err != nil {
		return fmt.Errorf("listen for the monitor (monitor.listen): %w", err)
	}
	n.monitorAddress = listener.Addr()
	set := n.metrics()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", n.serveHealth)
	mux.HandleFunc("GET /status", n.serveStatus)
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) { set.WritePrometheus(w) })
	n.serveOperator(mux)
	mux.HandleFunc("GET /debug/pprof/", fromThisMachine(pprof.Index))
	mux.HandleFunc("GET /debug/pprof/profile", fromThisMachine(pprof.Profile))
	n.monitor = &http.Server{Handler: mux, ReadHeaderTimeout: monitorTimeout, ReadTimeout: monitorTimeout, WriteTimeout: profileTimeout}
	go func() {
		if err := n.monitor.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			n.logger.Error("the monitor ended", "cause", err)
		}
	}()
	return nil
}

func (n *Node) serveHealth(w http.ResponseWriter, _ *http.Request) {
	status := n.Status()
	if status == nil || !status.Serving {
		reason := n.startState()
		if status != nil && status.Waiting != "" {
			reason = status.Waiting
		}
		http.Error(w, "not serving: "+reason, http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func (n *Node) serveStatus(w http.ResponseWriter, _ *http.Request) {
	status := n.Status()
	if status == nil {
		http.Error(w, n.startState(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.Encode(status)
}

// fromThisMachine lets only requests through that come from this machine, over
// loopback or from the very address that they go to: whoever may found and discard
// is whoever may log in here. The kernel takes no packet from outside that claims
// to come from an address of its own.
func fromThisMachine(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		from, known := host(r.RemoteAddr)
		here := known && from.IsLoopback()
		if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && known && !here {
			to, known := host(local.String())
			here = known && from == to
		}
		if !here {
			http.Error(w, "only from this machine", http.StatusForbidden)
			return
		}
		next(w, r)
	}
}

// host is the address of a HOST:PORT.
func host(address string) (netip.Addr, bool) {
	both, err := netip.ParseAddrPort(address)
	return both.Addr().Unmap(), err == nil
}

// metrics are read from the last status whenever they are asked for.
func (n *Node) metrics() *metrics.Set {
	set := metrics.NewSet()
	gauge := func(name string, value func(*Status) float64) {
		set.NewGauge(name, func() float64 {
			if status := n.Status(); status != nil {
				return value(status)
			}
			return 0
		})
	}
	is := func(condition bool) float64 {
		if condition {
			return 1
		}
		return 0
	}
	gauge("holdfast_serving", func(s *Status) float64 { return is(s.Serving) })
	gauge("holdfast_leader", func(s *Status) float64 { return is(s.Role == "leader") })
	gauge("holdfast_epoch", func(s *Status) float64 { return float64(s.Epoch) })
	gauge("holdfast_term", func(s *Status) float64 { return float64(s.Term) })
	gauge("holdfast_log_last_index", func(s *Status) float64 { return float64(s.Last) })
	gauge("holdfast_log_commit_index", func(s *Status) float64 { return float64(s.Commit) })
	gauge("holdfast_log_applied_index", func(s *Status) float64 { return float64(s.Applied) })
	gauge("holdfast_store_bytes", func(s *Status) float64 { return float64(s.StoreBytes) })
	gauge("holdfast_room_bytes", func(s *Status) float64 { return float64(s.RoomBytes) })
	gauge("holdfast_scrubbed_bytes", func(s *Status) float64 { return float64(s.ScrubbedBytes) })
	gauge("holdfast_scrub_rounds", func(s *Status) float64 { return float64(s.ScrubRounds) })
	gauge("holdfast_no_room", func(s *Status) float64 { return is(s.Shortage != "") })
	gauge("holdfast_streams", func(s *Status) float64 { return float64(s.Streams) })
	gauge("holdfast_lossy_foundings", func(s *Status) float64 { return float64(s.LossyFoundings) })
	gauge("holdfast_alarms", func(s *Status) float64 { return float64(len(s.Alarms)) })
	gauge("holdfast_quarantined_stores", func(s *Status) float64 { return float64(s.QuarantinedStores) })
	gauge("holdfast_quarantined_bytes", func(s *Status) float64 { return float64(s.quarantinedBytes()) })
	gauge("holdfast_uptime_seconds", func(s *Status) float64 { return s.UptimeSeconds })
	for _, name := range n.memberNames() {
		of := func(metric string, value func(*MemberStatus) bool) {
			gauge(fmt.Sprintf("%s{member=%q}", metric, name), func(s *Status) float64 {
				m := slices.IndexFunc(s.Members, func(m MemberStatus) bool { return m.Name == name })
				return is(m >= 0 && value(&s.Members[m]))
			})
		}
		of("holdfast_member_connected", func(m *MemberStatus) bool { return m.Connected })
		of("holdfast_member_votes", func(m *MemberStatus) bool { return m.Votes })
	}
	return set
}
