package explore

import (
	"fmt"
	"reflect"
	"slices"
	"unsafe"

	"holdfast/mesh"
	"holdfast/node/replica"
	"holdfast/protocol"
	"holdfast/replication"
)

// As with copies, the encoding of the cores is derived from their types: every
// field counts, unless a rule below says how, or that it does not. So a field
// that is added one day makes states differ that are alike, at worst; it never
// hides a difference.

// encode appends the value at p.
type encode func(p unsafe.Pointer, e *encoder)

var encodePlans = map[reflect.Type]*encode{}

// skip is for what makes no difference.
func skip(unsafe.Pointer, *encoder) {}

// number reads an unsigned field.
func number(p unsafe.Pointer) uint64 { return *(*uint64)(p) }

// until encodes a tick in the future as how far away it is.
func until(now func(*bases) uint64) encode {
	return func(p unsafe.Pointer, e *encoder) { e.put(number(p) - min(number(p), now(&e.base))) }
}

// since encodes a tick in the past as how long what began then still lasts.
func since(now func(*bases) uint64, lasts uint64) encode {
	return func(p unsafe.Pointer, e *encoder) {
		at := number(p)
		if at == 0 {
			e.put(0)
			return
		}
		e.put(at + lasts - min(at+lasts, now(&e.base)))
	}
}

// back encodes a number of a write as how many came after it.
func back(last func(*bases) uint64) encode {
	return func(p unsafe.Pointer, e *encoder) {
		if number(p) == 0 {
			e.put(0)
			return
		}
		e.put(last(&e.base) - number(p) + 1)
	}
}

func meshNow(b *bases) uint64   { return b.meshNow }
func raftNow(b *bases) uint64   { return b.raftNow }
func raftWrite(b *bases) uint64 { return b.raftWrite }
func meshWrite(b *bases) uint64 { return b.meshWrite }
func lastWrite(b *bases) uint64 { return b.write }

func renamed(p unsafe.Pointer, e *encoder) { e.putID(number(p)) }

// patienceTicks is mesh's patience in ticks, after which it lets go of what was
// not renewed; one more, as it looks once a tick.
const patienceTicks = 4*retryTicks + 1

// fieldRules are the exceptions, by type and field. A rule for a field that does
// not exist panics when the type is met.
var fieldRules = map[string]map[string]encode{
	"node": {
		"name": skip, "index": skip, "draws": skip, "random": skip,
		"presence": skip, // encoded with the running node below
		"writes":   skip, "replica": skip, "store": skip, "aside": skip, "image": skip,
		"heard": skip, // is in its core
	},
	"Replica": {
		"options": skip, "off": skip, "out": skip, "raftEffects": skip, "meshEffects": skip, "mesh": skip, "raft": skip,
		"counter": skip, // is in local
		"lastID":  skip,
	},
	"pendingWrite": {"id": back(lastWrite), "raftID": back(raftWrite), "meshID": back(meshWrite)},
	"Local":        {"Log": skip, "Hindrance": skip},
	"mesh.Core": {
		"options": skip, "off": skip, "effects": skip, "reportAt": skip, "obstacle": skip, "told": skip, "failures": skip,
		"followed": skip, "followedIn": skip,
		"now": skip, "writeID": skip, "retryAt": until(meshNow), "stageAt": until(meshNow), "announceAt": until(meshNow),
	},
	"mesh.peer":  {"lostAt": skip, "askedAt": since(meshNow, patienceTicks), "offeredAt": since(meshNow, retryTicks)},
	"Role":       {"State": skip, "Reason": skip, "Remedy": skip, "Copied": skip, "Total": skip},
	"offer":      {"at": since(meshNow, patienceTicks)},
	"question":   {"nonce": renamed, "at": since(meshNow, retryTicks)},
	"leadership": {},
	"stage":      {"copied": skip, "total": skip, "brokenAt": since(meshNow, patienceTicks)},
	"attempt":    {"writeID": back(meshWrite), "askAt": until(meshNow), "endAt": until(meshNow)},
	"override":   {"endAt": until(meshNow)},
	"alarm":      {"text": skip, "remedy": skip, "seen": since(meshNow, patienceTicks)},
	"mesh.leadership": {
		"changedAt": since(meshNow, retryTicks), "bumpedAt": since(meshNow, retryTicks),
	},
	"replication.Core": {
		"options": skip, "off": skip, "random": skip, "out": skip, "scratch": skip, "failed": skip,
		"now": skip, "lastWrite": skip, "ownVote": back(raftWrite),
	},
	"tail":  {"log": skip, "limit": skip},
	"write": {"id": back(raftWrite)},
	"replication.leadership": {
		"since": since(raftNow, electionTicks), "transferSince": since(raftNow, electionTicks),
	},
	"replication.peer": {"heard": since(raftNow, electionTicks)},
	"Message":          {"Reason": skip},
	"mesh.Message":     {"Reason": skip, "Nonce": renamed},
}

