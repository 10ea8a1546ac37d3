package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdfast/internal/servers"
)

const (
	// callTime bounds one request of a client.
	callTime = 5 * time.Second
	// pace is the pause of a client between two rounds: much has to happen, but the
	// machine must not be so busy that what is on its way is what is measured.
	pace = 20 * time.Millisecond
	// keepTime is how long messages live, abandonTime how long consumers do that
	// nobody asks for.
	keepTime    = 5 * time.Second
	abandonTime = 3 * time.Second
	// leadTime is how long a node leads.
	leadTime = 3 * time.Second
)

// churn is the clients and what they did.
type churn struct {
	nodes  []*servers.Node
	leak   bool
	jobs   []*job
	conns  []*nats.Conn // one for each node
	number atomic.Uint64

	mu     sync.Mutex
	leaked []*nats.Conn
}

// job is one kind of round: it makes something, uses it, and takes it away.
type job struct {
	name  string
	round func(*churn, context.Context, *client) error
	// done and failed count rounds. Some fail whenever the lead changes.
	done, failed atomic.Int64
	last         atomic.Pointer[error]
}

// client is one client of a node.
type client struct {
	node *servers.Node
	conn *nats.Conn
	js   jetstream.JetStream
}

func newChurn(nodes []*servers.Node, o *options) *churn {
	c := &churn{nodes: nodes, leak: o.leak}
	for _, j := range newJobs() {
		if len(o.only) == 0 || slices.Contains(o.only, j.name) {
			c.jobs = append(c.jobs, j)
		}
	}
	return c
}

// prepare connects to every node and makes what stays for the whole run.
func (c *churn) prepare(ctx context.Context) error {
	for _, n := range c.nodes {
		nc, err := nats.Connect(n.URL(), nats.IgnoreDiscoveredServers(), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
		if err != nil {
			return fmt.Errorf("connect to %s: %w", n.Name, err)
		}
		c.conns = append(c.conns, nc)
	}
	// Nothing is measured yet, and a busy machine may take its time.
	js, err := jetstream.New(c.conns[0], jetstream.WithDefaultTimeout(startTime), jetstream.WithPublishAsyncTimeout(startTime))
	if err != nil {
		return err
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: longStream, Subjects: []string{longStream + ".>"}, Replicas: clusterSize,
		MaxAge: keepTime, Duplicates: keepTime, AllowDirect: true}); err != nil {
		return err
	}
	if _, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: longBucket, Replicas: clusterSize, History: 5, TTL: keepTime}); err != nil {
		return err
	}
	objects, err := js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: longObjects, Replicas: clusterSize, TTL: keepTime})
	if err == nil {
		_, err = objects.PutBytes(ctx, "first", make([]byte, logKept))
	}
	return err
}

// logKept is more than what nodes keep in memory of the end of the log. That much
// is written before anything is measured: it is not to be taken for growth.
const logKept = 48 << 20

func (c *churn) close() {
	for _, nc := range slices.Concat(c.conns, c.leaked) {
		nc.Close()
	}
}

// goOn lets a client of each kind work on each node, and the lead move, for some
// time. An error means that some kind got nowhere at all.
func (c *churn) goOn(ctx context.Context, length time.Duration) error {
	timed, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var working sync.WaitGroup
	before := make([]int64, len(c.jobs))
	for i, j := range c.jobs {
		before[i] = j.done.Load()
		for k, n := range c.nodes {
			js, err := jetstream.New(c.conns[k], jetstream.WithDefaultTimeout(callTime), jetstream.WithPublishAsyncTimeout(callTime))
			if err != nil {
				return err
			}
			working.Go(func() { j.work(timed, c, &client{n, c.conns[k], js}) })
		}
	}
	working.Go(func() { c.moveLead(timed) })
	working.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for i, j := range c.jobs {
		if j.done.Load() == before[i] {
			err := errors.New("none ended")
			if last := j.last.Load(); last != nil {
				err = *last
			}
			return fmt.Errorf("no round of %s succeeded: %w", j.name, err)
		}
	}
	return nil
}

