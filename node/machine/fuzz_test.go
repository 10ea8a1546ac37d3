package machine

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/protocol"
)

// fuzzBatch has every kind of command in it. The stream and the consumer are
// those that fuzzMachine creates.
func fuzzBatch() []byte {
	stream, consumer := Incarnation(1<<16), Incarnation(1<<16|1)
	var b Batch
	b.Reset(epoch)
	b.Publish(stream, []byte("a.1"), nil, []byte("x"))
	b.Publish(stream, []byte("a.1"), header(server.JSMsgId, "i", server.JSExpectedLastSeq, "1", server.JSMsgRollup, "sub"), []byte("x"))
	b.CreateStream(normalized("B"))
	b.UpdateStream(normalized("A", func(c *server.StreamConfig) { c.MaxMsgs = 3 }))
	b.PurgeStream(stream, server.JSApiStreamPurgeRequest{Subject: "a.1", Keep: 1})
	b.PurgeStep(stream, 1, server.JSApiStreamPurgeRequest{Subject: "a.*", Keep: 1})
	b.DeleteMessage(stream, 1, true)
	b.CreateConsumer(stream, &server.ConsumerConfig{Durable: "d", FilterSubject: "a.*", AckPolicy: server.AckExplicit}, server.ActionCreate)
	b.Deliver(consumer, 5, 100)
	b.Acks(consumer, []Ack{{Kind: AckNak, StreamSeq: 1, ConsumerSeq: 1, Delay: 5}, {Kind: AckDone, StreamSeq: 1, ConsumerSeq: 1}})
	b.Acks(consumer, []Ack{{Kind: AckReturn, StreamSeq: 2, ConsumerSeq: 2, Deliveries: 1}})
	b.PauseConsumer(consumer, time.Unix(1_800_000_000, 0))
	b.ResetConsumer(consumer, 3)
	b.SkipTo(stream, 9)
	b.LimitAccount(&DefaultLimits)
	b.BeginIntake(normalized("R"), 5)
	b.TakeConsumer(stream, &ConsumerBackup{Config: &server.ConsumerConfig{Durable: "t"}, State: &server.ConsumerState{}})
	b.EndIntake(stream, 7)
	b.StoreFrom(stream, &Origin{Source: "O > >", Seq: 3, Stamp: epoch, Identity: "i"}, []byte("a.1"), nil, []byte("x"))
	b.DeleteConsumer(consumer)
	b.UpdateStream(normalized("A", func(c *server.StreamConfig) {
		c.AllowAtomicPublish, c.AllowMsgSchedules, c.SubjectDeleteMarkerTTL, c.MaxAge = true, true, time.Second, time.Second
	}))
	b.Preface(PrefaceSchedule, uint64(epoch)+1, uint64(ScheduleFine))
	b.Publish(stream, []byte("a.s"), header(server.JSSchedulePattern, "x", server.JSScheduleTarget, "a.2"), nil)
	b.Preface(PrefaceFire, 6, uint64(epoch)+1)
	b.Publish(stream, []byte("a.2"), header(server.JSScheduler, "a.s", server.JSScheduleNext, "purge"), nil)
	b.Preface(PrefaceMarker, 7, 0)
	b.Publish(stream, []byte("a.2"), header(server.JSMarkerReason, "MaxAge", server.JSMessageTTL, "never"), nil)
	b.BeginAtomic(stream)
	b.Publish(stream, []byte("a.3"), nil, nil)
	b.Preface(PrefaceCounter, 0, 0)
	b.Publish(stream, []byte("a.4"), header(server.JSMessageTTL, "5s"), nil)
	b.EndAtomic()
	b.UpdateStream(normalized("A", func(c *server.StreamConfig) {
		c.AllowBatchPublish, c.AllowMsgTTL, c.AllowMsgSchedules = true, true, true
	}))
	b.Fast(stream, &FastMember{ID: []byte("f"), Seq: 1, Begin: true, Flow: 9, GapOk: true, Reply: []byte("r")})
	b.Publish(stream, []byte("a.5"), nil, nil)
	b.Fast(stream, &FastMember{ID: []byte("f"), Seq: 2, Resumes: true})
	b.Publish(stream, []byte("a.5"), header(server.JSExpectedLastSeq, "1"), nil)
	b.Fast(stream, &FastMember{ID: []byte("g"), Seq: 1, Begin: true})
	b.Publish(stream, []byte("a.5"), nil, nil)
	b.EndFast(stream, "g")
	b.End(stream, []uint64{1, 2, 9})
	b.DeleteStream(stream)
	return bytes.Clone(b.Bytes())
}

