package jetstream

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// stored tells a stream's messages in words: sequence, subject and payload.
func (f *fixture) stored(name string) string {
	f.Helper()
	s := f.machine.Stream(name)
	var words []string
	for seq := s.State().FirstSeq; seq <= s.State().LastSeq; seq++ {
		stored, ok := s.Message(seq)
		if !ok {
			continue
		}
		m, ok := f.door.read(stored.Location)
		if !ok {
			f.Fatalf("message %d of %s cannot be read", seq, name)
		}
		words = append(words, fmt.Sprintf("%d:%s=%s", seq, m.Subject, m.Payload))
	}
	return strings.Join(words, " ")
}

func (f *fixture) wantStored(name, want string) {
	f.Helper()
	if got := f.stored(name); got != want {
		f.Errorf("%s holds %q, want %q", name, got, want)
	}
}

// header returns the header of a stored message.
func (f *fixture) header(name string, seq uint64) string {
	f.Helper()
	stored, _ := f.machine.Stream(name).Message(seq)
	m, ok := f.door.read(stored.Location)
	if !ok {
		f.Fatalf("message %d of %s cannot be read", seq, name)
	}
	return string(m.Header)
}

func (f *fixture) streamInfo(name string) *server.StreamInfo {
	f.Helper()
	response := api[server.JSApiStreamInfoResponse](f, "STREAM.INFO."+name, nil)
	if response.Error != nil {
		f.Fatal(response.Error)
	}
	return response.StreamInfo
}

func (f *fixture) deleteMessage(name string, seq uint64) {
	f.Helper()
	api[server.JSApiMsgDeleteResponse](f, "STREAM.MSG.DELETE."+name, fmt.Sprintf(`{"seq":%d}`, seq))
}

// withOrigin stores o.a=1 to o.d=4.
func withOrigin(t testing.TB) *fixture {
	f := newFixture(t)
	f.createStream(server.StreamConfig{Name: "O", Subjects: []string{"o.>"}})
	for i, subject := range []string{"o.a", "o.b", "o.c", "o.d"} {
		f.publish(subject, fmt.Sprint(i+1))
	}
	return f
}

func mirror(source server.StreamSource) server.StreamConfig {
	return server.StreamConfig{Name: "M", Mirror: &source}
}

func sourced(sources ...*server.StreamSource) server.StreamConfig {
	return server.StreamConfig{Name: "S", Sources: sources}
}

func TestMirrorsFollowTheirOrigin(t *testing.T) {
	f := withOrigin(t)
	f.deleteMessage("O", 2)
	f.createStream(mirror(server.StreamSource{Name: "O"}))
	f.run()
	f.wantStored("M", "1:o.a=1 3:o.c=3 4:o.d=4")
	f.publish("o.e", "5")
	f.run()
	f.wantStored("M", "1:o.a=1 3:o.c=3 4:o.d=4 5:o.e=5")
	origin, _ := f.machine.Stream("O").Message(3)
	copied, _ := f.machine.Stream("M").Message(3)
	if origin.Stamp != copied.Stamp || f.header("M", 3) != "" {
		t.Errorf("stamps %d and %d, header %q", origin.Stamp, copied.Stamp, f.header("M", 3))
	}
	info := f.streamInfo("M")
	if info.Mirror == nil || info.Mirror.Name != "O" || info.Mirror.Lag != 0 || info.Mirror.Error != nil || info.Mirror.Active < 0 {
		t.Errorf("mirror info %+v", info.Mirror)
	}
}

func TestMirrorsBegin(t *testing.T) {
	f := withOrigin(t)
	f.deleteMessage("O", 1)
	stored, _ := f.machine.Stream("O").Message(3)
	at := time.Unix(0, stored.Stamp)
	for name, c := range map[string]struct {
		source server.StreamSource
		want   string
		first  uint64
	}{
		"all":          {server.StreamSource{Name: "O"}, "2:o.b=2 3:o.c=3 4:o.d=4", 2},
		"at sequence":  {server.StreamSource{Name: "O", OptStartSeq: 3}, "3:o.c=3 4:o.d=4", 3},
		"at time":      {server.StreamSource{Name: "O", OptStartTime: &at}, "3:o.c=3 4:o.d=4", 3},
		"beyond":       {server.StreamSource{Name: "O", OptStartSeq: 9}, "", 9},
		"filter":       {server.StreamSource{Name: "O", FilterSubject: "o.c"}, "3:o.c=3", 3},
		"renamed":      {server.StreamSource{Name: "O", SubjectTransforms: []server.SubjectTransformConfig{{Source: "o.*", Destination: "m.{{wildcard(1)}}"}}}, "2:m.b=2 3:m.c=3 4:m.d=4", 2},
		"some renamed": {server.StreamSource{Name: "O", SubjectTransforms: []server.SubjectTransformConfig{{Source: "o.b", Destination: "m.b"}, {Source: "o.d"}}}, "2:m.b=2 4:o.d=4", 2},
	} {
		f.createStream(mirror(c.source))
		f.run()
		f.wantStored("M", c.want)
		if first := f.machine.Stream("M").State().FirstSeq; first != c.first {
			t.Errorf("%s: the first sequence is %d, want %d", name, first, c.first)
		}
		api[server.JSApiStreamDeleteResponse](f, "STREAM.DELETE.M", nil)
	}
}

