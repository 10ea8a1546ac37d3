package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
)

// The embedded NATS server has an HTTP monitor of its own if the included configuration
// asks for one. It would tell that JetStream is off. So the pages that speak of
// JetStream are answered here, with the reports that the system account gets; the rest,
// the listener, TLS and the base path stay the NATS server's.

// natsPage is a page that speaks of JetStream.
type natsPage struct {
	path string
	kind string // of the report that it shows
	// asks are the options of the report, from a query whose values the NATS server took.
	asks func(url.Values) any
	show func(w http.ResponseWriter, r *http.Request, report json.RawMessage)
	// own is the page of the NATS server. It checks the query, and counts the request.
	own func(http.ResponseWriter, *http.Request)
}

func natsPages(srv *server.Server) []natsPage {
	return []natsPage{
		{server.VarzPath, "VARZ", func(url.Values) any { return server.VarzOptions{} }, showReport, srv.HandleVarz},
		{server.JszPath, "JSZ", asksJsz, showReport, srv.HandleJsz},
		{server.AccountzPath, "ACCOUNTZ", func(q url.Values) any { return server.AccountzOptions{Account: q.Get("acc")} }, showReport, srv.HandleAccountz},
		{server.HealthzPath, "HEALTHZ", asksHealthz, showHealth, srv.HandleHealthz},
	}
}

// leaderOnly is asked for by whoever wants an answer of the leader and of nobody else.
// The NATS server never leads here.
const leaderOnly = "leader-only"

func asksJsz(q url.Values) any {
	offset, _ := strconv.Atoi(q.Get("offset"))
	limit, _ := strconv.Atoi(q.Get("limit"))
	return server.JSzOptions{
		Account: q.Get("acc"), Accounts: is(q, "accounts"), Streams: is(q, "streams"), Consumer: is(q, "consumers"),
		DirectConsumer: is(q, "direct-consumers"), Config: is(q, "config"), LeaderOnly: is(q, leaderOnly),
		Offset: offset, Limit: limit, RaftGroups: is(q, "raft"), StreamLeaderOnly: is(q, "stream-leader-only"),
	}
}

func asksHealthz(q url.Values) any {
	return server.HealthzOptions{
		JSEnabledOnly: is(q, "js-enabled-only") || is(q, "js-enabled"), JSServerOnly: is(q, "js-server-only"), JSMetaOnly: is(q, "js-meta-only"),
		Account: q.Get("account"), Stream: q.Get("stream"), Consumer: q.Get("consumer"), Details: is(q, "details"),
	}
}

func is(q url.Values, name string) bool {
	yes, _ := strconv.ParseBool(q.Get(name))
	return yes
}

// showReport shows a report as the NATS server does.
func showReport(w http.ResponseWriter, r *http.Request, report json.RawMessage) {
	page, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	server.ResponseHandler(w, r, page)
}

// showHealth shows a report of HEALTHZ, whose code becomes that of the answer.
func showHealth(w http.ResponseWriter, _ *http.Request, report json.RawMessage) {
	var status server.HealthStatus
	if err := json.Unmarshal(report, &status); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	tellHealth(w, &status)
}

func tellHealth(w http.ResponseWriter, status *server.HealthStatus) {
	code := status.StatusCode
	status.StatusCode = 0
	page, _ := json.Marshal(status)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.WriteHeader(code)
	_, _ = w.Write(page) // who does not want it is gone
}

// maxPages bounds the pages that are made at once; others wait.
const maxPages = 16

// takeOverMonitor answers the pages of the NATS server's monitor that speak of
// JetStream. Where no account has JetStream, it is off, as that monitor says.
func (n *Node) takeOverMonitor(srv *server.Server) error {
	handler := srv.HTTPHandler()
	if handler == nil || len(n.links.attached) == 0 {
		return nil
	}
	mux, known := handler.(*http.ServeMux)
	if !known {
		return fmt.Errorf("take over the monitor of the NATS server: it is a %T", handler)
	}
	turns := make(chan struct{}, maxPages)
	for _, page := range natsPages(srv) {
		// The NATS server's pattern is without a method, so this one is preferred.
		mux.HandleFunc("GET "+path.Join("/", n.links.options.HTTPBasePath, page.path), func(w http.ResponseWriter, r *http.Request) {
			n.serveNATSPage(&page, turns, w, r)
		})
	}
	return nil
}

// serveNATSPage answers a request for a page.
func (n *Node) serveNATSPage(page *natsPage, turns chan struct{}, w http.ResponseWriter, r *http.Request) {
	asked := r.URL.Query()
	checked := r
	if is(asked, leaderOnly) {
		checked = r.Clone(r.Context())
		query := r.URL.Query()
		query.Del(leaderOnly)
		checked.URL.RawQuery = query.Encode()
	}
	if own := drafted(page.own, checked); own.code != http.StatusOK {
		own.tell(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), monitorTimeout)
	defer cancel()
	body, err := n.report(ctx, turns, page.kind, page.asks(asked))
	var report struct {
		Data  json.RawMessage  `json:"data"`
		Error *server.ApiError `json:"error"`
	}
	switch {
	case err != nil && page.kind == "HEALTHZ":
		tellHealth(w, &server.HealthStatus{Status: "unavailable", StatusCode: http.StatusServiceUnavailable, Error: err.Error()})
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case body == nil: // only the leader was asked: so it says
		drafted(page.own, r).tell(w)
	default:
		if err := json.Unmarshal(body, &report); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		} else if report.Error != nil {
			http.Error(w, report.Error.Description, report.Error.Code)
		} else {
			page.show(w, r, report.Data)
		}
	}
}

// report has the loop make a report, as Member.Report; nil: nobody was asked.
func (n *Node) report(ctx context.Context, turns chan struct{}, kind string, asks any) ([]byte, error) {
	payload, err := json.Marshal(asks)
	if err != nil {
		return nil, err
	}
	late := errors.New("the node does not answer now, ask again later")
	select {
	case turns <- struct{}{}:
		defer func() { <-turns }()
	case <-ctx.Done():
		return nil, late
	}
	type answer struct {
		body []byte
		err  error
	}
	answers := make(chan answer, 1)
	n.mail.call(func() {
		if !n.member.Report(kind, payload, func(body []byte) { answers <- answer{body: body} }) {
			answers <- answer{err: late}
		}
	})
	select {
	case a := <-answers:
		return a.body, a.err
	case <-n.done:
		return nil, errors.New("the node has ended")
	case <-ctx.Done():
		return nil, late
	}
}

// draft is an answer that may be sent, or not.
type draft struct {
	header http.Header
	code   int
	body   []byte
}

func drafted(page func(http.ResponseWriter, *http.Request), r *http.Request) *draft {
	d := &draft{header: make(http.Header), code: http.StatusOK}
	page(d, r)
	return d
}

func (d *draft) Header() http.Header  { return d.header }
func (d *draft) WriteHeader(code int) { d.code = code }
func (d *draft) Write(b []byte) (int, error) {
	d.body = append(d.body, b...)
	return len(b), nil
}

// tell sends it.
func (d *draft) tell(w http.ResponseWriter) {
	for key, values := range d.header {
		w.Header()[key] = values
	}
	w.WriteHeader(d.code)
	_, _ = w.Write(d.body) // who does not want it is gone
}
