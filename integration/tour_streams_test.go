package integration

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

var streamFeatures = []feature{
	{"account info", accountInfo},
	{"stream create", streamCreate},
	{"stream create refused", streamCreateRefused},
	{"stream update", streamUpdate},
	{"stream info", streamInfo},
	{"stream list and names", streamListing},
	{"stream purge", streamPurge},
	{"stream delete", streamDelete},
}

func accountInfo(c *client) {
	c.create(jetstream.StreamConfig{})
	c.publish("a", "x")
	account, err := c.js.AccountInfo(c.ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	if account.Streams < 1 {
		c.t.Errorf("account has %d streams, want at least this one", account.Streams)
	}
	check(c.t, "limit of streams", account.Limits.MaxStreams, -1)
	check(c.t, "limit of consumers", account.Limits.MaxConsumers, -1)
	check(c.t, "limit of storage", account.Limits.MaxStore, -1)
}

func streamCreate(c *client) {
	before := time.Now()
	s := c.create(jetstream.StreamConfig{Description: "a stream", Metadata: map[string]string{"owner": "me"}})
	info := s.CachedInfo()
	config := info.Config
	check(c.t, "name", config.Name, c.stream)
	check(c.t, "description", config.Description, "a stream")
	check(c.t, "metadata", config.Metadata["owner"], "me")
	check(c.t, "retention", config.Retention, jetstream.LimitsPolicy)
	check(c.t, "storage", config.Storage, jetstream.FileStorage)
	check(c.t, "discard", config.Discard, jetstream.DiscardOld)
	check(c.t, "replicas", config.Replicas, 1)
	check(c.t, "max messages", config.MaxMsgs, -1)
	check(c.t, "max bytes", config.MaxBytes, -1)
	check(c.t, "max messages per subject", config.MaxMsgsPerSubject, -1)
	check(c.t, "max message size", config.MaxMsgSize, -1)
	check(c.t, "max consumers", config.MaxConsumers, -1)
	check(c.t, "max age", config.MaxAge, 0)
	check(c.t, "duplicate window", config.Duplicates, 2*time.Minute)
	if info.Created.Before(before.Add(-time.Second)) || info.Created.After(time.Now().Add(time.Second)) {
		c.t.Errorf("created at %v, want about now", info.Created)
	}
	checkState(c.t, info, 0, 0, 0)

	// The same again is no error; it is the same stream.
	again, err := c.js.CreateStream(c.ctx, jetstream.StreamConfig{
		Name: c.stream, Subjects: []string{c.subject(">")}, Description: "a stream", Metadata: map[string]string{"owner": "me"}})
	if err != nil {
		c.t.Fatalf("create the same stream again: %v", err)
	}
	check(c.t, "creation of the same stream", again.CachedInfo().Created, info.Created)

	// Without subjects a stream listens on its name.
	named, err := c.js.CreateStream(c.ctx, jetstream.StreamConfig{Name: c.stream + "-named"})
	if err != nil {
		c.t.Fatal(err)
	}
	if got, want := named.CachedInfo().Config.Subjects, []string{c.stream + "-named"}; !slices.Equal(got, want) {
		c.t.Errorf("subjects %q, want %q", got, want)
	}
}

func streamCreateRefused(c *client) {
	c.create(jetstream.StreamConfig{})
	create := func(config jetstream.StreamConfig) error {
		_, err := c.js.CreateStream(c.ctx, config)
		return err
	}
	c.wantErrorCode(create(jetstream.StreamConfig{Name: c.stream, Subjects: []string{c.subject("other")}}), 10058, "another configuration")
	c.wantErrorCode(create(jetstream.StreamConfig{Name: c.stream + "2", Subjects: []string{c.subject("a")}}), 10065, "overlapping subjects")
	c.wantErrorCode(create(jetstream.StreamConfig{Name: c.stream + "2", Subjects: []string{"x" + c.root, "x" + c.root}}), 10052, "the same subject twice")
	c.wantErrorCode(create(jetstream.StreamConfig{Name: c.stream + "2", Subjects: []string{"x" + c.root + "..a"}}), 10052, "an invalid subject")
	c.wantErrorCode(create(jetstream.StreamConfig{Name: c.stream + "2", Subjects: []string{"$JS.API.>"}}), 10052, "subjects of the API")
	c.wantErrorCode(create(jetstream.StreamConfig{Name: c.stream + "2", MaxAge: time.Millisecond}), 10052, "a maximal age below 100 ms")
	c.wantErrorCode(create(jetstream.StreamConfig{Name: c.stream + "2", MaxAge: time.Second, Duplicates: time.Minute}), 10052, "a duplicate window above the age")
	c.wantErrorCode(create(jetstream.StreamConfig{Name: c.stream + "2", Replicas: 9}), 10052, "nine replicas")
}

func streamUpdate(c *client) {
	s := c.create(jetstream.StreamConfig{MaxMsgs: 10})
	created := s.CachedInfo().Created
	c.publish("a", numbered("m", 10)...)
	s, err := c.js.UpdateStream(c.ctx, jetstream.StreamConfig{
		Name: c.stream, Subjects: []string{c.subject(">"), "other." + c.root}, MaxMsgs: 4, Description: "changed"})
	if err != nil {
		c.t.Fatal(err)
	}
	underTest.settle()
	info := c.info(s)
	check(c.t, "description", info.Config.Description, "changed")
	check(c.t, "max messages", info.Config.MaxMsgs, 4)
	check(c.t, "creation", info.Created, created)
	checkState(c.t, info, 4, 7, 10)
	if _, err := c.js.Publish(c.ctx, "other."+c.root, []byte("x")); err != nil {
		c.t.Errorf("publish to the added subject: %v", err)
	}

	_, err = c.js.UpdateStream(c.ctx, jetstream.StreamConfig{Name: c.stream + "-none", Subjects: []string{"none." + c.root}})
	c.wantError(err, jetstream.ErrStreamNotFound, "update of an unknown stream")
	_, err = c.js.UpdateStream(c.ctx, jetstream.StreamConfig{Name: c.stream, Subjects: []string{c.subject(">")}, Storage: jetstream.MemoryStorage})
	c.wantErrorCode(err, 10052, "update of the storage")

	// Subjects can be taken away; what is stored stays.
	if _, err := c.js.UpdateStream(c.ctx, jetstream.StreamConfig{Name: c.stream, Subjects: []string{c.subject("a")}}); err != nil {
		c.t.Fatal(err)
	}
	underTest.settle()
	_, err = c.js.Publish(c.ctx, "other."+c.root, []byte("x"), jetstream.WithRetryAttempts(0))
	c.wantError(err, jetstream.ErrNoStreamResponse, "publish to the removed subject")
	checkState(c.t, c.info(s), 4, 8, 11)
}

func streamInfo(c *client) {
	s := c.create(jetstream.StreamConfig{})
	c.publish("a", "1", "2")
	c.publish("b", "3")
	c.publish("c.d", "4")
	if err := s.DeleteMsg(c.ctx, 2); err != nil {
		c.t.Fatal(err)
	}
	info := c.info(s, jetstream.WithDeletedDetails(true), jetstream.WithSubjectFilter(c.subject("*")))
	checkState(c.t, info, 3, 1, 4)
	check(c.t, "number of subjects", info.State.NumSubjects, 3)
	check(c.t, "number of deleted", info.State.NumDeleted, 1)
	if !slices.Equal(info.State.Deleted, []uint64{2}) {
		c.t.Errorf("deleted %v, want [2]", info.State.Deleted)
	}
	check(c.t, "filtered subjects", len(info.State.Subjects), 2)
	check(c.t, "messages of a", info.State.Subjects[c.subject("a")], 1)
	check(c.t, "messages of b", info.State.Subjects[c.subject("b")], 1)
	if info.State.Bytes == 0 || info.State.FirstTime.After(info.State.LastTime) || time.Since(info.State.LastTime).Abs() > time.Minute {
		c.t.Errorf("state %+v: bytes or times are wrong", info.State)
	}
	if info.TimeStamp.IsZero() {
		c.t.Error("info has no time stamp")
	}

	_, err := c.js.Stream(c.ctx, c.stream+"-none")
	c.wantError(err, jetstream.ErrStreamNotFound, "info of an unknown stream")
}

func streamListing(c *client) {
	names := []string{c.stream + "-a", c.stream + "-b", c.stream + "-c"}
	for i, name := range names {
		c.create(jetstream.StreamConfig{Name: name, Subjects: []string{c.subject(string(rune('a' + i)))}})
	}
	filter := jetstream.WithStreamListSubject(c.subject("*"))
	list := c.js.StreamNames(c.ctx, filter)
	var got []string
	for name := range list.Name() {
		got = append(got, name)
	}
	if err := list.Err(); err != nil {
		c.t.Fatalf("names: %v", err)
	}
	if slices.Sort(got); !slices.Equal(got, names) {
		c.t.Errorf("names %q, want %q", got, names)
	}
	infos := c.js.ListStreams(c.ctx, filter)
	got = nil
	for info := range infos.Info() {
		got = append(got, info.Config.Name)
	}
	if err := infos.Err(); err != nil {
		c.t.Fatalf("list: %v", err)
	}
	if slices.Sort(got); !slices.Equal(got, names) {
		c.t.Errorf("list %q, want %q", got, names)
	}
	name, err := c.js.StreamNameBySubject(c.ctx, c.subject("b"))
	if err != nil {
		c.t.Fatal(err)
	}
	check(c.t, "stream of the subject b", name, names[1])
	_, err = c.js.StreamNameBySubject(c.ctx, c.subject("none"))
	c.wantError(err, jetstream.ErrStreamNotFound, "stream of an unknown subject")

	// Without a filter other tests' streams are there as well.
	all := c.js.StreamNames(c.ctx)
	seen := 0
	for name := range all.Name() {
		if slices.Contains(names, name) {
			seen++
		}
	}
	check(c.t, "own streams among all", seen, len(names))
}

func streamPurge(c *client) {
	s := c.create(jetstream.StreamConfig{})
	refill := func() uint64 { // ten messages, alternating between a and b
		for i := range 10 {
			c.publish([]string{"a", "b"}[i%2], "m")
		}
		return c.info(s).State.LastSeq
	}
	purge := func(options ...jetstream.StreamPurgeOpt) {
		c.t.Helper()
		if err := s.Purge(c.ctx, options...); err != nil {
			c.t.Fatalf("purge: %v", err)
		}
	}
	refill()
	purge(jetstream.WithPurgeSubject(c.subject("a")))
	info := c.info(s, jetstream.WithSubjectFilter(">"))
	check(c.t, "messages of b after a purge of a", info.State.Subjects[c.subject("b")], 5)
	checkState(c.t, info, 5, 2, 10)

	purge(jetstream.WithPurgeSequence(6))
	checkState(c.t, c.info(s), 3, 6, 10)
	purge(jetstream.WithPurgeKeep(1))
	checkState(c.t, c.info(s), 1, 10, 10)
	purge()
	checkState(c.t, c.info(s), 0, 11, 10)

	// Sequences go on where they were.
	check(c.t, "sequence after a purge", c.publish("a", "x").Sequence, 11)
	last := refill()
	purge(jetstream.WithPurgeSubject(c.subject("b")), jetstream.WithPurgeKeep(2))
	info = c.info(s, jetstream.WithSubjectFilter(">"))
	check(c.t, "kept messages of b", info.State.Subjects[c.subject("b")], 2)
	check(c.t, "messages of a", info.State.Subjects[c.subject("a")], 6)
	check(c.t, "last sequence", info.State.LastSeq, last)
}

func streamDelete(c *client) {
	s := c.create(jetstream.StreamConfig{})
	consumer := c.consumer(s, jetstream.ConsumerConfig{Durable: "d"})
	c.publish("a", "1", "2")
	if err := c.js.DeleteStream(c.ctx, c.stream); err != nil {
		c.t.Fatal(err)
	}
	underTest.settle()
	_, err := c.js.Stream(c.ctx, c.stream)
	c.wantError(err, jetstream.ErrStreamNotFound, "info after the delete")
	_, err = consumer.Info(c.ctx)
	c.wantError(err, jetstream.ErrStreamNotFound, "consumer info after the delete")
	c.wantError(c.js.DeleteStream(c.ctx, c.stream), jetstream.ErrStreamNotFound, "the second delete")
	_, err = c.js.Publish(c.ctx, c.subject("a"), []byte("x"), jetstream.WithRetryAttempts(0))
	c.wantError(err, jetstream.ErrNoStreamResponse, "publish after the delete")

	// A stream of the same name is another stream.
	again := c.create(jetstream.StreamConfig{})
	checkState(c.t, again.CachedInfo(), 0, 0, 0)
	check(c.t, "first sequence of the new stream", c.publish("a", "x").Sequence, 1)
	_, err = again.Consumer(c.ctx, "d")
	c.wantError(err, jetstream.ErrConsumerNotFound, "consumer of the old stream")
}

// checkState compares the counts of a stream's state.
func checkState(t testing.TB, info *jetstream.StreamInfo, messages, first, last uint64) {
	t.Helper()
	s := info.State
	if s.Msgs != messages || s.FirstSeq != first || s.LastSeq != last {
		t.Errorf("stream has %d messages, first %d, last %d; want %d, %d, %d", s.Msgs, s.FirstSeq, s.LastSeq, messages, first, last)
	}
}
