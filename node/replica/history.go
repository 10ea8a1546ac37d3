package replica

import (
	"math"
	"slices"

	"holdfast/protocol"
	"holdfast/replication"
)

// history is what the log says of configurations, epochs and foundings: a base
// as of the checkpoint and the landmark entries above it, which a truncation of
// the log takes back.
type history struct {
	index         uint64 // of the base
	configuration protocol.Configuration
	epoch         uint64
	foundings     []protocol.Founding
	landmarks     []landmark // ascending, all above index
	// end is what at gives for the end of the log.
	end facts
}

// facts are what the log says as of one index.
type facts struct {
	configuration protocol.Configuration
	epoch         uint64
	foundings     []protocol.Founding
}

// landmark is a decoded entry that is neither a batch nor a no-op.
type landmark struct {
	index         uint64
	configuration *protocol.Configuration
	epoch         uint64 // zero: does not raise it
	founding      *protocol.Founding
}

func newHistory(state State) history {
	h := history{
		index:         state.Applied,
		configuration: state.Configuration,
		epoch:         state.Epoch,
		foundings:     slices.Clone(state.Foundings),
	}
	for _, entry := range state.Landmarks {
		h.add(entry)
	}
	h.refresh()
	return h
}

// appended takes note of entries that replace the log from the first of them on.
func (h *history) appended(entries []protocol.Entry) {
	if len(entries) == 0 {
		return
	}
	first := entries[0].Index
	keep := len(h.landmarks)
	for keep > 0 && h.landmarks[keep-1].index >= first {
		keep--
	}
	changed := keep < len(h.landmarks)
	h.landmarks = h.landmarks[:keep]
	for _, entry := range entries {
		h.add(entry)
	}
	if changed || len(h.landmarks) > keep {
		h.refresh()
	}
}

func (h *history) refresh() {
	h.end.configuration, h.end.epoch, h.end.foundings = h.at(math.MaxUint64)
}

// newest returns the configuration, epoch and foundings as of the log's end.
func (h *history) newest() (protocol.Configuration, uint64, []protocol.Founding) {
	return h.end.configuration, h.end.epoch, h.end.foundings
}

// add takes note of one entry. Entries come checked, from our own store or from
// a leader's log; one that does not decode is damage that the checksums let
// through, and says nothing.
func (h *history) add(entry protocol.Entry) {
	mark := landmark{index: entry.Index}
	switch entry.Kind {
	case protocol.KindConfig:
		if c, err := protocol.DecodeConfiguration(entry.Data); err == nil {
			mark.configuration = &c
		}
	case protocol.KindFound:
		if f, err := protocol.DecodeFounding(entry.Data, entry.Index); err == nil {
			c := protocol.NewConfiguration(f.Voter)
			mark.founding, mark.epoch, mark.configuration = &f, f.Attempt.Epoch, &c
		}
	case protocol.KindBump:
		if epoch, err := protocol.DecodeEpoch(entry.Data); err == nil {
			mark.epoch = epoch
		}
	default:
		return
	}
	h.landmarks = append(h.landmarks, mark)
}

// at returns the configuration, epoch and foundings as of a log index.
func (h *history) at(index uint64) (protocol.Configuration, uint64, []protocol.Founding) {
	configuration, epoch, foundings := h.configuration, h.epoch, slices.Clip(h.foundings)
	for _, mark := range h.landmarks {
		if mark.index > index {
			break
		}
		if mark.configuration != nil {
			configuration = *mark.configuration
		}
		if mark.founding != nil {
			foundings = append(foundings, *mark.founding)
		}
		epoch = max(epoch, mark.epoch)
	}
	return configuration, epoch, foundings
}

// forget moves the base up to a log index.
func (h *history) forget(index uint64) {
	if index <= h.index {
		return
	}
	h.configuration, h.epoch, h.foundings = h.at(index)
	h.index = index
	keep := 0
	for keep < len(h.landmarks) && h.landmarks[keep].index <= index {
		keep++
	}
	h.landmarks = slices.Clone(h.landmarks[keep:])
}

// configurations lists the base configuration and all later ones.
func (h *history) configurations() []replication.ConfigurationAt {
	var list []replication.ConfigurationAt
	if len(h.configuration.Voters) > 0 {
		list = append(list, replication.ConfigurationAt{Index: h.index, Configuration: h.configuration})
	}
	for _, mark := range h.landmarks {
		if mark.configuration != nil {
			list = append(list, replication.ConfigurationAt{Index: mark.index, Configuration: *mark.configuration})
		}
	}
	return list
}
