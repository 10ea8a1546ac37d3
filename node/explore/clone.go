package explore

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"unsafe"

	"holdfast/protocol"
)

// The cores are made to be driven, not to be copied, and nothing but an explorer
// wants to copy them. So they have no Clone that would have to be kept in step
// with every new field, where one forgotten field would make this check unsound
// without a word. Instead a copy is derived from the types themselves: every
// field that there is, also the unexported ones, is copied by its kind. What the
// derivation does not know makes it panic.

// deepen makes a shallow copy at p a deep one.
type deepen func(p unsafe.Pointer, c *copying)

// copying is one copy on its way.
type copying struct {
	draws  *draws     // of the copy
	random *rand.Rand // over draws
	from   []unsafe.Pointer
	to     []unsafe.Pointer
}

var (
	deepenPlans = map[reflect.Type]*deepen{}
	randomType  = reflect.TypeFor[*rand.Rand]()
	drawsType   = reflect.TypeFor[*draws]()
	storeType   = reflect.TypeFor[*store]()
	storeDeepen deepen
)

// immutable are types whose values are never changed in place once made, so that
// copies may share what they point to.
var immutable = map[reflect.Type]bool{
	reflect.TypeFor[protocol.Entry]():         true,
	reflect.TypeFor[protocol.Configuration](): true,
	reflect.TypeFor[*protocol.Write]():        true,
	reflect.TypeFor[*protocol.Checkpoint]():   true,
	reflect.TypeFor[error]():                  true,
}

// cloneNode copies a node with all that it consists of.
func cloneNode(n *node) *node {
	c := &copying{draws: &draws{member: n.draws.member, next: n.draws.next}}
	c.random = rand.New(c.draws)
	copied := new(node)
	*copied = *n
	if plan := planDeepen(reflect.TypeFor[node]()); plan != nil {
		plan(unsafe.Pointer(copied), c)
	}
	return copied
}

func planDeepen(t reflect.Type) deepen {
	if immutable[t] {
		return nil
	}
	if plan, known := deepenPlans[t]; known {
		if *plan == nil && pointing(t) {
			// In the making, for a type that contains itself: look it up later.
			return func(p unsafe.Pointer, c *copying) { (*deepenPlans[t])(p, c) }
		}
		return *plan
	}
	slot := new(deepen)
	deepenPlans[t] = slot
	*slot = makeDeepen(t)
	return *slot
}

func pointing(t reflect.Type) bool { return t.Kind() == reflect.Pointer }

func makeDeepen(t reflect.Type) deepen {
	switch {
	case t == randomType:
		return func(p unsafe.Pointer, c *copying) { *(**rand.Rand)(p) = c.random }
	case t == drawsType:
		return func(p unsafe.Pointer, c *copying) { *(**draws)(p) = c.draws }
	}
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return nil
	case reflect.Func: // no closures: what it works on is handed to it
		return nil
	case reflect.Slice:
		return deepenSlice(t)
	case reflect.Array:
		return deepenArray(t)
	case reflect.Struct:
		return deepenStruct(t)
	case reflect.Pointer:
		return deepenPointer(t)
	case reflect.Map:
		return deepenMap(t)
	case reflect.Interface:
		return deepenInterface(t)
	}
	panic(fmt.Sprintf("explore: no way to copy a %s", t))
}

// deepenSlice copies the elements. Bytes are shared: encoded data is never
// changed. An empty slice loses its memory, which two copies would both append to.
func deepenSlice(t reflect.Type) deepen {
	bytes := t.Elem().Kind() == reflect.Uint8
	element, size := planDeepen(t.Elem()), t.Elem().Size()
	return func(p unsafe.Pointer, c *copying) {
		v := reflect.NewAt(t, p).Elem()
		n := v.Len()
		switch {
		case n == 0:
			v.SetZero()
			return
		case bytes:
			v.SetCap(n)
			return
		}
		fresh := reflect.MakeSlice(t, n, n)
		reflect.Copy(fresh, v)
		v.Set(fresh)
		if element == nil {
			return
		}
		at := fresh.UnsafePointer()
		for i := range n {
			element(unsafe.Add(at, uintptr(i)*size), c)
		}
	}
}

func deepenArray(t reflect.Type) deepen {
	element, size := planDeepen(t.Elem()), t.Elem().Size()
	if element == nil {
		return nil
	}
	return func(p unsafe.Pointer, c *copying) {
		for i := range t.Len() {
			element(unsafe.Add(p, uintptr(i)*size), c)
		}
	}
}

func deepenStruct(t reflect.Type) deepen {
	type part struct {
		offset uintptr
		deepen deepen
	}
	var parts []part
	for i := range t.NumField() {
		f := t.Field(i)
		if plan := planDeepen(f.Type); plan != nil {
			parts = append(parts, part{f.Offset, plan})
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return func(p unsafe.Pointer, c *copying) {
		for _, part := range parts {
			part.deepen(unsafe.Add(p, part.offset), c)
		}
	}
}

// deepenPointer copies what is pointed to, once: two pointers to one thing stay
// two pointers to one thing.
func deepenPointer(t reflect.Type) deepen {
	var target deepen
	planned := false
	return func(p unsafe.Pointer, c *copying) {
		if !planned {
			target, planned = planDeepen(t.Elem()), true
		}
		old := *(*unsafe.Pointer)(p)
		if old == nil {
			return
		}
		for i, from := range c.from {
			if from == old {
				*(*unsafe.Pointer)(p) = c.to[i]
				return
			}
		}
		fresh := reflect.New(t.Elem())
		fresh.Elem().Set(reflect.NewAt(t.Elem(), old).Elem())
		at := fresh.UnsafePointer()
		c.from, c.to = append(c.from, old), append(c.to, at)
		*(*unsafe.Pointer)(p) = at
		if target != nil {
			target(at, c)
		}
	}
}

func deepenMap(t reflect.Type) deepen {
	if planDeepen(t.Key()) != nil || planDeepen(t.Elem()) != nil {
		panic(fmt.Sprintf("explore: no way to copy a %s", t))
	}
	return func(p unsafe.Pointer, _ *copying) {
		v := reflect.NewAt(t, p).Elem()
		if v.IsNil() {
			return
		}
		fresh := reflect.MakeMapWithSize(t, v.Len())
		for i := v.MapRange(); i.Next(); {
			fresh.SetMapIndex(i.Key(), i.Value())
		}
		v.Set(fresh)
	}
}

// deepenInterface knows one thing that the cores see through an interface: the
// store over which they were made.
func deepenInterface(t reflect.Type) deepen {
	if storeDeepen == nil {
		storeDeepen = deepenPointer(storeType)
	}
	return func(p unsafe.Pointer, c *copying) {
		v := reflect.NewAt(t, p).Elem()
		if v.IsNil() {
			return
		}
		inside, ok := v.Interface().(*store)
		if !ok {
			panic(fmt.Sprintf("explore: no way to copy the %T in a %s", v.Interface(), t))
		}
		at := unsafe.Pointer(inside)
		storeDeepen(unsafe.Pointer(&at), c)
		v.Set(reflect.ValueOf((*store)(at)))
	}
}
