package jetstream

import (
	"slices"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// streamInfo answers with a stream's configuration and state.
func (d *Door) streamInfo(r *request) any {
	resp := &server.JSApiStreamInfoResponse{ApiResponse: responseOf(server.JSApiStreamInfoResponseType)}
	s := d.machine.Stream(r.args[0])
	switch {
	case s == nil: // that comes before the level, unlike elsewhere
		resp.Error = server.NewJSStreamNotFoundError()
		return resp
	case requiresHigherLevel(r.header):
		resp.Error = server.NewJSRequiredApiLevelError()
		return resp
	}
	var body server.JSApiStreamInfoRequest
	if isObject(r.payload) {
		if err := decode(r.payload, &body); err != nil {
			resp.Error = server.NewJSInvalidJSONError(err)
			return resp
		}
	}
	resp.StreamInfo = d.describeStream(s)
	resp.Alternates = d.alternates(s)
	if resp.Cluster == nil { // only here, and only its leader, as of a JetStream server that is alone
		resp.Cluster = &server.ClusterInfo{Leader: d.options.Name}
	}
	if body.DeletedDetails {
		resp.State.Deleted = s.Deleted()
	}
	if body.SubjectsFilter != "" {
		offset := max(body.Offset, 0)
		page, total := s.SubjectPage(body.SubjectsFilter, offset, server.JSMaxSubjectDetails)
		if total > 0 {
			resp.ApiPaged = server.ApiPaged{Total: total, Offset: offset, Limit: server.JSMaxSubjectDetails}
			resp.State.Subjects = subjectMap(page)
		}
	}
	return resp
}

func subjectMap(counts []machine.SubjectCount) map[string]uint64 {
	if len(counts) == 0 {
		return nil
	}
	m := make(map[string]uint64, len(counts))
	for _, c := range counts {
		m[c.Subject] = c.Messages
	}
	return m
}

// pageOf returns the part of a list that begins at offset, with the numbers
// that describe it.
func pageOf[T any](all []T, offset, limit int) ([]T, server.ApiPaged) {
	start := min(max(offset, 0), len(all))
	end := min(start+limit, len(all))
	return all[start:end], server.ApiPaged{Total: len(all), Offset: start, Limit: limit}
}

// streamNames answers with the names of streams.
func (d *Door) streamNames(r *request) any {
	resp := &server.JSApiStreamNamesResponse{ApiResponse: responseOf(server.JSApiStreamNamesResponseType)}
	body, apiErr := listRequest[server.JSApiStreamNamesRequest](r)
	if apiErr != nil {
		resp.Error = apiErr
		return resp
	}
	page, paged := pageOf(d.streamsListening(body.Subject), body.Offset, server.JSApiNamesLimit)
	resp.ApiPaged = paged
	if paged.Total > 0 {
		resp.Streams = make([]string, 0, len(page)) // null says that there is none at all
	}
	for _, s := range page {
		resp.Streams = append(resp.Streams, s.Name())
	}
	return resp
}

// streamList answers with the infos of streams.
func (d *Door) streamList(r *request) any {
	resp := &server.JSApiStreamListResponse{
		ApiResponse: responseOf(server.JSApiStreamListResponseType),
		Streams:     []*server.StreamInfo{},
	}
	body, apiErr := listRequest[server.JSApiStreamListRequest](r)
	if apiErr != nil {
		resp.Error = apiErr
		return resp
	}
	page, paged := pageOf(d.streamsListening(body.Subject), body.Offset, server.JSApiListLimit)
	resp.ApiPaged = paged
	for _, s := range page {
		resp.Streams = append(resp.Streams, d.describeStream(s))
	}
	return resp
}

// listRequest reads the body of a list request, which may be missing.
func listRequest[T any](r *request) (T, *server.ApiError) {
	var body T
	if requiresHigherLevel(r.header) {
		return body, server.NewJSRequiredApiLevelError()
	}
	if isObject(r.payload) {
		if err := decode(r.payload, &body); err != nil {
			return body, server.NewJSInvalidJSONError(err)
		}
	}
	return body, nil
}

// streamsListening returns the streams, by name, that have a subject in common
// with filter; an empty filter selects all.
func (d *Door) streamsListening(filter string) []*machine.Stream {
	all := d.machine.Streams()
	if filter == "" {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(s *machine.Stream) bool {
		return !slices.ContainsFunc(s.Config().Subjects, func(subject string) bool {
			return server.SubjectsCollide(filter, subject)
		})
	})
}