func rulesOf(t reflect.Type) map[string]encode {
	path := t.PkgPath()
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			path = path[i+1:]
			break
		}
	}
	if rules, ok := fieldRules[path+"."+t.Name()]; ok {
		return rules
	}
	if t == reflect.TypeFor[replication.Message]() {
		return nil
	}
	return fieldRules[t.Name()]
}

// specialEncodes are types that are encoded as a whole.
var specialEncodes map[reflect.Type]encode

// The plans of what is encoded by name.
var nodePlan, storePlan, replicaPlan, meshPlan, raftPlan, messagePlan, raftMessage, writePlan *encode

func init() {
	specialEncodes = map[reflect.Type]encode{
		reflect.TypeFor[protocol.StoreID]():   renamed,
		reflect.TypeFor[protocol.AttemptID](): renamed,
		reflect.TypeFor[mesh.Status]():        func(p unsafe.Pointer, e *encoder) { e.status((*mesh.Status)(p)) },
		reflect.TypeFor[protocol.Entry]():     func(p unsafe.Pointer, e *encoder) { e.entry((*protocol.Entry)(p)) },
		reflect.TypeFor[mesh.Heard]():         heardEncode(),
		reflect.TypeFor[mesh.Trace]():         func(p unsafe.Pointer, e *encoder) { e.trace((*mesh.Trace)(p)) },
		reflect.TypeFor[replica.Frame]():      func(p unsafe.Pointer, e *encoder) { e.packet(newPacket(*(*replica.Frame)(p))) },
	}
	nodePlan = planEncode(reflect.TypeFor[node]())
	storePlan = planEncode(reflect.TypeFor[store]())
	replicaPlan = planEncode(reflect.TypeFor[replica.Replica]())
	meshPlan = planEncode(reflect.TypeFor[mesh.Core]())
	raftPlan = planEncode(reflect.TypeFor[replication.Core]())
	messagePlan = planEncode(reflect.TypeFor[mesh.Message]())
	raftMessage = planEncode(reflect.TypeFor[replication.Message]())
	writePlan = planEncode(reflect.TypeFor[protocol.Write]())
}

func planEncode(t reflect.Type) *encode {
	if plan, known := encodePlans[t]; known {
		return plan
	}
	plan := new(encode)
	encodePlans[t] = plan
	if special := specialEncodes[t]; special != nil {
		*plan = special
	} else {
		*plan = makeEncode(t)
	}
	return plan
}

func makeEncode(t reflect.Type) encode {
	switch t.Kind() {
	case reflect.Bool:
		return func(p unsafe.Pointer, e *encoder) { e.putBool(*(*bool)(p)) }
	case reflect.Uint8, reflect.Int8:
		return func(p unsafe.Pointer, e *encoder) { e.put(uint64(*(*uint8)(p))) }
	case reflect.Uint32, reflect.Int32:
		return func(p unsafe.Pointer, e *encoder) { e.put(uint64(*(*uint32)(p))) }
	case reflect.Uint64, reflect.Int64, reflect.Int, reflect.Uint:
		return func(p unsafe.Pointer, e *encoder) { e.put(number(p)) }
	case reflect.String:
		return func(p unsafe.Pointer, e *encoder) { e.putString(*(*string)(p)) }
	case reflect.Slice:
		return encodeSlice(t)
	case reflect.Struct:
		return encodeStruct(t)
	case reflect.Pointer:
		target := planEncode(t.Elem())
		return func(p unsafe.Pointer, e *encoder) {
			at := *(*unsafe.Pointer)(p)
			e.putBool(at != nil)
			if at != nil {
				(*target)(at, e)
			}
		}
	case reflect.Map:
		return encodeMap(t)
	}
	panic(fmt.Sprintf("explore: no way to encode a %s", t))
}

