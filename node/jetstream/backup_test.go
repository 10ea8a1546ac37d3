package jetstream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/archive"
)

// backUp takes a backup as a client does, and returns it with the description of
// the stream.
func (f *fixture) backUp(name, options string) ([]byte, *server.JSApiStreamSnapshotResponse) {
	f.Helper()
	deliver := f.inbox()
	response := api[server.JSApiStreamSnapshotResponse](f, "STREAM.SNAPSHOT."+name, fmt.Sprintf(`{"deliver_subject":%q%s}`, deliver, options))
	if response.Error != nil {
		f.Fatal(response.Error)
	}
	if got := f.take(deliver); len(got) > 0 {
		f.Fatal("a backup begins before a client that subscribes behind the answer can hear it")
	}
	f.wait(time.Duration(backupRespite))
	var whole []byte
	for range 10_000 {
		for _, chunk := range f.take(deliver) {
			if chunk.payload == "" {
				if chunk.status() != "204" && chunk.header != "" {
					f.Fatalf("the backup ends with %q", chunk.header)
				}
				return whole, &response
			}
			whole = append(whole, chunk.payload...)
			if chunk.reply != "" {
				f.send(chunk.reply, "", "", "")
			}
		}
		f.run()
	}
	f.Fatal("the backup does not end")
	return nil, nil
}

// restore sends a backup in chunks, and returns the outcome.
func (f *fixture) restore(config *server.StreamConfig, state *server.StreamState, whole []byte, chunk int) server.JSApiStreamCreateResponse {
	f.Helper()
	begun := api[server.JSApiStreamRestoreResponse](f, "STREAM.RESTORE."+config.Name, server.JSApiStreamRestoreRequest{Config: *config, State: *state})
	if begun.Error != nil {
		f.Fatal(begun.Error)
	}
	outcome := func(answer sent) server.JSApiStreamCreateResponse {
		var response server.JSApiStreamCreateResponse
		if err := json.Unmarshal([]byte(answer.payload), &response); err != nil {
			f.Fatalf("%v in %q", err, answer.payload)
		}
		return response
	}
	for len(whole) > 0 {
		n := min(chunk, len(whole))
		if answer := f.ask(begun.DeliverSubject, "", string(whole[:n])); answer.payload != "" {
			return outcome(answer)
		}
		whole = whole[n:]
	}
	return outcome(f.ask(begun.DeliverSubject, "", ""))
}

func (f *fixture) deleteStream(name string) {
	f.Helper()
	if r := api[server.JSApiStreamDeleteResponse](f, "STREAM.DELETE."+name, nil); r.Error != nil {
		f.Fatal(r.Error)
	}
}

func TestABackupIsRestored(t *testing.T) {
	f := withOrigin(t)
	f.createConsumer("O", server.ConsumerConfig{Durable: "work", AckPolicy: server.AckExplicit, AckWait: time.Hour})
	inbox := f.pull("O", "work", "3")
	f.ack(f.take(inbox)[0], "")
	for i := range 3000 {
		f.send("o.many", "", "NATS/1.0\r\nNumber: "+fmt.Sprint(i)+"\r\n\r\n", strings.Repeat("x", i))
	}
	f.run()
	f.deleteMessage("O", 100)
	stored, info := f.stored("O"), f.info("O", "work")
	whole, response := f.backUp("O", `,"chunk_size":4096,"window_size":16384`)
	if response.State.Msgs != 3003 || response.State.Consumers != 1 || response.Config.Name != "O" {
		t.Errorf("described as %+v", response.State)
	}
	if begun := api[server.JSApiStreamRestoreResponse](f, "STREAM.RESTORE.O", server.JSApiStreamRestoreRequest{Config: *response.Config, State: *response.State}); begun.Error == nil ||
		begun.Error.ErrCode != uint16(server.JSStreamNameExistRestoreFailedErr) {
		t.Errorf("restored over a stream: %+v", begun)
	}
	f.deleteStream("O")
	outcome := f.restore(response.Config, response.State, whole, 10_000)
	if outcome.Error != nil || outcome.State.Msgs != 3003 || outcome.State.LastSeq != 3004 {
		t.Fatalf("outcome %v %+v", outcome.Error, outcome.StreamInfo)
	}
	if f.stored("O") != stored {
		t.Error("the stream is not what it was")
	}
	again := f.info("O", "work")
	if again.NumAckPending != 2 || again.NumPending != info.NumPending || again.AckFloor.Stream != 1 || again.Delivered.Consumer != 3 {
		t.Errorf("consumer %+v", again)
	}
	if seq := f.publish("o.a", "on"); seq != 3005 {
		t.Errorf("goes on with %d", seq)
	}
	f.want(f.pull("O", "work", "1"), "4")
}

