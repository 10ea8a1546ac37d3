package machine

import (
	"fmt"

	"github.com/nats-io/nats-server/v2/server"
)

// checkMirror makes the checks of a mirror that need no other stream.
func checkMirror(c *server.StreamConfig) *server.ApiError {
	m := c.Mirror
	if m == nil {
		return nil
	}
	switch {
	case c.FirstSeq > 0:
		return server.NewJSMirrorWithFirstSeqError()
	case len(c.Subjects) > 0:
		return server.NewJSMirrorWithSubjectsError()
	case len(c.Sources) > 0:
		return server.NewJSMirrorWithSourcesError()
	case c.AllowMsgCounter:
		return server.NewJSMirrorWithCountersError()
	case c.AllowAtomicPublish:
		return server.NewJSMirrorWithAtomicPublishError()
	case c.AllowBatchPublish:
		return server.NewJSMirrorWithBatchPublishError()
	case c.AllowMsgSchedules:
		return server.NewJSMirrorWithMsgSchedulesError()
	case !validSourceConsumer(m):
		return server.NewJSMirrorDurableConsumerCfgInvalidError()
	case m.FilterSubject != "" && len(m.SubjectTransforms) != 0:
		return server.NewJSMirrorMultipleFiltersNotAllowedError()
	case c.SubjectDeleteMarkerTTL > 0:
		return invalidStream("subject delete markers forbidden on mirrors")
	}
	for i, t := range m.SubjectTransforms {
		if t.Source != "" && !server.IsValidSubject(t.Source) {
			return server.NewJSMirrorInvalidSubjectFilterError(fmt.Errorf("%w %s", server.ErrBadSubject, t.Source))
		}
		if err := server.ValidateMapping(t.Source, t.Destination); err != nil {
			return server.NewJSMirrorInvalidTransformDestinationError(err)
		}
		for j, other := range m.SubjectTransforms {
			if i != j && server.SubjectsCollide(t.Source, other.Source) {
				return server.NewJSMirrorOverlappingSubjectFiltersError()
			}
		}
	}
	if m.External == nil && !validAssetName(m.Name) {
		return server.NewJSMirrorInvalidStreamNameError()
	}
	if m.External == nil && m.Name == c.Name {
		return invalidStream("detected cycle")
	}
	return checkExternal(m.External)
}

// checkSources makes the checks of sources that need no other stream.
func checkSources(c *server.StreamConfig) *server.ApiError {
	if len(c.Sources) > 0 && c.AllowMsgSchedules {
		return server.NewJSSourceWithMsgSchedulesError()
	}
	seen := make(map[string]bool)
	consumers := make(map[string]bool)
	for _, source := range c.Sources {
		if source == nil || !validAssetName(source.Name) {
			return server.NewJSSourceInvalidStreamNameError()
		}
		if name := SourceName(source); seen[name] {
			return server.NewJSSourceDuplicateDetectedError()
		} else {
			seen[name] = true
		}
		if err := checkSource(source); err != nil {
			return err
		}
		if source.Consumer != nil {
			name := source.Name + " " + externalPrefix(source) + " " + source.Consumer.Name
			if consumers[name] {
				return server.NewJSSourceDurableConsumerDuplicateDetectedError()
			}
			consumers[name] = true
		}
		if err := checkExternal(source.External); err != nil {
			return err
		}
		if source.External == nil && source.Name == c.Name && overlapsFilter(c.Subjects, source.FilterSubject) {
			return invalidStream("detected cycle")
		}
	}
	return nil
}

func checkSource(source *server.StreamSource) *server.ApiError {
	if source.FilterSubject != "" && len(source.SubjectTransforms) != 0 {
		return server.NewJSSourceMultipleFiltersNotAllowedError()
	}
	for _, t := range source.SubjectTransforms {
		if t.Source != "" && !server.IsValidSubject(t.Source) {
			return server.NewJSSourceInvalidSubjectFilterError(fmt.Errorf("%w %s", server.ErrBadSubject, t.Source))
		}
		if err := server.ValidateMapping(t.Source, t.Destination); err != nil {
			return server.NewJSSourceInvalidTransformDestinationError(err)
		}
	}
	for i, t := range source.SubjectTransforms {
		for j, other := range source.SubjectTransforms {
			if i != j && covers(other.Source, t.Source) {
				return server.NewJSSourceOverlappingSubjectFiltersError()
			}
		}
	}
	if !validSourceConsumer(source) {
		return server.NewJSSourceDurableConsumerCfgInvalidError()
	}
	return nil
}

// validSourceConsumer checks the consumer that a source names, if it does.
func validSourceConsumer(source *server.StreamSource) bool {
	consumer := source.Consumer
	if consumer == nil {
		return true
	}
	return validAssetName(consumer.Name) &&
		isLiteral(consumer.DeliverSubject) && server.IsValidSubject(consumer.DeliverSubject) &&
		source.OptStartSeq == 0 && source.OptStartTime == nil && source.FilterSubject == ""
}

func externalPrefix(source *server.StreamSource) string {
	if source.External == nil {
		return ""
	}
	return ":" + source.External.ApiPrefix
}

func checkExternal(external *server.ExternalStream) *server.ApiError {
	if external == nil {
		return nil
	}
	if prefix := external.DeliverPrefix; prefix != "" && !server.IsValidPublishSubject(prefix) {
		return server.NewJSStreamInvalidExternalDeliverySubjError(prefix)
	}
	prefix := external.ApiPrefix
	if prefix == "" {
		return nil
	}
	if !server.IsValidPublishSubject(prefix) {
		return invalidStream("stream external api prefix %q must be a valid subject without wildcards", prefix)
	}
	if server.SubjectsCollide(prefix, server.JSApiPrefix) {
		return server.NewJSStreamExternalApiOverlapError(prefix, server.JSApiPrefix)
	}
	return nil
}

func overlapsFilter(subjects []string, filter string) bool {
	if filter == "" {
		return true
	}
	for _, subject := range subjects {
		if server.SubjectsCollide(subject, filter) {
			return true
		}
	}
	return false
}
