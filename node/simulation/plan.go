package simulation

import "time"

// plan is what a seed makes of a run, before anything happens.
type plan struct {
	hosts    int
	disaster bool // a majority may lose its memory at once
	wait     bool // when_majority_lost = "wait": an operator has to found
	faulty   int64
	pause    int64   // between two faults, on average
	latency  int64   // most that a disk takes for a transaction
	delay    int64   // most that a frame takes
	repeat   float64 // how many frames arrive twice
	cuts     float64 // how often a process is killed in the middle of a change of its store folder
	breaks   float64 // how often connections break when a piece of a copy is sent
	power    float64 // how often a process that is killed takes the machine's power with it

	kinds                 []topicKind // of the streams
	publishers, consumers int         // of each stream, about
	window                int         // messages of a publisher on their way
	busy                  bool        // the load goes on until the cluster is whole again
	largest               int         // bytes of a large message
	lastMessages          int         // that every publisher gets acknowledged at the end

	checkpointBytes    int
	checkpointInterval time.Duration
	captureWork        int
	settleWork         int // of an entry, see machine.Options; zero: enough for all at once
	tailBytes          int
}

func (w *world) draw() plan {
	r := w.random
	hosts := r.IntN(6)
	p := plan{
		disaster: w.options.Seed%4 == 3,
		power:    0.4,
		breaks:   0.02,
		faulty:   w.between(10*second, 40*second),
		pause:    w.often(150*millisecond, 4*second),
		kinds:    []topicKind{plain}, publishers: 1 + r.IntN(2), consumers: r.IntN(3),
		window:  []int{1, 1, 8, 32}[r.IntN(4)],
		largest: []int{100, 20_000, 60_000}[r.IntN(3)], lastMessages: 20,
		checkpointBytes:    []int{2_000, 50_000, 16 << 20}[r.IntN(3)],
		checkpointInterval: time.Duration(w.between(second, 20*second)),
		captureWork:        []int{1, 40, 2000}[w.options.Seed%3],
		settleWork:         []int{0, 12, 100}[w.options.Seed/2%3],
		tailBytes:          []int{1, 100_000, 32 << 20}[r.IntN(3)],
	}
	p.hosts = []int{3, 3, 3, 5, 5, 1}[hosts]
	if p.disaster { // only of five can two be left that hold different logs
		p.hosts = []int{3, 3, 5, 5, 5, 1}[hosts]
	}
	p.delay = []int64{millisecond, 5 * millisecond, 60 * millisecond}[r.IntN(3)]
	p.latency = []int64{millisecond, 3 * millisecond, 20 * millisecond, 100 * millisecond}[r.IntN(4)]
	p.repeat = []float64{0, 0, 0.01}[r.IntN(3)]
	p.cuts = []float64{0, 0.02, 0.1}[r.IntN(3)]
	p.wait = p.disaster && r.IntN(3) == 0
	p.busy = r.IntN(2) == 0
	for range r.IntN(4) {
		p.kinds = append(p.kinds, topicKind(1+r.IntN(int(topicKinds)-1)))
	}
	return p
}
