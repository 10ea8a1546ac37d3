package jetstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

const (
	// restorePatience is how long a restore waits for the next chunk.
	restorePatience = int64(5 * time.Second)
	// logPatience is how long it waits for the log.
	logPatience = int64(30 * time.Second)
	// maxRestoreFlying bounds what a restore has proposed and not seen applied:
	// chunks are not acknowledged while there is more.
	maxRestoreFlying = 4 << 20
	// maxRestorePending bounds what a client sends without waiting for that.
	maxRestorePending = 32 << 20
	// maxConsumerBackups bounds the descriptions of consumers, which are kept until
	// the messages are there.
	maxConsumerBackups = 64 << 20
)

// restore is a backup on its way into a new stream (machine.Batch.BeginIntake).
// Until all of it is there, nobody sees the stream; when it ends before, or the
// leader changes, nothing is left of it.
type restore struct {
	name    string
	subject string // where the chunks come
	config  *server.StreamConfig
	begun   time.Time
	client  *server.ClientInfo

	frames  frames
	entries entries
	state   *server.StreamState // of the stream that was backed up; nil until it was read
	left    int                 // consumers that are still to come
	whole   bool                // the last entry was read
	ended   bool                // the client has sent everything

	stream    *machine.Stream // nil until it is there
	consumers []*machine.ConsumerBackup
	kept      int // bytes of consumers
	previous  uint64
	flying    int // proposals
	bytes     int // of these
	closing   bool

	replies [][]byte // of chunks that were not acknowledged
	final   []byte   // where the outcome is told
	total   int64
	moved   int64
	err     error
	given   bool // up: what came of it is being removed
	done    bool
}

// streamRestore begins a restore.
func (d *Door) streamRestore(r *request) any {
	resp := &server.JSApiStreamRestoreResponse{ApiResponse: responseOf(server.JSApiStreamRestoreResponseType)}
	config, apiErr := d.restoreRequest(r)
	if apiErr != nil {
		resp.Error = apiErr
		return resp
	}
	rs := &restore{
		name: config.Name, config: config, begun: d.time(), client: clientOf(r.header), moved: d.node.Now(),
		subject: restoreChunks + config.Name + "." + d.randomName(identifierSize),
	}
	d.transfers.restores = append(d.transfers.restores, rs)
	d.logger.Info("restoring a stream", "stream", config.Name)
	d.emit(server.JSAdvisoryStreamRestoreCreatePre+"."+rs.name, func() any {
		return server.JSRestoreCreateAdvisory{TypedEvent: d.typed(server.JSRestoreCreateAdvisoryType), Stream: rs.name, Client: rs.client, Domain: d.options.Domain}
	})
	resp.DeliverSubject = rs.subject
	return resp
}

// restoreRequest reads the configuration that the stream is to have.
func (d *Door) restoreRequest(r *request) (*server.StreamConfig, *server.ApiError) {
	if requiresHigherLevel(r.header) {
		return nil, server.NewJSRequiredApiLevelError()
	}
	if isEmpty(r.payload) {
		return nil, server.NewJSBadRequestError()
	}
	var body server.JSApiStreamRestoreRequest
	if err := decode(r.payload, &body); err != nil {
		return nil, server.NewJSInvalidJSONError(err)
	}
	name := r.args[0]
	if body.Config.Name == "" {
		body.Config.Name = name
	}
	switch {
	case body.Config.Name != name:
		return nil, server.NewJSStreamMismatchError()
	case strings.ContainsAny(name, `\/`):
		return nil, server.NewJSStreamNameContainsPathSeparatorsError()
	}
	body.Config.Metadata = streamLevel(&body.Config)
	config, apiErr := machine.NormalizeStream(&body.Config, d.options.Limits, false)
	if apiErr != nil {
		return nil, apiErr
	}
	taken := d.machine.Stream(name) != nil
	for _, other := range d.transfers.restores {
		taken = taken || other.name == name
	}
	switch {
	case taken:
		return nil, server.NewJSStreamNameExistRestoreFailedError()
	case len(d.transfers.restores) >= maxBackups:
		return nil, server.NewJSStreamRestoreError(fmt.Errorf("%d other restores are under way, try again later", maxBackups))
	}
	return config, nil
}

