package jetstream

import (
	"bytes"
	"encoding/json"

	"github.com/nats-io/nats-server/v2/server"
)

// RefuseBusy returns the header and payload that answer a message which the
// node has no room for, or nothing when it is better to stay silent: a client
// of the API or of a consumer asks again by itself, and a publisher learns at
// once that this message was not stored. It may be called by any goroutine.
func RefuseBusy[M ~struct{ Subject, Reply, Header, Payload []byte }](message M) (header, payload []byte) {
	m := Message(message)
	for _, prefix := range prefixes {
		if bytes.HasPrefix(m.Subject, []byte(prefix)) {
			return nil, nil
		}
	}
	response := server.JSPubAckResponse{Error: server.NewJSStreamTooManyRequestsError(), PubAck: &server.PubAck{}}
	payload, err := json.Marshal(&response)
	if err != nil {
		return nil, nil
	}
	return []byte(statusTooManyRequests), payload
}