func fuzzMachine(t *testing.T) *Machine {
	m := New(Options{BlockMessages: 2})
	var b Batch
	b.Reset(epoch)
	b.CreateStream(normalized("A"))
	b.CreateConsumer(1<<16, &server.ConsumerConfig{Durable: "c", AckPolicy: server.AckExplicit, AckWait: time.Second, MaxDeliver: 2}, server.ActionCreate)
	for range 5 {
		b.Publish(1<<16, []byte("a.1"), nil, []byte("x"))
	}
	b.Deliver(1<<16|1, 2, 0)
	b.LimitAccount(&DefaultLimits)
	var results Results
	if err := m.Apply(1, b.Bytes(), &results); err != nil {
		t.Fatal(err)
	}
	if n := len(results.Slots[7].Deliveries); n != 2 {
		t.Fatalf("%d deliveries", n)
	}
	return m
}

func normalized(name string, change ...func(c *server.StreamConfig)) *server.StreamConfig {
	normal, err := NormalizeStream(streamConfig(name, change...), Limits{}, false)
	if err != nil {
		panic(err)
	}
	return normal
}

// fuzzMove moves two messages of the machine that fuzzMachine makes.
func fuzzMove() []byte {
	var b, raw Batch
	raw.Reset(0)
	raw.Publish(1<<16, []byte("a.1"), nil, []byte("x"))
	b.BeginMove()
	for seq := uint64(2); seq < 4; seq++ {
		b.Move(&Moved{Stored: Stored{Seq: seq, Stamp: epoch + int64(seq), Location: Location{Index: 1}}}, raw.Bytes()[batchHeaderSize:])
	}
	return bytes.Clone(b.Bytes())
}