// handleSnapshot takes what belongs to a backup or a restore.
func (d *Door) handleSnapshot(m *Message) {
	subject := string(m.Subject)
	if strings.HasPrefix(subject, backupAcks) {
		d.acknowledged(m.Subject)
		return
	}
	for _, rs := range d.transfers.restores {
		if rs.subject == subject {
			d.restoreChunk(rs, m)
			return
		}
	}
	d.sendNoResponders(m.Reply, m.Subject)
}

// restoreChunk takes the next piece of a backup; an empty one says that there is
// no more.
func (d *Door) restoreChunk(rs *restore, m *Message) {
	rs.moved = d.node.Now()
	if len(m.Reply) == 0 {
		rs.fail(fmt.Errorf("restore for stream '%s > %s' requires reply subject for each chunk", d.accountName(), rs.name))
		return
	}
	if len(m.Payload) == 0 {
		rs.ended, rs.final = true, bytes.Clone(m.Reply)
		return
	}
	rs.replies = append(rs.replies, bytes.Clone(m.Reply))
	rs.total += int64(len(m.Payload))
	if rs.whole || rs.err != nil {
		return // behind the end
	}
	if len(rs.frames.pending)+len(m.Payload) > maxRestorePending {
		rs.fail(errors.New("the client sends chunks without waiting for answers"))
		return
	}
	rs.frames.pending = append(rs.frames.pending, m.Payload...)
}

// fail ends the restore, with the first cause.
func (rs *restore) fail(err error) {
	if rs.err == nil {
		rs.err = err
	}
}

// continueRestores goes on with the restores under way.
func (d *Door) continueRestores() {
	if len(d.transfers.restores) == 0 {
		return
	}
	now := d.node.Now()
	under := d.transfers.restores[:0]
	for _, rs := range d.transfers.restores {
		if !d.continueRestore(rs, now) {
			under = append(under, rs)
		}
	}
	clear(d.transfers.restores[len(under):])
	d.transfers.restores = under
}

// continueRestore reports whether the restore has ended.
func (d *Door) continueRestore(rs *restore, now int64) bool {
	for rs.err == nil && !rs.whole && rs.bytes < maxRestoreFlying && d.batches.queued < d.options.MaxQueued/2 {
		if !d.restoreEntries(rs) {
			break
		}
	}
	patience := restorePatience
	if rs.flying > 0 {
		patience = logPatience
	}
	switch {
	case rs.done:
		return true
	case rs.err != nil:
		d.undo(rs)
		if len(rs.replies) == 0 && rs.final == nil && now-rs.moved <= patience {
			return false // the next chunk is answered with it
		}
		d.abandon(rs)
		return true
	case now-rs.moved > patience:
		rs.fail(fmt.Errorf("restore for stream '%s > %s' is stalled", d.accountName(), rs.name))
		d.abandon(rs)
		return true
	case rs.ended && !rs.whole && !rs.waits() && rs.bytes < maxRestoreFlying && !rs.frames.whole():
		rs.fail(errors.New("unexpected EOF"))
		d.abandon(rs)
		return true
	case rs.ended && rs.whole && rs.flying == 0 && !rs.closing:
		d.finishRestore(rs)
	}
	if !rs.frames.whole() && rs.bytes < maxRestoreFlying {
		d.answerChunks(rs)
	}
	return false
}

// answerChunks acknowledges the chunks that were taken in.
func (d *Door) answerChunks(rs *restore) {
	for _, reply := range rs.replies {
		d.bus.Publish(reply, nil, nil, nil)
	}
	rs.replies = rs.replies[:0]
}

// waits reports whether the stream is on its way through the log. What was read
// behind its description is kept until it is there.
func (rs *restore) waits() bool { return rs.state != nil && rs.stream == nil }

// restoreEntries takes in what is there, up to the next frame; false when more
// has to come, or to be applied, first.
func (d *Door) restoreEntries(rs *restore) bool {
	var e entry
	for !rs.waits() {
		got, err := rs.entries.next(&e, d.options.MaxPayload)
		if err != nil {
			rs.fail(err)
			return false
		}
		if !got {
			break
		}
		if err := d.restoreEntry(rs, &e); err != nil || rs.whole {
			if err != nil {
				rs.fail(err)
			}
			return false
		}
		if rs.bytes >= maxRestoreFlying {
			return false
		}
	}
	if rs.waits() {
		return false
	}
	content, err := rs.frames.next()
	if err != nil {
		rs.fail(err)
		return false
	}
	if content == nil {
		return false
	}
	rs.entries.add(content)
	return true
}

