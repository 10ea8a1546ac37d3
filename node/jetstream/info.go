package jetstream

import (
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// describeStream describes a stream the way info responses do.
func (d *Door) describeStream(s *machine.Stream) *server.StreamInfo {
	config := *s.Config()
	config.Metadata = withVersion(config.Metadata)
	mirror, sources := d.describeFeeds(s)
	return &server.StreamInfo{
		Config:    config,
		Created:   s.Created(),
		State:     s.State(),
		Domain:    d.options.Domain,
		Cluster:   d.describeGroup("S", s.Incarnation()),
		Mirror:    mirror,
		Sources:   sources,
		TimeStamp: d.time(),
	}
}

// alternates are the stream and its mirrors, from which clients of a cluster may
// read as well; nil when there is none (streamAlternates of the NATS server).
func (d *Door) alternates(s *machine.Stream) []server.StreamAlternate {
	cluster := d.node.Cluster()
	if cluster == nil {
		return nil
	}
	mirrors := d.machine.MirrorsOf(s.Name())
	if len(mirrors) == 0 {
		return nil
	}
	alternates := make([]server.StreamAlternate, 0, 1+len(mirrors))
	for _, name := range append([]string{s.Name()}, mirrors...) {
		alternates = append(alternates, server.StreamAlternate{Name: name, Domain: d.options.Domain, Cluster: cluster.Name})
	}
	return alternates
}

// describeConsumer describes a consumer the way info responses do.
func (d *Door) describeConsumer(m *machine.Consumer) *server.ConsumerInfo {
	config := *m.Config()
	config.Metadata = withVersion(config.Metadata)
	state := m.State()
	info := &server.ConsumerInfo{
		Stream:         m.Stream().Name(),
		Name:           m.Name(),
		Created:        m.Created(),
		Config:         &config,
		Delivered:      state.Delivered,
		AckFloor:       state.AckFloor,
		NumAckPending:  state.NumAckPending,
		NumRedelivered: state.NumRedelivered,
		NumPending:     state.NumPending,
		Cluster:        d.describeGroup("C", m.Incarnation()),
		TimeStamp:      d.time(),
	}
	if config.MaxDeliver == 1 {
		info.NumRedelivered = 0
	}
	if config.PauseUntil != nil {
		left := config.PauseUntil.Sub(info.TimeStamp)
		if info.Paused = left > 0; info.Paused {
			info.PauseRemaining = left
		}
	}
	if len(config.PriorityGroups) > 0 {
		info.PriorityGroups = []server.PriorityGroupState{{Group: config.PriorityGroups[0]}}
	}
	if c := d.consumers[m.Incarnation()]; c != nil {
		now := d.node.Now()
		if c.push != nil {
			info.PushBound = c.push.active
		} else {
			if len(info.PriorityGroups) > 0 {
				info.PriorityGroups[0].PinnedClientID, info.PriorityGroups[0].PinnedTS = c.pin.id, c.pin.since
			}
			if !c.delivering {
				d.expirePulls(c, now, false)
			}
			info.NumWaiting = c.pulls.len
		}
	}
	return info
}

// describeGroup describes the cluster as the Raft group of a stream ("S") or consumer
// ("C"); nil: there is no cluster.
func (d *Door) describeGroup(kind string, of machine.Incarnation) *server.ClusterInfo {
	cluster := d.node.Cluster()
	if cluster == nil {
		return nil
	}
	group := *cluster
	group.RaftGroup = d.raftGroup(kind, of)
	return &group
}

// raftGroup names such a group in a cluster. All is in one group, but tools tell
// streams, and consumers, apart by these names.
func (d *Door) raftGroup(kind string, of machine.Incarnation) string {
	return fmt.Sprintf("%s-R%dF-%08s", kind, d.options.Members, strconv.FormatUint(uint64(of), 36))
}

func (d *Door) time() time.Time { return time.Unix(0, d.node.Now()).UTC() }

// withVersion adds what is never stored: the version and level of the server
// that answers.
func withVersion(metadata map[string]string) map[string]string {
	all := make(map[string]string, len(metadata)+2)
	maps.Copy(all, metadata)
	all[server.JSServerVersionMetadataKey] = server.VERSION
	all[server.JSServerLevelMetadataKey] = strconv.Itoa(server.JSApiLevel)
	return all
}

// streamLevel returns metadata with the API level that a stream's features
// need, in the place of any version that a client sent back.
func streamLevel(config *server.StreamConfig) map[string]string {
	level := 0
	if config.AllowMsgTTL || config.SubjectDeleteMarkerTTL > 0 {
		level = 1
	}
	if config.AllowMsgCounter || config.AllowAtomicPublish || config.AllowMsgSchedules || config.PersistMode == server.AsyncPersistMode {
		level = 2
	}
	if config.AllowBatchPublish {
		level = 4
	}
	return withLevel(config.Metadata, level)
}

// consumerLevel does the same for a consumer.
func consumerLevel(config *server.ConsumerConfig) map[string]string {
	level := 0
	if config.PauseUntil != nil && !config.PauseUntil.IsZero() ||
		config.PriorityPolicy != server.PriorityNone || config.PinnedTTL != 0 || len(config.PriorityGroups) > 0 {
		level = 1
	}
	if config.AckPolicy == server.AckFlowControl {
		level = 4
	}
	return withLevel(config.Metadata, level)
}

func withLevel(metadata map[string]string, level int) map[string]string {
	all := make(map[string]string, len(metadata)+1)
	maps.Copy(all, metadata)
	delete(all, server.JSServerVersionMetadataKey)
	delete(all, server.JSServerLevelMetadataKey)
	all[server.JSRequiredLevelMetadataKey] = strconv.Itoa(level)
	return all
}