func encodeSlice(t reflect.Type) encode {
	element, size := planEncode(t.Elem()), t.Elem().Size()
	return func(p unsafe.Pointer, e *encoder) {
		header := *(*[]byte)(p) // right in pointer and length for every slice
		e.put(uint64(len(header)))
		at := unsafe.Pointer(unsafe.SliceData(header))
		for i := range len(header) {
			(*element)(unsafe.Add(at, uintptr(i)*size), e)
		}
	}
}

func encodeMap(t reflect.Type) encode {
	if t.Key().Kind() != reflect.String {
		panic(fmt.Sprintf("explore: no way to encode a %s", t))
	}
	element := planEncode(t.Elem())
	return func(p unsafe.Pointer, e *encoder) {
		m := reflect.NewAt(t, p).Elem()
		keys := make([]string, 0, m.Len())
		for i := m.MapRange(); i.Next(); {
			keys = append(keys, i.Key().String())
		}
		slices.Sort(keys)
		e.put(uint64(len(keys)))
		for _, key := range keys {
			e.putString(key)
			copied := reflect.New(t.Elem())
			copied.Elem().Set(m.MapIndex(reflect.ValueOf(key)))
			(*element)(copied.UnsafePointer(), e)
		}
	}
}

func encodeStruct(t reflect.Type) encode {
	if items, ok := t.FieldByName("items"); ok && t.NumField() == 2 {
		if head, ok := t.FieldByName("head"); ok {
			return encodeQueue(items, head)
		}
	}
	rules := rulesOf(t)
	for name := range rules {
		if _, ok := t.FieldByName(name); !ok {
			panic(fmt.Sprintf("explore: %s has no field %s any more", t, name))
		}
	}
	type part struct {
		offset uintptr
		plan   *encode
	}
	var parts []part
	for i := range t.NumField() {
		f := t.Field(i)
		rule, exception := rules[f.Name]
		switch {
		case exception && reflect.ValueOf(rule).Pointer() == reflect.ValueOf(encode(skip)).Pointer():
		case exception:
			parts = append(parts, part{f.Offset, &rule})
		default:
			parts = append(parts, part{f.Offset, planEncode(f.Type)})
		}
	}
	return func(p unsafe.Pointer, e *encoder) {
		for _, part := range parts {
			(*part.plan)(unsafe.Add(p, part.offset), e)
		}
	}
}

// encodeQueue is for replication's queue: what is before head is gone.
func encodeQueue(items, head reflect.StructField) encode {
	element, size := planEncode(items.Type.Elem()), items.Type.Elem().Size()
	return func(p unsafe.Pointer, e *encoder) {
		header := *(*[]byte)(unsafe.Add(p, items.Offset))
		first := *(*int)(unsafe.Add(p, head.Offset))
		e.put(uint64(len(header) - first))
		at := unsafe.Pointer(unsafe.SliceData(header))
		for i := first; i < len(header); i++ {
			(*element)(unsafe.Add(at, uintptr(i)*size), e)
		}
	}
}

// field finds an unexported field for the bases.
func field[T any](path ...string) (offset uintptr) {
	t := reflect.TypeFor[T]()
	for _, name := range path {
		f, ok := t.FieldByName(name)
		if !ok {
			panic(fmt.Sprintf("explore: %s has no field %s any more", t, name))
		}
		offset, t = offset+f.Offset, f.Type
	}
	return offset
}

var (
	offReplicaMesh = field[replica.Replica]("mesh")
	offReplicaRaft = field[replica.Replica]("raft")
	offReplicaID   = field[replica.Replica]("lastID")
	offMeshNow     = field[mesh.Core]("now")
	offMeshWrite   = field[mesh.Core]("writeID")
	offRaftNow     = field[replication.Core]("now")
	offRaftWrite   = field[replication.Core]("lastWrite")
)

