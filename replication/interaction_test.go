package replication

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"holdfast/protocol"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata")

// TestInteraction runs the scripts of testdata. A script is a sequence of
// paragraphs. Lines that begin with # are comments. In a paragraph, the lines
// before "----" are commands, those after are the expected notes on what
// happened. The invariants are checked after every step.
func TestInteraction(t *testing.T) {
	runScripts(t, "testdata/*.txt", false)
}

// TestInteractionBroken runs scripts in which one rule of the protocol is
// switched off (mutation=NAME): an invariant must break.
func TestInteractionBroken(t *testing.T) {
	runScripts(t, "testdata/broken/*.txt", true)
}

func runScripts(t *testing.T, pattern string, broken bool) {
	scripts, err := filepath.Glob(pattern)
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			script, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got, violation := runScript(string(script))
			if (violation != nil) != broken {
				t.Errorf("invariants: %v", violation)
			}
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(script) {
				t.Errorf("%s: other output than expected (-update rewrites it):\n%s", path, difference(string(script), got))
			}
		})
	}
}

// runScript returns the script with the output that it has now, and the first
// invariant that broke.
func runScript(script string) (string, error) {
	x := &interaction{}
	var out strings.Builder
	for i, paragraph := range strings.Split(strings.TrimRight(script, "\n"), "\n\n") {
		if i > 0 {
			out.WriteString("\n\n")
		}
		head, _, hasOutput := strings.Cut(paragraph, "\n----")
		out.WriteString(head)
		commands := slices.DeleteFunc(strings.Split(head, "\n"), func(line string) bool {
			return line == "" || strings.HasPrefix(line, "#")
		})
		if len(commands) == 0 && !hasOutput {
			continue
		}
		out.WriteString("\n----")
		for _, line := range x.run(commands) {
			out.WriteString("\n" + line)
		}
	}
	return out.String() + "\n", x.violation()
}

func (x *interaction) violation() error {
	if x.cluster == nil {
		return nil
	}
	return x.check.err
}

// difference shows the first lines that differ.
func difference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			return fmt.Sprintf("line %d\nwant: %s\ngot:  %s", i+1, strings.Join(a[i:min(len(a), i+5)], "\n      "),
				strings.Join(b[min(len(b), i):min(len(b), i+5)], "\n      "))
		}
	}
	return "more lines:\n" + strings.Join(b[len(a):], "\n")
}

// interaction interprets commands.
type interaction struct {
	*cluster
	words   []string          // those of the present command
	options map[string]string // its name=value words
}

// run executes the commands of a paragraph and returns the notes.
func (x *interaction) run(commands []string) []string {
	var notes []string
	for _, command := range commands {
		if x.violation() != nil {
			break
		}
		x.words, x.options = nil, map[string]string{}
		for _, word := range strings.Fields(command) {
			if name, value, ok := strings.Cut(word, "="); ok {
				x.options[name] = value
			} else {
				x.words = append(x.words, word)
			}
		}
		run, ok := commandTable[x.words[0]]
		if !ok {
			return append(notes, "unknown command "+x.words[0])
		}
		if err := run(x); err != nil && x.violation() == nil {
			x.notes = append(x.notes, x.words[0]+": "+err.Error())
		}
		notes = append(notes, x.notes...)
		x.notes = nil
	}
	return notes
}

// commandTable lists the commands. Those that act on a node name it first.
var commandTable map[string]func(x *interaction) error

func init() {
	commandTable = map[string]func(x *interaction) error{
		"cluster": (*interaction).runCluster, "deliver": (*interaction).runDeliver, "network": (*interaction).runNetwork,
		"settle": (*interaction).runSettle, "status": (*interaction).runStatus, "log": (*interaction).runLog,
		"tick": (*interaction).runTick, "campaign": (*interaction).runCampaign,
		"take": (*interaction).runTake, "persist": (*interaction).runPersist, "forget": (*interaction).runForget,
		"propose": (*interaction).runPropose, "config": (*interaction).runConfig,
		"crash": (*interaction).runCrash, "compact": (*interaction).runCompact,

		"start":     func(x *interaction) error { x.start(x.target()); return nil },
		"wipe":      func(x *interaction) error { x.wipe(x.target()); return nil },
		"join":      func(x *interaction) error { x.join(x.target(), x.other("from")); return nil },
		"catch-up":  func(x *interaction) error { x.catchUp(x.target(), x.other("from")); return nil },
		"step-down": func(x *interaction) error { x.target().core.StepDown(); return nil },
		"freeze":    func(x *interaction) error { x.freeze(x.target()); return nil },
		"learner":   func(x *interaction) error { x.target().core.AddLearner(x.other("of").voter()); return nil },
		"peer-up":   func(x *interaction) error { x.target().core.PeerUp(x.other("of").voter()); return nil },
		"peer-down": func(x *interaction) error { x.target().core.PeerDown(x.other("of").voter()); return nil },
		"transfer":  func(x *interaction) error { return x.target().core.Transfer(x.other("to").voter()) },
		"bump":      func(x *interaction) error { return x.target().core.ProposeBump(uint64(x.number("epoch", 2))) },
		"read": func(x *interaction) error {
			x.target().reads[uint64(x.number("context", 1))] = uint64(len(x.check.applied))
			x.target().core.ReadIndex(uint64(x.number("context", 1)))
			return nil
		},
	}
}

func (x *interaction) target() *node             { return x.node(x.words[1]) }
func (x *interaction) other(option string) *node { return x.node(x.options[option]) }

func (x *interaction) number(option string, otherwise int) int {
	if n, err := strconv.Atoi(x.options[option]); err == nil {
		return n
	}
	return otherwise
}