func TestEmptyAndPurgedStreamsAreRestored(t *testing.T) {
	f := newFixture(t)
	f.createStream(server.StreamConfig{Name: "E", Subjects: []string{"e"}})
	for _, last := range []uint64{0, 3} {
		for range last {
			f.publish("e", "x")
		}
		api[server.JSApiStreamPurgeResponse](f, "STREAM.PURGE.E", nil)
		if last == 0 {
			f.deleteStream("E")
			f.createStream(server.StreamConfig{Name: "E", Subjects: []string{"e"}})
		}
		before := f.machine.Stream("E").State()
		whole, response := f.backUp("E", "")
		f.deleteStream("E")
		if outcome := f.restore(response.Config, response.State, whole, 1<<20); outcome.Error != nil {
			t.Fatal(outcome.Error)
		}
		if after := f.machine.Stream("E").State(); after.FirstSeq != before.FirstSeq || after.LastSeq != before.LastSeq {
			t.Errorf("restored %+v, want %+v", after, before)
		}
	}
}

func TestABackupStopsWhenNobodyTakesIt(t *testing.T) {
	f := withOrigin(t)
	for range 200 {
		f.send("o.many", "", "", string(make([]byte, 100)))
	}
	for i := range 300 { // what does not compress
		f.send("o.many", "", "", fmt.Sprintf("%x", i*7919)+string(bytes.Repeat([]byte{byte(i), byte(i * 31)}, 50)))
	}
	f.run()
	deliver := f.inbox()
	request := fmt.Sprintf(`{"deliver_subject":%q,"chunk_size":1024,"window_size":1024}`, deliver)
	api[server.JSApiStreamSnapshotResponse](f, "STREAM.SNAPSHOT.O", request)
	f.wait(time.Duration(backupRespite))
	if got := f.take(deliver); len(got) != 1 || !strings.HasPrefix(got[0].reply, "$JS.SNAPSHOT.ACK.O.") || !strings.HasSuffix(got[0].reply, ".1024.1") {
		t.Fatalf("sent %d chunks", len(got))
	}
	f.wait(time.Duration(backupPatience) + time.Second)
	f.want(deliver, "<408 No Flow Response>")

	f.bus.deaf[deliver] = true
	api[server.JSApiStreamSnapshotResponse](f, "STREAM.SNAPSHOT.O", request)
	f.wait(time.Second)
	if got := f.take(deliver); len(got) != 0 {
		t.Errorf("sent to nobody: %d", len(got))
	}
	f.bus.deaf[deliver] = false
	f.wait(time.Second)
	if got := f.take(deliver); len(got) != 1 {
		t.Errorf("sent %d chunks", len(got))
	}
	f.bus.deaf[deliver] = true
	f.wait(time.Second)
	f.want(deliver, "<408 No Interest>")
	if len(f.door.transfers.backups) != 0 {
		t.Error("a backup is still under way")
	}
}

func TestBadRestoresLeaveNothing(t *testing.T) {
	f := withOrigin(t)
	whole, response := f.backUp("O", "")
	f.deleteStream("O")
	pack := func(magic bool, entries ...archive.Header) []byte {
		var b bytes.Buffer
		w := s2.NewWriter(&b)
		if !magic {
			_, _ = w.Write(make([]byte, 512))
		}
		a := archive.NewWriter(w)
		for _, e := range entries {
			content := []byte(strings.Repeat("{", int(e.PayloadSize)))
			if e.Name == "state.json" {
				content = []byte(fmt.Sprintf(`{"first_seq":%d,"last_seq":%d,"messages":%d}`, 1, e.Timestamp, e.Timestamp))
				e.PayloadSize = int64(len(content))
			}
			_ = a.WriteHeader(&e)
			_, _ = a.Write(content)
		}
		_ = w.Close()
		return b.Bytes()
	}
	state := archive.Header{Name: "state.json", Timestamp: 2}
	one, two := archive.Header{Name: "o.a", Sequence: 1, PayloadSize: 1, Timestamp: start}, archive.Header{Name: "o.a", Sequence: 2, PayloadSize: 1, Timestamp: start}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"cut":          {whole[:len(whole)-30], "unexpected EOF"},
		"empty":        {nil, "unexpected EOF"},
		"no s2":        {[]byte(strings.Repeat("no s2 at all", 100)), "not an S2 stream"},
		"older":        {pack(false), "before 2.15"},
		"no state":     {pack(true, one), "expected state.json first"},
		"bad state":    {pack(true, archive.Header{Name: "consumers/x", PayloadSize: 1}), "expected state.json first"},
		"no end":       {pack(true, state, one, two), "unexpected EOF"},
		"out of order": {pack(true, state, two, one), "out of order"},
		"twice":        {pack(true, state, one, one), "out of order"},
		"no sequence":  {pack(true, state, archive.Header{Name: "o.a", PayloadSize: 1}), "expected message sequence"},
		"large":        {pack(true, state, archive.Header{Name: "o.a", Sequence: 1, PayloadSize: 1<<20 + 1}), "larger than"},
	} {
		outcome := f.restore(response.Config, response.State, c.data, 700)
		if outcome.Error == nil || outcome.Error.ErrCode != uint16(server.JSStreamRestoreErrF) || !strings.Contains(outcome.Error.Description, c.want) {
			t.Errorf("%s: %+v, want %q", name, outcome.Error, c.want)
		}
		f.run()
		if n := len(f.door.machine.Intakes()); n != 0 || f.machine.Stream("O") != nil {
			t.Errorf("%s: %d intakes left", name, n)
		}
	}
	if outcome := f.restore(response.Config, response.State, whole, 700); outcome.Error != nil {
		t.Error(outcome.Error)
	}
}

