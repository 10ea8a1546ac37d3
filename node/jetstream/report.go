package jetstream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// Operators ask every server of a cluster what it does (`nats server list`, `nats
// server report jetstream`). The embedded NATS server would say that its JetStream is
// off. So it maps the subjects of the requests that speak of JetStream, in the system
// account, and the door of that account answers: on every node, each for itself, with
// what the NATS server tells of itself (Options.Inspect) and what the node has.

// ReportMappings are the subjects that the NATS server would answer itself, and what
// they are mapped to. A wildcard is the ID of a server, or PING for all of them, or the
// name of an account.
var ReportMappings = [][2]string{
	{"$SYS.REQ.SERVER.PING", serverReports + "STATSZ." + reportPing},
	{"$SYS.REQ.SERVER.*.STATSZ", serverReports + "STATSZ.{{wildcard(1)}}"},
	{"$SYS.REQ.SERVER.*.VARZ", serverReports + "VARZ.{{wildcard(1)}}"},
	{"$SYS.REQ.SERVER.*.JSZ", serverReports + "JSZ.{{wildcard(1)}}"},
	{"$SYS.REQ.SERVER.*.HEALTHZ", serverReports + "HEALTHZ.{{wildcard(1)}}"},
	{"$SYS.REQ.SERVER.*.ACCOUNTZ", serverReports + "ACCOUNTZ.{{wildcard(1)}}"},
	{"$SYS.REQ.ACCOUNT.*.JSZ", accountReports + "JSZ.{{wildcard(1)}}"},
	{"$SYS.REQ.ACCOUNT.*.INFO", accountReports + "INFO.{{wildcard(1)}}"},
}

const (
	reportPrefix   = "$JS.REPORT."
	serverReports  = reportPrefix + "SERVER."
	accountReports = reportPrefix + "ACCOUNT."
	reportPing     = "PING"
	// maxInspections bounds the requests that wait for the NATS server.
	maxInspections = 64
	// badRequest and failedRequest are the codes of errors, those of HTTP.
	badRequest, failedRequest = 400, 500
)

// inquiry is a request for a report.
type inquiry struct {
	reply   []byte            // where the answer is published, unless told takes it
	told    func(body []byte) // of Tell; nil: published
	payload []byte
	packed  bool               // whoever asks can unpack an answer
	account string             // whom it is about, if it is about an account; a NATS account's name
	info    *server.ServerInfo // who answers
}

var serverReporters = map[string]func(*Door, *inquiry){
	"STATSZ":   (*Door).reportStatsz,
	"VARZ":     (*Door).reportVarz,
	"JSZ":      (*Door).reportJsz,
	"HEALTHZ":  (*Door).reportHealthz,
	"ACCOUNTZ": (*Door).reportAccountz,
}

var accountReporters = map[string]func(*Door, *inquiry){
	"JSZ":  (*Door).reportAccountJsz,
	"INFO": (*Door).reportAccountInfo,
}

// Tell makes the report of this kind, such as VARZ, that a server is asked for with
// that payload, and calls told with what would be the answer to such a request, once;
// with nil if there is none, because only the leader was asked. A report that is being
// made when the door is silenced is not told.
func (d *Door) Tell(kind string, payload []byte, told func(body []byte)) {
	info, reporter := d.describeServer(), serverReporters[kind]
	if info == nil || reporter == nil {
		told(nil)
		return
	}
	reporter(d, &inquiry{payload: payload, info: info, told: told})
}

// describeServer tells who answers; nil: the NATS server does not run yet.
func (d *Door) describeServer() *server.ServerInfo {
	if d.options.Server == nil {
		return nil
	}
	info := d.options.Server()
	if info != nil {
		info.Domain, info.Time = d.options.Domain, d.time()
		info.SetJetStreamEnabled()
		info.SetBinaryStreamSnapshot()
	}
	return info
}

// report takes a request for a report, in the way of zReq of the NATS server.
func (d *Door) report(m *Message) {
	info := d.describeServer()
	if info == nil || len(m.Reply) == 0 {
		return
	}
	scope, name, _ := strings.Cut(strings.TrimPrefix(string(m.Subject), reportPrefix), ".")
	kind, about, _ := strings.Cut(name, ".")
	q := &inquiry{reply: bytes.Clone(m.Reply), payload: bytes.Clone(m.Payload), info: info}
	encodings := strings.ToLower(string(headerValue(m.Header, "Accept-Encoding")))
	q.packed = strings.Contains(encodings, "snappy") || strings.Contains(encodings, "s2")
	reporter := serverReporters[kind]
	if scope == "ACCOUNT" {
		reporter, q.account = accountReporters[kind], about
	} else if about != reportPing && about != info.ID {
		return
	}
	if reporter != nil {
		reporter(d, q)
	}
}