// cluster NAME... [voters=NAME,...] [append=BYTES] [inflight=BYTES] [mutation=NAME]
func (x *interaction) runCluster() error {
	names := x.words[1:]
	voters := names
	if list, ok := x.options["voters"]; ok {
		voters = strings.Split(list, ",")
	}
	lim := smallLimits
	lim.maxAppend, lim.inflight = x.number("append", 1000), x.number("inflight", 3000)
	x.cluster = newCluster(rand.New(rand.NewPCG(1, 1)), lim, mutationNames[x.options["mutation"]], names, voters)
	x.tracing = true
	return nil
}

// tick NAME... [by=N]
func (x *interaction) runTick() error {
	for range x.number("by", 1) {
		for _, name := range x.words[1:] {
			x.tick(x.node(name))
		}
	}
	return nil
}

// campaign NAME: its election timeout ends
func (x *interaction) runCampaign() error {
	c := x.target().core
	c.quiet = c.timeout
	x.tick(x.target())
	return nil
}

// forget NAME...: no leader is known any more, and the timeout starts afresh
func (x *interaction) runForget() error {
	for _, name := range x.words[1:] {
		c := x.node(name).core
		c.becomeFollower(c.state.Term, protocol.Voter{})
	}
	return nil
}

// take NAME...: perform effects until there are none
func (x *interaction) runTake() error {
	for _, name := range x.words[1:] {
		x.drain(x.node(name))
	}
	return nil
}

// persist NAME [writes=N]
func (x *interaction) runPersist() error {
	n := x.target()
	for range x.number("writes", len(n.writes)) {
		x.persist(n)
	}
	return nil
}

// deliver [from=NAME] [to=NAME] [type=TYPE] [drop=yes]: those in flight now
func (x *interaction) runDeliver() error {
	var chosen, others []Message
	for _, m := range x.network {
		if from, ok := x.options["from"]; ok && from != m.From.Name {
			others = append(others, m)
		} else if to, ok := x.options["to"]; ok && to != m.To.Name {
			others = append(others, m)
		} else if kind, ok := x.options["type"]; ok && kind != m.Type.String() {
			others = append(others, m)
		} else {
			chosen = append(chosen, m)
		}
	}
	x.network = others
	for i := range chosen {
		if x.options["drop"] != "" {
			x.note("lose %s", &chosen[i])
			continue
		}
		x.deliver(chosen[i])
	}
	return nil
}

// network: what is in flight
func (x *interaction) runNetwork() error {
	for i := range x.network {
		x.note("%s", &x.network[i])
	}
	return nil
}

// settle [quiet]: take, persist and deliver until nothing happens
func (x *interaction) runSettle() error {
	x.tracing = !slices.Contains(x.words, "quiet")
	x.settle()
	x.tracing = true
	return nil
}

// propose NAME TEXT [size=BYTES]
func (x *interaction) runPropose() error {
	data := []byte(x.words[2])
	if size := x.number("size", 0); size > len(data) {
		data = append(data, make([]byte, size-len(data))...)
	}
	_, err := x.target().core.Propose(data)
	return err
}

// config NAME [add=NAME] [remove=NAME]
func (x *interaction) runConfig() error {
	c := x.target().core
	configuration := c.newest().Configuration
	if name, ok := x.options["remove"]; ok {
		configuration = configuration.Without(name)
	}
	if _, ok := x.options["add"]; ok {
		configuration = configuration.With(x.other("add").voter())
	}
	if x.mutation == mutationLeap {
		c.propose(protocol.KindConfig, protocol.AppendConfiguration(nil, configuration))
		c.updatePeers()
		return nil
	}
	return c.ProposeConfiguration(configuration)
}

// crash NAME [kept=N]: the first N writes reach the disk
func (x *interaction) runCrash() error {
	x.crash(x.target(), x.number("kept", 0))
	return nil
}

// compact NAME first=INDEX
func (x *interaction) runCompact() error {
	n := x.target()
	n.disk.first = uint64(x.number("first", 1))
	n.disk.checkpoint = n.core.applied
	return nil
}

// status [NAME...]
func (x *interaction) runStatus() error {
	names := x.words[1:]
	for _, n := range x.nodes {
		if len(names) > 0 && !slices.Contains(names, n.name) {
			continue
		}
		if n.core == nil {
			x.note("%s: down", n.name)
			continue
		}
		s := n.core.Status()
		x.note("%s: %s term=%d leader=%s commit=%d release=%d applied=%d last=%d/%d durable=%d %s%s", n.name, s.Role, s.Term,
			s.Leader.Name, s.Commit, s.Release, s.Applied, s.LastMark.Term, s.Last, s.Durable, describeVoters(s.Configuration), flags(s))
		for _, p := range n.core.Progress() {
			x.note("   %s match=%d next=%d %s%s", describeVoters(protocol.NewConfiguration(p.Voter)), p.Match, p.Next,
				n.core.peer(p.Voter).mode, map[bool]string{true: " learner"}[p.Learner])
		}
	}
	return nil
}

func flags(s Status) string {
	words := ""
	for _, flag := range []struct {
		name string
		set  bool
	}{
		{"ready", s.Ready}, {"in-contact", s.InContact}, {"closed", !s.Open}, {"transferring", s.Transferring},
		{"frozen", s.Frozen}, {"pending", !s.ConfigurationCommitted},
	} {
		if flag.set {
			words += " " + flag.name
		}
	}
	return words
}

// log NAME: the whole log
func (x *interaction) runLog() error {
	n := x.target()
	entries := slices.Clone(n.disk.entries[:n.core.log.durable])
	entries, err := n.core.log.read(entries, n.core.log.durable+1, n.core.log.last()+1, 1<<20)
	x.note("%s", strings.Join(describeEntries(entries), ", "))
	return err
}