// node encodes a member.
func (e *encoder) node(n *node) {
	e.store(n.store)
	e.putBool(n.aside != nil)
	if n.aside != nil {
		e.store(n.aside)
	}
	e.putBool(n.image != nil)
	if n.image != nil {
		e.store(n.image)
	}
	e.base = bases{}
	(*nodePlan)(unsafe.Pointer(n), e)
	if !n.up {
		return
	}
	e.status(&n.presence)
	r := unsafe.Pointer(n.replica)
	core := *(*unsafe.Pointer)(unsafe.Add(r, offReplicaMesh))
	raft := *(*unsafe.Pointer)(unsafe.Add(r, offReplicaRaft))
	e.base.write = number(unsafe.Add(r, offReplicaID))
	e.base.meshNow, e.base.meshWrite = number(unsafe.Add(core, offMeshNow)), number(unsafe.Add(core, offMeshWrite))
	if raft != nil {
		e.base.raftNow, e.base.raftWrite = number(unsafe.Add(raft, offRaftNow)), number(unsafe.Add(raft, offRaftWrite))
	}
	for i := range n.writes {
		e.put(e.base.write - n.writes[i].ID)
		(*writePlan)(unsafe.Pointer(n.writes[i].Write), e)
	}
	(*replicaPlan)(r, e)
	(*meshPlan)(core, e)
	e.putBool(raft != nil)
	if raft != nil {
		(*raftPlan)(raft, e)
	}
}

func (e *encoder) store(s *store) {
	e.putID(uint64(s.identity.Store))
	e.putCounter(s.identity.Store, 0, s.boot)
	boot := s.boot
	s.boot = 0
	(*storePlan)(unsafe.Pointer(s), e)
	s.boot = boot
}

func (e *encoder) packet(p *packet) {
	e.put(uint64(p.kind))
	switch p.kind {
	case packetHello:
		e.status(&p.status)
	case packetRaft:
		(*raftMessage)(unsafe.Pointer(p.raft), e)
	case packetMembership:
		(*messagePlan)(unsafe.Pointer(p.membership), e)
	}
}

func (e *encoder) status(s *mesh.Status) {
	e.putString(s.Member)
	e.putID(uint64(s.Store))
	e.lineage(s.Lineage)
	e.put(s.Epoch)
	e.put(s.Term)
	e.put(s.LastTerm)
	e.put(s.LastIndex)
	e.configuration(s.Configuration)
	e.put(s.Promise.Epoch)
	e.putID(uint64(s.Promise.ID))
	e.lineage(s.Replaced)
	e.putCounter(s.Store, 0, s.Boot)
	e.putCounter(s.Store, 1, s.Counter)
}

func (e *encoder) trace(t *mesh.Trace) {
	e.putID(uint64(t.Store))
	e.putCounter(t.Store, 0, t.Boot)
	e.putCounter(t.Store, 1, t.Counter)
	e.put(t.Promise)
	e.put(t.Term)
	e.put(t.Index)
}

// heardEncode is for what a process remembers of stores: of those that are there,
// in their order.
func heardEncode() encode {
	t := reflect.TypeFor[mesh.Heard]()
	stores := t.Field(0)
	element := stores.Type.Elem()
	for i, name := range [...]string{"latest", "before"} {
		if f := element.Field(i); t.NumField() != 1 || element.NumField() != 2 || f.Name != name || f.Type != reflect.TypeFor[mesh.Trace]() {
			panic("explore: what is heard of a store is not two traces any more")
		}
	}
	return func(p unsafe.Pointer, e *encoder) {
		heard := *(*[][2]mesh.Trace)(unsafe.Add(p, stores.Offset))
		for _, store := range e.present {
			for i := range heard {
				if heard[i][0].Store == store {
					e.trace(&heard[i][0])
					e.trace(&heard[i][1])
				}
			}
			e.put(0)
		}
	}
}

func (e *encoder) configuration(c protocol.Configuration) {
	e.put(uint64(len(c.Voters)))
	for _, v := range c.Voters {
		e.putString(v.Name)
		e.putID(uint64(v.Store))
	}
}

// entry encodes an entry with the IDs that are in its data.
func (e *encoder) entry(entry *protocol.Entry) {
	e.put(entry.Index)
	e.put(entry.Term)
	e.lineage(entry.Lineage)
	e.put(uint64(entry.Kind))
	switch entry.Kind {
	case protocol.KindConfig:
		c, _ := protocol.DecodeConfiguration(entry.Data)
		e.configuration(c)
	case protocol.KindFound:
		f, _ := protocol.DecodeFounding(entry.Data, entry.Index)
		e.put(f.Attempt.Epoch)
		e.putID(uint64(f.Attempt.ID))
		e.putString(f.Voter.Name)
		e.putID(uint64(f.Voter.Store))
	case protocol.KindBump:
		epoch, _ := protocol.DecodeEpoch(entry.Data)
		e.put(epoch)
	}
}