// accepts reads what is asked, and reports whether it is for this server. What cannot
// be read is answered.
func (d *Door) accepts(q *inquiry, asked any, filter *server.EventFilterOptions) bool {
	if len(q.payload) == 0 {
		return true
	}
	if err := json.Unmarshal(q.payload, asked); err != nil {
		d.refuse(q, badRequest, err)
		return false
	}
	return concernsServer(q.info, filter)
}

// concernsServer reports whether a request is for that server, by what it asks for.
func concernsServer(info *server.ServerInfo, filter *server.EventFilterOptions) bool {
	matches := func(is, wanted string) bool {
		return wanted == "" || is == wanted || !filter.ExactMatch && strings.Contains(is, wanted)
	}
	if !matches(info.Name, filter.Name) || !matches(info.Host, filter.Host) || !matches(info.Cluster, filter.Cluster) ||
		filter.Domain != "" && filter.Domain != info.Domain {
		return false
	}
	for _, tag := range filter.Tags {
		if !slices.Contains(info.Tags, tag) {
			return false
		}
	}
	return true
}

// refuse answers with an error.
func (d *Door) refuse(q *inquiry, code int, err error) {
	body, _ := json.Marshal(&server.ServerAPIResponse{Server: q.info, Error: &server.ApiError{Code: code, Description: err.Error()}})
	d.answerInquiry(q, nil, body)
}

// answerInquiry answers, once.
func (d *Door) answerInquiry(q *inquiry, header, body []byte) {
	if q.told != nil {
		q.told(body)
		return
	}
	d.bus.Publish(q.reply, nil, header, body)
}

// respond answers with a report.
func (d *Door) respond(q *inquiry, report any) {
	d.sendReport(q, &server.ServerAPIResponse{Server: q.info, Data: report})
}

func (d *Door) sendReport(q *inquiry, response any) {
	body, err := json.Marshal(response)
	d.publishReport(q, nil, body, err)
}

// publishReport answers with a report that was made, unless err tells why not or it is
// too large.
func (d *Door) publishReport(q *inquiry, header, body []byte, err error) {
	if err == nil && len(header)+len(body) > d.options.MaxAnswer {
		err = errLargeReport(len(body), d.options.MaxAnswer)
	}
	if err != nil {
		d.counts.Oversized++
		d.logger.Warn("report cannot be sent", "error", err)
		d.refuse(q, failedRequest, err)
		return
	}
	d.answerInquiry(q, header, body)
}

func errLargeReport(bytes, most int) error {
	return fmt.Errorf("the report has more than %d bytes, an answer may have %d: ask for one account, fewer accounts at a time (offset and limit), or without consumers or configurations", bytes, most)
}

// inspect has read called with the NATS server, beside the loop, and then answer with
// what it returned. Its error is answered.
func inspect[T any](d *Door, q *inquiry, read func(*server.Server) (T, error), answer func(T)) {
	if d.options.Inspect == nil || d.inspections >= maxInspections {
		d.counts.Dropped++
		if q.told != nil {
			d.refuse(q, failedRequest, errManyReports)
		}
		return
	}
	d.inspections++
	var found T
	var err error
	d.options.Inspect(func(s *server.Server) { found, err = read(s) }, func() {
		d.inspections--
		if err != nil {
			d.refuse(q, failedRequest, err)
			return
		}
		answer(found)
	})
}

// Report begins to answer requests for reports, until Silence.
func (d *Door) Report() {
	if d.options.System {
		d.bus.Subscribe(reportPrefix+">", "")
	}
}

// Silence ends it, when the node ends or its store is exchanged for another.
func (d *Door) Silence() {
	if d.options.System {
		d.bus.Unsubscribe(reportPrefix+">", "")
	}
	d.reports = nil
}

// isReport reports whether a message asks for a report.
func (d *Door) isReport(m *Message) bool {
	return d.options.System && bytes.HasPrefix(m.Subject, []byte(reportPrefix))
}