// work does rounds until the context ends. The last one is not cut short.
func (j *job) work(ctx context.Context, c *churn, client *client) {
	for wait(ctx, pace) {
		round, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*callTime)
		err := j.round(c, round, client)
		cancel()
		if err != nil {
			j.failed.Add(1)
			j.last.Store(&err)
			continue
		}
		j.done.Add(1)
	}
}

// moveLead makes one node after the other lead.
func (c *churn) moveLead(ctx context.Context) {
	for i := 0; wait(ctx, leadTime); i++ {
		n := c.nodes[i%len(c.nodes)]
		body := fmt.Sprintf(`{"placement":{"preferred":%q}}`, n.Name)
		call, cancel := context.WithTimeout(ctx, callTime)
		// When it fails, the next one has its turn.
		_, _ = c.conns[i%len(c.conns)].RequestWithContext(call, "$JS.API.META.LEADER.STEPDOWN", []byte(body))
		cancel()
	}
}

// name is a name that was never used before.
func (c *churn) name(of string) string { return fmt.Sprintf("%s%d", of, c.number.Add(1)) }

// insist repeats a deletion until what it deletes is gone: what clients leave
// behind would look as if the servers had. It has time of its own for that, also
// when the round has none left.
func insist(ctx context.Context, remove func(context.Context) error) error {
	ctx = context.WithoutCancel(ctx)
	return servers.Await(ctx, startTime, 5*pace, func() error {
		call, cancel := context.WithTimeout(ctx, callTime)
		defer cancel()
		err := remove(call)
		if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrBucketNotFound) {
			return nil
		}
		return err
	})
}

// clear lets the messages of what stays go: everything is as it was before the
// churn then, once the servers have cleaned up.
func (c *churn) clear(ctx context.Context) error {
	js, err := jetstream.New(c.conns[0], jetstream.WithDefaultTimeout(callTime))
	if err != nil {
		return err
	}
	for _, name := range []string{longStream, "KV_" + longBucket, "OBJ_" + longObjects} {
		err := servers.Await(ctx, startTime, 5*pace, func() error {
			call, cancel := context.WithTimeout(ctx, callTime)
			defer cancel()
			s, err := js.Stream(call, name)
			if err == nil {
				err = s.Purge(call)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("purge %s: %w", name, err)
		}
	}
	return nil
}

// isOver returns nil when nothing is there but what stays for the whole run: clients
// have deleted the rest, or the servers have.
func (c *churn) isOver(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	js, err := jetstream.New(c.conns[0])
	if err != nil {
		return err
	}
	account, err := js.AccountInfo(ctx)
	if err != nil {
		return err
	}
	if account.Streams != 3 || account.Consumers != 0 {
		return fmt.Errorf("%d streams and %d consumers are there instead of 3 and none", account.Streams, account.Consumers)
	}
	return nil
}

// counts says how many rounds of each kind there were.
func (c *churn) counts() string {
	var words []string
	for _, j := range c.jobs {
		words = append(words, fmt.Sprintf("%d %s", j.done.Load(), j.name))
		if failed := j.failed.Load(); failed > 0 {
			words[len(words)-1] += fmt.Sprintf(" (%d more failed, the last: %v)", failed, *j.last.Load())
		}
	}
	return strings.Join(words, ", ")
}

// said returns what tells of the progress, about once a minute.
func (c *churn) said(out io.Writer) func(*watch) {
	told := time.Now()
	return func(w *watch) {
		if time.Since(told) < time.Minute {
			return
		}
		told = time.Now()
		var words []string
		for i, n := range w.nodes {
			last := w.during[i][len(w.during[i])-1]
			words = append(words, n.Name+":")
			for m := range measureCount {
				words = append(words, fmt.Sprintf("%s %s,", kinds[m].name, kinds[m].show(last.values[m])))
			}
		}
		var rounds int64
		for _, j := range c.jobs {
			rounds += j.done.Load()
		}
		fmt.Fprintf(out, "%v, %d rounds; %s\n", time.Since(w.began).Round(time.Second), rounds, strings.TrimSuffix(strings.Join(words, " "), ","))
	}
}
