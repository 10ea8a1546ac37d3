package machine

import (
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Limits are what the configuration of the node allows. They are applied
// before a command is proposed, never by Apply: nodes may differ in them.
type Limits struct {
	MaxAckPending   int           // of a consumer; 0: no limit
	MaxRequestBatch int           // of a pull consumer; 0: no limit
	Duplicates      time.Duration // largest duplicate window; 0: no limit
}

// validAssetName says whether a stream or consumer may be called that
// (isValidAssetName of the NATS server).
func validAssetName(name string) bool {
	return name != "" && !strings.ContainsAny(name, " \t\r\n\f.*>\\/")
}

func metadataSize(metadata map[string]string) int {
	size := 0
	for key, value := range metadata {
		size += len(key) + len(value)
	}
	return size
}

// setLevel notes in the metadata which API level the asset needs, and takes
// out what a server only adds to answers (setStaticStreamMetadata of the NATS
// server).
func setLevel(metadata map[string]string, level int) map[string]string {
	metadata = maps.Clone(metadata)
	if metadata == nil {
		metadata = make(map[string]string)
	}
	delete(metadata, server.JSServerVersionMetadataKey)
	delete(metadata, server.JSServerLevelMetadataKey)
	metadata[server.JSRequiredLevelMetadataKey] = strconv.Itoa(level)
	return metadata
}

func streamLevel(c *server.StreamConfig) int {
	level := 0
	if c.AllowMsgTTL || c.SubjectDeleteMarkerTTL > 0 {
		level = 1
	}
	if c.AllowMsgCounter || c.AllowAtomicPublish || c.AllowMsgSchedules || c.PersistMode == server.AsyncPersistMode {
		level = 2
	}
	if c.AllowBatchPublish {
		level = 4
	}
	return level
}

func consumerLevel(c *server.ConsumerConfig) int {
	level := 0
	if c.PauseUntil != nil && !c.PauseUntil.IsZero() {
		level = 1
	}
	if c.PriorityPolicy != server.PriorityNone || c.PinnedTTL != 0 || len(c.PriorityGroups) > 0 {
		level = 1
	}
	if c.AckPolicy == server.AckFlowControl {
		level = 4
	}
	return level
}
