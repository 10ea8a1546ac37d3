package machine

import (
	"errors"

	"github.com/nats-io/nats-server/v2/server"
)

// CheckOrigins makes the checks of a stream's mirror and sources that need the
// account's other streams, and lets a mirror inherit direct reads, in the order
// of the NATS server's checkStreamCfg. Pedantic refuses what would be inherited.
func (a *Account) CheckOrigins(config *server.StreamConfig, pedantic bool) *server.ApiError {
	var subjects, prefixes []string
	if mirror := config.Mirror; mirror != nil {
		if mirror.External != nil {
			prefixes = append(prefixes, mirror.External.DeliverPrefix)
		} else if origin := a.streams[mirror.Name]; origin != nil {
			subjects = append(subjects, origin.config.Subjects...)
			if tooSmall(config.MaxMsgSize, origin.config.MaxMsgSize) {
				return server.NewJSMirrorMaxMessageSizeTooBigError()
			}
			if pedantic && config.MirrorDirect != origin.config.AllowDirect {
				return server.NewJSPedanticError(errors.New("origin stream has direct get set, mirror has it disabled"))
			}
			config.MirrorDirect = origin.config.AllowDirect
		}
	}
	for _, source := range config.Sources {
		if source == nil {
			continue
		}
		if source.External != nil {
			prefixes = append(prefixes, source.External.DeliverPrefix)
		} else if origin := a.streams[source.Name]; origin != nil {
			subjects = append(subjects, origin.config.Subjects...)
			if tooSmall(config.MaxMsgSize, origin.config.MaxMsgSize) {
				return server.NewJSSourceMaxMessageSizeTooBigError()
			}
		}
	}
	for _, prefix := range prefixes {
		for _, subject := range subjects {
			if prefix != "" && server.SubjectsCollide(subject, prefix+"."+subject) {
				return server.NewJSStreamExternalDelPrefixOverlapsError(prefix, subject)
			}
		}
	}
	return a.checkCycle(config)
}

// tooSmall reports whether a limit leaves out messages that another one lets in.
func tooSmall(limit, other int32) bool { return limit > 0 && other > 0 && limit < other }

// checkCycle refuses a stream that would get its own messages back.
func (a *Account) checkCycle(config *server.StreamConfig) *server.ApiError {
	cycle := server.NewJSStreamInvalidConfigError(errors.New("detected cycle"))
	visited := make(map[string]bool)
	for visit := []*server.StreamConfig{config}; len(visit) > 0; visit = visit[1:] {
		c := visit[0]
		visited[c.Name] = true
		for _, source := range c.Sources {
			switch {
			case source == nil || source.External != nil:
			case visited[source.Name]:
				if overlapsFilter(c.Subjects, source.FilterSubject) {
					return cycle
				}
			case a.streams[source.Name] != nil:
				visit = append(visit, a.streams[source.Name].config)
			}
		}
		if m := c.Mirror; m != nil && m.External == nil {
			if visited[m.Name] {
				return cycle
			}
			if origin := a.streams[m.Name]; origin != nil {
				visit = append(visit, origin.config)
			}
		}
	}
	return nil
}

// listOrigins follows the sources of a new configuration. A source that is gone
// is remembered as long as the stream may hold its messages: should it come
// back, it goes on where it was.
func (s *Stream) listOrigins() {
	before := s.origins
	s.origins = nil
	s.markOrigins()
	for name, old := range before {
		now := s.origins[name]
		if old.listed && now != nil || old.at >= s.first {
			s.origins = withOrigin(s.origins, name, old)
			old.listed = now != nil
		}
	}
}

// markOrigins finds the sources that the configuration has.
func (s *Stream) markOrigins() {
	for _, source := range s.config.Sources {
		if source == nil {
			continue
		}
		name := SourceName(source)
		if s.origins[name] == nil {
			s.origins = withOrigin(s.origins, name, &originState{})
		}
		s.origins[name].listed = true
	}
}

func withOrigin(origins map[string]*originState, name string, state *originState) map[string]*originState {
	if origins == nil {
		origins = make(map[string]*originState)
	}
	origins[name] = state
	return origins
}