// FuzzApply applies arbitrary bytes: they are refused or they mean the same to
// every machine, and what they lead to can be restored.
func FuzzApply(f *testing.F) {
	f.Add(fuzzBatch())
	f.Add(fuzzMove())
	f.Add([]byte{})
	var incomplete Batch // a configuration that decodes but cannot be encoded
	incomplete.Reset(epoch)
	incomplete.add(opCreateStream, append(appendText(nil, ""), `{"name":"B"}`...))
	f.Add(bytes.Clone(incomplete.Bytes()))
	f.Add([]byte{batchVersion, 0, 0, 0, 0, 0, 0, 0, 0, byte(opPublish), 1, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		one, two := fuzzMachine(t), fuzzMachine(t)
		var results Results
		err := one.Apply(2, data, &results)
		if other := two.Apply(2, data, &results); (err == nil) != (other == nil) {
			t.Fatalf("%v here, %v there", err, other)
		}
		if err != nil {
			return
		}
		if one.Digest() != two.Digest() {
			t.Fatal("the digests differ")
		}
		puts, _ := one.Checkpoint()
		again, err := Restore(Options{BlockMessages: 2}, 2, 0, one.Stamp(), func(yield func(key, value []byte) error) error {
			for _, put := range puts {
				if err := yield(put.Key, put.Value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if again.Digest() != one.Digest() {
			t.Fatal("the digest differs after a restore")
		}
	})
}

func FuzzDecodeMessage(f *testing.F) {
	f.Add(fuzzBatch()[batchHeaderSize:])
	f.Add([]byte{byte(opPublishHeader), 6, 1, 0, 0, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := DecodeMessage(raw)
		if err == nil && len(m.Subject)+len(m.Header)+len(m.Payload) > len(raw) {
			t.Fatal("more than there is")
		}
	})
}

// FuzzRestore reads a checkpoint with one value replaced; its checksum is made
// to match, so that the decoders behind it are reached.
func FuzzRestore(f *testing.F) {
	for kind := byte(keyStream); kind <= keyLimits; kind++ {
		f.Add(kind, []byte{})
		f.Add(kind, bytes.Repeat([]byte{1}, 40))
		f.Add(kind, bytes.Repeat([]byte{255}, 40))
	}
	f.Add(byte(keyStream), append(make([]byte, 9), `{"name":"A","subjects":["a.>"]}`...))
	f.Add(byte(keyBlock), binary.LittleEndian.AppendUint64(nil, 1))
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		m := fuzzMachine(t)
		puts, _ := m.Checkpoint()
		replaced := false
		pairs := func(yield func(key, value []byte) error) error {
			for _, put := range puts {
				value := put.Value
				if put.Key[0] == kind && !replaced {
					replaced = true
					value = appendTrailer(put.Key, bytes.Clone(body))
				}
				if err := yield(put.Key, value); err != nil {
					return err
				}
			}
			if !replaced {
				key := pageKey(kind, 1<<16, 1)
				return yield(key, appendTrailer(key, bytes.Clone(body)))
			}
			return nil
		}
		again, err := Restore(Options{}, 1, 0, m.Stamp(), pairs)
		if err != nil {
			return
		}
		var results Results
		if err := again.Apply(2, fuzzBatch(), &results); err == nil {
			again.Digest()
			again.Checkpoint()
		}
	})
}

// FuzzNormalize reads configurations as a client may send them. What passes
// can be applied, and normalizing it again changes nothing.
func FuzzNormalize(f *testing.F) {
	f.Add([]byte(`{"name":"A","subjects":["a.>"],"max_age":1000000000}`), []byte(`{"durable_name":"c","ack_policy":"explicit","backoff":[1,2],"max_deliver":3}`))
	f.Add([]byte(`{"name":"A","mirror":{"name":"B"},"republish":{"src":"","dest":"x.>"}}`), []byte(`{"name":"c","deliver_subject":"d","flow_control":true,"idle_heartbeat":5000000000,"sample_freq":"-1"}`))
	f.Add([]byte(`{"name":"A","sources":[{"name":"B","filter_subject":"b"},null]}`), []byte(`{"filter_subjects":["a","a.*"],"deliver_policy":"by_start_time"}`))
	f.Fuzz(func(t *testing.T, streamJSON, consumerJSON []byte) {
		var config server.StreamConfig
		if json.Unmarshal(streamJSON, &config) != nil {
			return
		}
		normal, apiErr := NormalizeStream(&config, Limits{}, false)
		if apiErr != nil {
			return
		}
		again, apiErr := NormalizeStream(normal, Limits{}, false)
		if apiErr != nil || !bytes.Equal(encodeJSON(again), encodeJSON(normal)) {
			t.Fatalf("not stable: %s, then %s %v", encodeJSON(normal), encodeJSON(again), apiErr)
		}
		var consumer server.ConsumerConfig
		var consumerNormal *server.ConsumerConfig
		if json.Unmarshal(consumerJSON, &consumer) == nil {
			consumerNormal, _ = NormalizeConsumer(&consumer, normal, Limits{}, false)
		}
		m := New(Options{})
		var b Batch
		b.Reset(epoch)
		b.CreateStream(normal)
		if consumerNormal != nil {
			b.CreateConsumer(1<<16, consumerNormal, server.ActionCreate)
		}
		var results Results
		if err := m.Apply(1, b.Bytes(), &results); err != nil {
			t.Fatal(err)
		}
	})
}

func TestUndecodableEntriesAreRefused(t *testing.T) {
	valid := fuzzBatch()
	for name, data := range map[string][]byte{
		"empty":              {},
		"cut off":            valid[:len(valid)-1],
		"unknown command":    append(bytes.Clone(valid), 200, 0),
		"stamp too large":    append([]byte{batchVersion, 255, 255, 255, 255, 255, 255, 255, 127}, valid[batchHeaderSize:]...),
		"long-winded length": {batchVersion, 0, 0, 0, 0, 0, 0, 0, 0, byte(opPublish), 0x85, 0, 1, 0, 1, 'a', 'x'},
	} {
		err := fuzzMachine(t).Apply(2, data, &Results{})
		if err == nil {
			t.Errorf("%s: applied", name)
		} else if !bytes.Contains([]byte(err.Error()), []byte(protocol.ErrMalformed.Error())) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
