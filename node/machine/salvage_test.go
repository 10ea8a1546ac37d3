package machine

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// TestSalvageReadsWhatBatchesSay: messages and streams are found without the state.
func TestSalvageReadsWhatBatchesSay(t *testing.T) {
	var b Batch
	b.Reset(1000)
	b.CreateStream(&server.StreamConfig{Name: "A", Subjects: []string{"a"}, Storage: server.FileStorage})
	b.Publish(newIncarnation(7, 0), []byte("a"), []byte("NATS/1.0\r\nX: y\r\n\r\n"), []byte("one"))
	b.Publish(newIncarnation(7, 0), []byte("a"), nil, []byte("two"))
	var said []string
	var stamps []int64
	err := EachPublish(7, b.Bytes(), func(_ uint64, stamp int64, m Message) {
		said, stamps = append(said, string(m.Subject)+string(m.Header)+string(m.Payload)), append(stamps, stamp)
	})
	if err != nil || len(said) != 2 || said[0] != "aNATS/1.0\r\nX: y\r\n\r\none" || said[1] != "atwo" || stamps[0] != 1001 || stamps[1] != 1002 {
		t.Fatalf("%q at %d: %v", said, stamps, err)
	}
	streams := 0
	err = EachCreate(7, b.Bytes(), func(stream Incarnation, account string, config *server.StreamConfig) {
		if streams++; stream != newIncarnation(7, 0) || account != DefaultAccount || config.Name != "A" {
			t.Errorf("%v %q %+v", stream, account, config)
		}
	})
	if err != nil || streams != 1 {
		t.Fatalf("%d streams: %v", streams, err)
	}
}

func FuzzSalvageBatch(f *testing.F) {
	var b Batch
	b.Reset(1000)
	b.CreateStream(&server.StreamConfig{Name: "A", Subjects: []string{"a"}, Storage: server.FileStorage})
	b.Publish(newIncarnation(7, 0), []byte("a"), []byte("NATS/1.0\r\n\r\n"), []byte("one"))
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		published := 0
		EachPublish(1, data, func(_ uint64, _ int64, m Message) {
			if published += len(m.Subject) + len(m.Header) + len(m.Payload); published > len(data) {
				t.Fatalf("%d bytes of messages in %d", published, len(data))
			}
		})
		EachCreate(1, data, func(_ Incarnation, _ string, config *server.StreamConfig) {
			if config == nil {
				t.Fatal("no configuration")
			}
		})
		StreamOf(objectKey(keyStream, newIncarnation(1, 0)), data)
	})
}
