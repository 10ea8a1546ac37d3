package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// readTime bounds the reading of one stream, and the handing over of its lead.
const readTime = 90 * time.Second

// contentsOf reads a whole stream, through whichever node answers.
func contentsOf(ctx context.Context, js jetstream.JetStream, stream string) ([]stored, error) {
	if stream == workStream {
		return leftOver(ctx, js, stream)
	}
	consumer, err := js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy})
	if err != nil {
		return nil, err
	}
	var all []stored
	for left := int(consumer.CachedInfo().NumPending); left > 0; {
		batch, err := consumer.Fetch(min(left, 1000), jetstream.FetchMaxWait(callTime))
		if err != nil {
			return nil, err
		}
		read := 0
		for m := range batch.Messages() {
			metadata, err := m.Metadata()
			if err != nil {
				return nil, err
			}
			one := stored{seq: metadata.Sequence.Stream, subject: registryKey(m.Subject()), id: string(m.Data())}
			if stream != registryStream {
				one.id = idOf(m.Data())
			}
			all = append(all, one)
			read++
		}
		if read == 0 {
			return nil, fmt.Errorf("%d messages are not delivered: %w", left, batch.Error())
		}
		left -= read
	}
	return all, nil
}

// leftOver reads a work queue message by message: it has its one consumer already,
// and hardly anything is left in it.
func leftOver(ctx context.Context, js jetstream.JetStream, stream string) (all []stored, err error) {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	state := s.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq && uint64(len(all)) < state.Msgs; seq++ {
		m, err := s.GetMsg(ctx, seq)
		if err == nil {
			all = append(all, stored{seq: m.Sequence, subject: m.Subject, id: idOf(m.Data)})
		} else if !errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, err
		}
	}
	return all, nil
}

// registryStream is the stream behind the bucket.
const registryStream = "KV_" + bucket

// readAll reads the streams with each node leading in turn: what only some of them
// have must not stay unseen.
func (l *load) readAll(ctx context.Context) (registry []stored, err error) {
	js, err := jetstream.New(l.conns[0], jetstream.WithDefaultTimeout(10*time.Second))
	if err != nil {
		return nil, err
	}
	for _, h := range []*history{&l.ledger, &l.work} {
		h.contents = map[string][]stored{}
		for _, n := range l.cluster.nodes {
			contents, err := readWith(ctx, func(ctx context.Context) ([]stored, error) {
				if err := l.leadBy(ctx, js, h.stream, n.Name); err != nil {
					return nil, err
				}
				return contentsOf(ctx, js, h.stream)
			})
			if err != nil {
				return nil, fmt.Errorf("read %s with %s leading: %w", h.stream, n.Name, err)
			}
			h.contents[n.Name] = contents
		}
	}
	registry, err = readWith(ctx, func(ctx context.Context) ([]stored, error) { return contentsOf(ctx, js, registryStream) })
	if err != nil {
		err = fmt.Errorf("read %s: %w", registryStream, err)
	}
	return registry, err
}

// readWith reads until that works, for at most readTime: for a while after the lead
// of a stream has changed, nats-server may not answer.
func readWith(ctx context.Context, read func(context.Context) ([]stored, error)) ([]stored, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	for {
		contents, err := read(ctx)
		if err == nil || !wait(ctx, time.Second) {
			return contents, err
		}
	}
}

// leadBy makes a node lead a stream.
func (l *load) leadBy(ctx context.Context, js jetstream.JetStream, stream, name string) error {
	body, err := json.Marshal(server.JSApiLeaderStepdownRequest{Placement: &server.Placement{Preferred: name}})
	if err != nil {
		return err
	}
	leads := ""
	for {
		call, cancel := context.WithTimeout(ctx, callTime)
		if s, err := js.Stream(call, stream); err == nil && s.CachedInfo().Cluster != nil {
			leads = s.CachedInfo().Cluster.Leader
		}
		if leads != name {
			_, _ = js.Conn().RequestWithContext(call, fmt.Sprintf(server.JSApiStreamLeaderStepDownT, stream), body)
		}
		cancel()
		if leads == name {
			return nil
		}
		if !wait(ctx, 300*time.Millisecond) {
			return fmt.Errorf("%s does not come to lead %s, %q does", name, stream, leads)
		}
	}
}

// leader is the number of the node that leads the ledger, as the first node says
// that answers; that of the one before when nobody does.
func (l *load) leader(last int) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	answers := make(chan string, len(l.cluster.nodes))
	for i := range l.cluster.nodes {
		go func() {
			leader := ""
			if js, err := jetstream.New(l.conns[2*i+1]); err == nil {
				if s, err := js.Stream(ctx, ledgerStream); err == nil && s.CachedInfo().Cluster != nil {
					leader = s.CachedInfo().Cluster.Leader
				}
			}
			answers <- leader
		}()
	}
	for range l.cluster.nodes {
		leader := <-answers
		if i := slices.IndexFunc(l.cluster.nodes, func(n *node) bool { return n.Name == leader }); i >= 0 {
			return i
		}
	}
	return last
}

// storedBy says of each node what it stores. For Holdfast, whose nodes are stopped
// by this, that is everything in their stores; of nats-server it is what its
// monitor says.
func (c *cluster) storedBy(ctx context.Context) (map[string]string, error) {
	texts := map[string]string{}
	for _, n := range c.nodes {
		if c.isHoldfast() {
			if err := n.stop(); err != nil {
				return nil, err
			}
		}
	}
	for _, n := range c.nodes {
		var err error
		if c.isHoldfast() {
			texts[n.Name], err = n.export(ctx)
		} else {
			texts[n.Name], err = n.states()
		}
		if err != nil {
			return nil, err
		}
	}
	return texts, nil
}

// export checks every byte of a stopped node's store and returns what it lists, and
// a hash of all messages.
func (n *node) export(ctx context.Context) (string, error) {
	program := n.cluster.programs[0]
	if out, err := exec.CommandContext(ctx, program, "verify", "--store", n.Store).CombinedOutput(); err != nil {
		return "", fmt.Errorf("holdfast verify of %s: %w\n%s", n.Name, err, out)
	}
	command := exec.CommandContext(ctx, program, "inspect", "--store", n.Store, "--export", "-")
	hash := sha256.New()
	lines := &lineCounter{to: hash}
	command.Stdout = lines
	var said strings.Builder
	command.Stderr = &said
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("holdfast inspect of %s: %w\n%s", n.Name, err, said.String())
	}
	return fmt.Sprintf("%d lines of an export, %x", lines.count, hash.Sum(nil)[:8]), nil
}

// lineCounter counts the lines that go through it.
type lineCounter struct {
	to    io.Writer
	count int
}

func (l *lineCounter) Write(data []byte) (int, error) {
	for _, b := range data {
		if b == '\n' {
			l.count++
		}
	}
	return l.to.Write(data)
}

// states is what a nats-server says of its streams.
func (n *node) states() (string, error) {
	var info server.JSInfo
	if err := n.Get("/jsz?accounts=true&streams=true", &info); err != nil {
		return "", err
	}
	var lines []string
	for _, account := range info.AccountDetails {
		for _, s := range account.Streams {
			lines = append(lines, fmt.Sprintf("%s: %d messages, %d to %d, %d bytes", s.Name, s.State.Msgs, s.State.FirstSeq, s.State.LastSeq, s.State.Bytes))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "; "), nil
}