func TestSourcesAreMerged(t *testing.T) {
	f := withOrigin(t)
	f.createStream(server.StreamConfig{Name: "P", Subjects: []string{"p.>"}})
	f.createStream(sourced(&server.StreamSource{Name: "O", FilterSubject: "o.a"}, &server.StreamSource{
		Name: "P", SubjectTransforms: []server.SubjectTransformConfig{{Source: "p.>", Destination: "x.p.>"}},
	}))
	f.publishWith("p.1", "NATS/1.0\r\nNats-Expected-Last-Sequence: 0\r\nKept: yes\r\n\r\n", "p")
	f.publish("o.a", "again")
	f.run()
	f.wantStored("S", "1:o.a=1 2:x.p.1=p 3:o.a=again")
	identity := " " + identityOf(f, "O")
	if got, want := f.header("S", 3), "NATS/1.0\r\nNats-Stream-Source: O 5 o.a > o.a"+identity+"\r\n\r\n"; got != want {
		t.Errorf("header %q, want %q", got, want)
	}
	if got, want := f.header("S", 2), "NATS/1.0\r\nKept: yes\r\nNats-Stream-Source: P 1 p.> x.p.> p.1 "+identityOf(f, "P")+"\r\n\r\n"; got != want {
		t.Errorf("header %q, want %q", got, want)
	}
	info := f.streamInfo("S")
	if len(info.Sources) != 2 || info.Sources[0].Seq != 5 || info.Sources[1].Seq != 1 || info.Sources[0].FilterSubject != "o.a" ||
		len(info.Sources[1].SubjectTransforms) != 1 || info.Sources[1].Lag != 0 {
		t.Errorf("sources %+v", info.Sources)
	}
}

func identityOf(f *fixture, name string) string {
	_, identity := f.machine.Stream("S").Taken(f.door.feeds.of[f.machine.Stream("S").Incarnation()][map[string]int{"O": 0, "P": 1}[name]].name)
	return identity
}

func TestADaisyChainKeepsTheNearestOrigin(t *testing.T) {
	f := withOrigin(t)
	f.createStream(sourced(&server.StreamSource{Name: "O", FilterSubject: "o.a"}))
	f.createStream(server.StreamConfig{Name: "SS", Sources: []*server.StreamSource{{Name: "S"}}})
	f.run()
	f.wantStored("SS", "1:o.a=1")
	if got := f.header("SS", 1); !strings.HasPrefix(got, "NATS/1.0\r\nNats-Stream-Source: S 1 > > o.a ") || strings.Count(got, "Nats-Stream-Source") != 1 {
		t.Errorf("header %q", got)
	}
}

func TestANewLeaderGoesOnExactlyOnce(t *testing.T) {
	f := withOrigin(t)
	f.createStream(sourced(&server.StreamSource{Name: "O"}))
	f.run()
	f.createStream(mirror(server.StreamSource{Name: "O"}))
	f.run()
	f.send("o.e", "", "", "5")
	f.door.Flush() // o.e is proposed
	f.commit()     // and applied, and the copies are proposed
	f.door.Flush()
	f.door.Follow() // and this leader is gone; they commit
	f.commit()
	f.send("o.f", "", "", "lost")
	f.door = New(f.door.options)
	f.door.Lead()
	f.run()
	f.publish("o.g", "6")
	f.run()
	f.wantStored("S", "1:o.a=1 2:o.b=2 3:o.c=3 4:o.d=4 5:o.e=5 6:o.g=6")
	f.wantStored("M", "1:o.a=1 2:o.b=2 3:o.c=3 4:o.d=4 5:o.e=5 6:o.g=6")
}

func TestALostProposalIsMadeAgain(t *testing.T) {
	f := withOrigin(t)
	f.createStream(sourced(&server.StreamSource{Name: "O"}))
	f.run()
	f.send("o.e", "", "", "5")
	f.door.Flush()
	f.commit()
	f.node.refuse = fmt.Errorf("not now")
	f.door.Flush()
	f.node.refuse = nil
	f.wait(time.Second)
	f.wantStored("S", "1:o.a=1 2:o.b=2 3:o.c=3 4:o.d=4 5:o.e=5")
}