// TestARestoreWaitsForItsStream: the loop may come by many times before the stream
// that a restore asked for is there, and the client may have sent everything.
func TestARestoreWaitsForItsStream(t *testing.T) {
	f := withOrigin(t)
	whole, response := f.backUp("O", "")
	f.deleteStream("O")
	begun := api[server.JSApiStreamRestoreResponse](f, "STREAM.RESTORE.O", server.JSApiStreamRestoreRequest{Config: *response.Config, State: *response.State})
	f.send(begun.DeliverSubject, f.inbox(), "", string(whole))
	for range 3 { // nothing is applied
		f.door.Flush()
	}
	outcome := f.inbox()
	f.send(begun.DeliverSubject, outcome, "", "")
	f.door.Flush()
	f.run()
	if told := f.take(outcome); len(told) != 1 || strings.Contains(told[0].payload, "error") {
		t.Errorf("told %v", told)
	}
	if s := f.machine.Stream("O"); s == nil || s.State().Msgs != response.State.Msgs {
		t.Fatalf("restored %+v", s)
	}
}

func TestARestoreEndsWithItsLeader(t *testing.T) {
	f := withOrigin(t)
	whole, response := f.backUp("O", "")
	f.deleteStream("O")
	request := server.JSApiStreamRestoreRequest{Config: *response.Config, State: *response.State}
	begun := api[server.JSApiStreamRestoreResponse](f, "STREAM.RESTORE.O", request)
	f.ask(begun.DeliverSubject, "", string(whole))
	if len(f.door.machine.Intakes()) != 1 {
		t.Fatal("nothing was begun")
	}
	f.door.Follow()
	f.door = New(f.door.options)
	f.door.Lead()
	f.run()
	if len(f.door.machine.Intakes()) != 0 {
		t.Error("the half restored stream is still there")
	}
	if got := f.ask(begun.DeliverSubject, "", "more"); got.status() != "503" {
		t.Errorf("answered %+v", got)
	}
	if outcome := f.restore(response.Config, response.State, whole, 700); outcome.Error != nil {
		t.Error(outcome.Error)
	}
	f.deleteStream("O")
	api[server.JSApiStreamRestoreResponse](f, "STREAM.RESTORE.O", request)
	f.wait(time.Duration(restorePatience) + time.Second)
	if len(f.door.transfers.restores) != 0 {
		t.Error("a restore without a client is still under way")
	}
}

// FuzzBackup takes arbitrary bytes for a backup: cut in different places, they
// mean the same.
func FuzzBackup(f *testing.F) {
	var b bytes.Buffer
	w := s2.NewWriter(&b)
	a := archive.NewWriter(w)
	_ = a.WriteHeader(&archive.Header{Name: "o.a", Sequence: 1, HeaderSize: 1, PayloadSize: 2, Timestamp: 3})
	_, _ = a.Write([]byte("abc"))
	_ = a.WriteHeader(&archive.Header{})
	_ = w.Close()
	f.Add(b.Bytes(), 1)
	f.Add(b.Bytes()[:b.Len()-1], 7)
	f.Add([]byte{1, 255, 255, 255, 0}, 1)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		read := func(step int) string {
			var told strings.Builder
			var fr frames
			var en entries
			for rest := data; len(rest) > 0; {
				n := min(step, len(rest))
				fr.pending = append(fr.pending, rest[:n]...)
				rest = rest[n:]
				for {
					content, err := fr.next()
					if err != nil {
						return told.String() + err.Error()
					}
					if content == nil {
						break
					}
					en.add(content)
					var e entry
					for {
						got, err := en.next(&e, 1<<20)
						if err != nil {
							return told.String() + err.Error()
						}
						if !got {
							break
						}
						fmt.Fprintf(&told, "%q %d %d %q %q\n", e.name, e.stamp, e.seq, e.header, e.payload)
					}
				}
			}
			return told.String()
		}
		if one, other := read(max(len(data), 1)), read(max(cut&0xff, 1)); one != other {
			t.Errorf("read in one: %q; in pieces of %d: %q", one, cut&0xff, other)
		}
	})
}
