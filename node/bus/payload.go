package bus

import (
	"fmt"
	"reflect"
	"sync/atomic"
	"unsafe"

	"github.com/nats-io/nats-server/v2/server"
)

// maxOutboundPayload is the most that header and payload of one message to the
// server may have together: an answer that carries a message of 64 MiB, the
// largest that NATS allows, in base64, and then some.
const maxOutboundPayload = 96 << 20

// unlimit lifts the server's max_payload from one of its leaf connections.
//
// What a stream holds may be as large as max_payload, and an answer that carries
// it is larger: by the headers that describe the message, or by base64. The
// NATS server answers such requests through clients inside of it that have no
// limit, and receivers take it, because max_payload binds only those who
// publish. A leaf is bound by it, and no method of the server changes that; the
// number itself is atomic and may be stored at any time.
func unlimit(client any) error {
	const noLimit = -1
	field := reflect.ValueOf(client)
	if field.Kind() == reflect.Pointer {
		field = field.Elem()
	}
	if field.Kind() == reflect.Struct {
		field = field.FieldByName("mpay")
	}
	if !field.IsValid() || field.Kind() != reflect.Int32 || !field.CanAddr() {
		return fmt.Errorf("the server %s keeps the payload limit of a connection elsewhere; this version of the server cannot be used", server.VERSION)
	}
	atomic.StoreInt32((*int32)(unsafe.Pointer(field.UnsafeAddr())), noLimit)
	return nil
}