func TestAnOriginThatComesLater(t *testing.T) {
	f := newFixture(t)
	f.createStream(mirror(server.StreamSource{Name: "O"}))
	f.createStream(sourced(&server.StreamSource{Name: "O"}))
	f.run()
	for _, info := range []*server.StreamSourceInfo{f.streamInfo("M").Mirror, f.streamInfo("S").Sources[0]} {
		if info.Error == nil || info.Error.ErrCode != uint16(server.JSStreamNotFoundErr) || info.Active != -1 {
			t.Errorf("info %+v", info)
		}
	}
	origin := server.StreamConfig{Name: "O", Subjects: []string{"o.>"}}
	f.createStream(origin)
	f.publish("o.a", "1")
	f.publish("o.b", "2")
	f.run()
	f.wantStored("M", "1:o.a=1 2:o.b=2")
	f.wantStored("S", "1:o.a=1 2:o.b=2")
	if info := f.streamInfo("M").Mirror; info.Error != nil {
		t.Errorf("info %+v", info)
	}

	// Created again, it is sourced from its beginning; a mirror waits for it to
	// get past what the mirror has.
	api[server.JSApiStreamDeleteResponse](f, "STREAM.DELETE.O", nil)
	f.wait(time.Second)
	f.createStream(origin)
	for i := range 3 {
		f.publish("o.c", fmt.Sprint("new", i+1))
	}
	f.wait(time.Second)
	f.wantStored("S", "1:o.a=1 2:o.b=2 3:o.c=new1 4:o.c=new2 5:o.c=new3")
	f.wantStored("M", "1:o.a=1 2:o.b=2 3:o.c=new3")
}

func TestAFullStreamTakesTheRestLater(t *testing.T) {
	f := withOrigin(t)
	config := sourced(&server.StreamSource{Name: "O"})
	config.Discard, config.MaxMsgs = server.DiscardNew, 2
	f.createStream(config)
	f.wait(time.Second)
	f.wantStored("S", "1:o.a=1 2:o.b=2")
	if info := f.streamInfo("S").Sources[0]; info.Lag != 2 {
		t.Errorf("lag %d", info.Lag)
	}
	f.deleteMessage("S", 1)
	f.wait(time.Second)
	f.wantStored("S", "2:o.b=2 3:o.c=3")
}

func TestSourcesComeAndGo(t *testing.T) {
	f := withOrigin(t)
	f.createStream(server.StreamConfig{Name: "P", Subjects: []string{"p"}})
	update := func(sources ...*server.StreamSource) {
		t.Helper()
		config := sourced(sources...)
		config.Storage = server.FileStorage
		if r := api[server.JSApiStreamUpdateResponse](f, "STREAM.UPDATE.S", config); r.Error != nil {
			t.Fatal(r.Error)
		}
		f.run()
	}
	config := sourced(&server.StreamSource{Name: "P"})
	f.createStream(config)
	update(&server.StreamSource{Name: "P"}, &server.StreamSource{Name: "O"})
	f.wantStored("S", "1:o.a=1 2:o.b=2 3:o.c=3 4:o.d=4")
	update(&server.StreamSource{Name: "P"})
	f.publish("o.e", "5")
	f.publish("p", "p1")
	f.run()
	f.wantStored("S", "1:o.a=1 2:o.b=2 3:o.c=3 4:o.d=4 5:p=p1")
	update(&server.StreamSource{Name: "O"}, &server.StreamSource{Name: "P"})
	f.wantStored("S", "1:o.a=1 2:o.b=2 3:o.c=3 4:o.d=4 5:p=p1 6:o.e=5")

	f.createStream(mirror(server.StreamSource{Name: "O"}))
	f.run()
	promoted := server.StreamConfig{Name: "M", Subjects: []string{"m"}, Storage: server.FileStorage}
	if r := api[server.JSApiStreamUpdateResponse](f, "STREAM.UPDATE.M", promoted); r.Error != nil {
		t.Fatal(r.Error)
	}
	f.publish("o.f", "6")
	if seq := f.publish("m", "mine"); seq != 6 {
		t.Errorf("the promoted mirror goes on with sequence %d", seq)
	}
}

func TestALargeOriginIsTakenInSteps(t *testing.T) {
	f := newFixture(t)
	f.createStream(server.StreamConfig{Name: "O", Subjects: []string{"o.>"}})
	for i := range 10_000 {
		f.send(fmt.Sprintf("o.%d", i%10), "", "", "x")
	}
	f.run()
	f.createStream(sourced(&server.StreamSource{Name: "O", FilterSubject: "o.7"}))
	f.createStream(mirror(server.StreamSource{Name: "O"}))
	f.run()
	if s, m := f.machine.Stream("S").State(), f.machine.Stream("M").State(); s.Msgs != 1000 || m.Msgs != 10_000 {
		t.Errorf("taken %d and %d", s.Msgs, m.Msgs)
	}
}