// restoreEntry takes one entry.
func (d *Door) restoreEntry(rs *restore, e *entry) error {
	switch {
	case rs.state == nil:
		return d.restoreState(rs, e)
	case rs.left > 0:
		return rs.restoreConsumer(e)
	case e.isEnd():
		rs.whole = true
		return nil
	case e.seq == 0:
		return errors.New("expected message sequence")
	case e.seq <= rs.previous:
		return fmt.Errorf("message sequence %d out of order", e.seq)
	}
	size := len(e.header) + len(e.payload)
	if limit := int(rs.config.MaxMsgSize); limit >= 0 && size > limit {
		return fmt.Errorf("message sequence %d exceeds maximum message size", e.seq)
	}
	if len(e.name) == 0 {
		return fmt.Errorf("message sequence %d has no subject", e.seq)
	}
	origin := machine.Origin{Previous: rs.previous, Seq: e.seq, Stamp: e.stamp}
	if rs.config.AllowMsgSchedules {
		if due, flaw, is := d.zones.scheduled(e.header, e.stamp, d.nextStamp(d.node.Now())); is && flaw == machine.ScheduleFine {
			origin.Said, origin.SaidA = machine.PrefaceSchedule, uint64(due)
		}
	}
	size += len(e.name) + 3*commandOverhead
	d.room(size)
	d.batches.builder.StoreFrom(rs.stream.Incarnation(), &origin, e.name, e.header, e.payload)
	for range origin.Slots() - 1 {
		d.batches.wait(waiter{})
	}
	d.proposeRestored(rs, size, nil)
	rs.previous = e.seq
	return nil
}

// restoreState takes the description of the stream, and asks for a new one.
func (d *Door) restoreState(rs *restore, e *entry) error {
	if string(e.name) != "state.json" {
		return errors.New("expected state.json first")
	}
	var state server.StreamState
	if err := json.Unmarshal(e.payload, &state); err != nil {
		return fmt.Errorf("error in state.json: %w", err)
	}
	if err := checkRestored(&state); err != nil {
		return err
	}
	rs.state, rs.left = &state, state.Consumers
	rs.previous = state.FirstSeq - min(state.FirstSeq, 1)
	d.room(commandOverhead)
	d.batches.builder.BeginIntake(rs.config, state.FirstSeq)
	d.proposeRestored(rs, 0, func(result *machine.Result) {
		if rs.stream = result.Stream; rs.given {
			d.dropIntake(rs.stream) // given up in the meantime
		}
	})
	return nil
}

func checkRestored(state *server.StreamState) error {
	switch {
	case state.Consumers < 0:
		return errors.New("invalid stream state: negative consumer count")
	case state.FirstSeq == 0 && (state.LastSeq != 0 || state.Msgs != 0),
		state.FirstSeq > state.LastSeq && (state.FirstSeq-1 != state.LastSeq && state.FirstSeq > 0 || state.Msgs != 0):
		return errors.New("invalid stream state: inconsistent message count or sequence range")
	case state.FirstSeq > 0 && state.FirstSeq <= state.LastSeq && state.Msgs > state.LastSeq-state.FirstSeq+1:
		return errors.New("invalid stream state: message count exceeds sequence range")
	}
	return nil
}

func (rs *restore) restoreConsumer(e *entry) error {
	name, found := strings.CutPrefix(string(e.name), "consumers/")
	if !found {
		return fmt.Errorf("expected consumer, found %q", e.name)
	}
	if rs.kept += len(e.payload); rs.kept > maxConsumerBackups {
		return fmt.Errorf("the states of the consumers have more than %d bytes", maxConsumerBackups)
	}
	var backup machine.ConsumerBackup
	if err := json.Unmarshal(e.payload, &backup); err != nil {
		return fmt.Errorf("failed to decode consumer %q state: %w", name, err)
	}
	switch {
	case backup.Config == nil:
		return fmt.Errorf("consumer %q is missing config", name)
	case backup.State == nil:
		return fmt.Errorf("consumer %q is missing state", name)
	}
	if backup.Config.Name == "" {
		backup.Config.Name = name
	}
	rs.consumers = append(rs.consumers, &backup)
	rs.left--
	return nil
}

