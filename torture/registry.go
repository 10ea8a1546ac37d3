package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	bucket = "REGISTRY"
	// revisions is the most that a bucket keeps of a key. No key may get more, or
	// it would not be known in the end what became of every write.
	revisions = 64
	// keysAtATime are used for keyTime, then others: the cost of the check grows
	// fast with what happened to one key.
	keysAtATime = 6
	keyTime     = 4 * time.Second
	// registryPace is the pause between two operations of one client.
	registryPace = 50 * time.Millisecond
)

// operation is one on a key of the registry.
type operation struct {
	client      int
	key         string
	began, done time.Duration
	kind        operationKind
	expect      uint64 // conditional: the revision that the key has to have; 0: none
	value       string // written, or read; "": there was none
	revision    uint64 // of what was written or read, when it was told
	outcome     outcome
}

type operationKind int

const (
	reading     operationKind = iota
	writing                   // whatever there is
	conditional               // if the revision is the expected one
)

type outcome int

const (
	unknown outcome = iota // no answer, or one that says nothing
	succeeded
	refused // the revision was another
)

// registry is a key-value bucket, whose clients read and write the same few keys,
// with and without a condition.
type registry struct {
	mu         sync.Mutex
	operations []operation
	clients    int
}

func newRegistry(ctx context.Context, js jetstream.JetStream, replicas int) (*registry, error) {
	_, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: bucket, History: revisions, Replicas: replicas})
	if err != nil {
		return nil, fmt.Errorf("create bucket %s: %w", bucket, err)
	}
	return &registry{}, nil
}

func (g *registry) all() []operation {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.operations[:len(g.operations):len(g.operations)]
}

// start adds a client through one node.
func (g *registry) start(l *load, js jetstream.JetStream, n *node) error {
	call, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	kv, err := js.KeyValue(call, bucket)
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", bucket, err)
	}
	client := g.clients
	g.clients++
	l.publishers.Go(func() {
		known := map[string]uint64{} // revisions, the newest that this client knows
		for i := 0; wait(l.publishing, registryPace); i++ {
			round := int(l.now() / keyTime)
			key := fmt.Sprintf("k%d.%d", round, rand.IntN(keysAtATime))
			o := operation{client: client, key: key, value: fmt.Sprintf("%s-%d", n.Name, i), began: l.now()}
			switch draw := rand.IntN(10); {
			case draw < 4:
				o.kind, o.value = reading, ""
			case draw < 9:
				o.kind, o.expect = conditional, known[key]
			default:
				o.kind = writing
			}
			o.perform(kv)
			o.done = l.now()
			if o.revision > 0 {
				known[key] = o.revision
			}
			g.mu.Lock()
			g.operations = append(g.operations, o)
			g.mu.Unlock()
		}
	})
	return nil
}

// perform does it and notes the outcome.
func (o *operation) perform(kv jetstream.KeyValue) {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	var err error
	switch o.kind {
	case reading:
		var entry jetstream.KeyValueEntry
		if entry, err = kv.Get(ctx, o.key); err == nil {
			o.value, o.revision = string(entry.Value()), entry.Revision()
		} else if errors.Is(err, jetstream.ErrKeyNotFound) {
			err = nil
		}
	case writing:
		o.revision, err = kv.Put(ctx, o.key, []byte(o.value))
	case conditional:
		o.revision, err = kv.Update(ctx, o.key, []byte(o.value), o.expect)
	}
	var api *jetstream.APIError
	switch {
	case err == nil:
		o.outcome = succeeded
	case errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence:
		o.outcome = refused
	default:
		o.outcome = unknown
	}
}

// registryKey is the key that a message of the bucket's stream is of.
func registryKey(subject string) string { return strings.TrimPrefix(subject, "$KV."+bucket+".") }