// proposeRestored notes that a command of the restore was added to the batch.
func (d *Door) proposeRestored(rs *restore, size int, then func(*machine.Result)) {
	rs.flying++
	rs.bytes += size
	d.batches.waitForCall(waitCall, call{complete: func(d *Door, result *machine.Result) any {
		rs.flying--
		rs.bytes -= size
		rs.moved = d.node.Now()
		if result.Err != nil {
			rs.fail(result.Err)
		} else if then != nil {
			then(result)
		}
		return nil
	}})
}

// finishRestore makes the consumers, and then the stream one like any other.
func (d *Door) finishRestore(rs *restore) {
	rs.closing = true
	for _, backup := range rs.consumers {
		config, apiErr := machine.NormalizeConsumer(backup.Config, rs.config, d.options.Limits, false)
		if apiErr != nil {
			rs.fail(fmt.Errorf("failed to add consumer %q: %w", backup.Config.Name, apiErr))
			return
		}
		d.room(commandOverhead)
		d.batches.builder.TakeConsumer(rs.stream.Incarnation(), &machine.ConsumerBackup{Config: config, State: backup.State})
		d.proposeRestored(rs, 0, nil)
	}
	d.room(commandOverhead)
	d.batches.builder.EndIntake(rs.stream.Incarnation(), rs.state.LastSeq)
	d.proposeRestored(rs, 0, func(*machine.Result) { d.restored(rs) })
}

// restored tells the client that the stream is there.
func (d *Door) restored(rs *restore) {
	if rs.err != nil {
		return // a consumer was refused: the stream goes again
	}
	rs.done = true
	d.logger.Info("stream restored", "stream", rs.name, "bytes", rs.total)
	resp := &server.JSApiStreamCreateResponse{ApiResponse: responseOf(server.JSApiStreamCreateResponseType), StreamInfo: d.describeStream(rs.stream)}
	d.endRestore(rs, resp)
}

// undo removes what came of a restore.
func (d *Door) undo(rs *restore) {
	if rs.given {
		return
	}
	rs.given = true
	d.logger.Warn("stream not restored", "stream", rs.name, "bytes", rs.total, "cause", rs.err)
	if rs.stream != nil {
		d.dropIntake(rs.stream)
	}
}

// abandon gives a restore up and tells the client.
func (d *Door) abandon(rs *restore) {
	d.undo(rs)
	rs.done = true
	resp := &server.JSApiStreamCreateResponse{ApiResponse: responseOf(server.JSApiStreamCreateResponseType)}
	resp.Error = server.NewJSStreamRestoreError(rs.err, server.Unless(rs.err))
	d.endRestore(rs, resp)
}

func (d *Door) dropIntake(s *machine.Stream) {
	d.room(commandOverhead)
	d.batches.builder.DeleteStream(s.Incarnation())
	d.batches.wait(waiter{})
}

// endRestore tells the client of the outcome: of a failure at once.
func (d *Door) endRestore(rs *restore, resp any) {
	if rs.err == nil {
		d.answerChunks(rs)
	}
	for _, reply := range append(rs.replies, rs.final) {
		d.answer(&request{reply: reply, subject: rs.subject}, resp)
	}
	rs.replies = nil
	d.emit(server.JSAdvisoryStreamRestoreCompletePre+"."+rs.name, func() any {
		return server.JSRestoreCompleteAdvisory{
			TypedEvent: d.typed(server.JSRestoreCompleteAdvisoryType), Stream: rs.name,
			Start: rs.begun, End: d.time(), Bytes: rs.total, Client: rs.client, Domain: d.options.Domain,
		}
	})
}

// dropIntakes gives up what an earlier leader has begun to restore.
func (d *Door) dropIntakes() {
	for _, s := range d.machine.Intakes() {
		d.logger.Warn("a stream that was being restored under another leader is given up: restore it again", "stream", s.Name())
		d.dropIntake(s)
	}
}
