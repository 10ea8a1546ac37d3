package mesh

import (
	"strings"
	"testing"
)

// Who runs two releases that do not understand each other is told so.
func TestOtherVersionsAreTold(t *testing.T) {
	status := AppendStatus(nil, &Status{})
	message := AppendMessage(nil, &Message{Type: TypeStatus})
	status[0], message[0] = encodingVersion+1, encodingVersion-1
	_, err1 := DecodeStatus(status)
	_, err2 := DecodeMessage(message)
	for _, err := range []error{err1, err2} {
		if err == nil || !strings.Contains(err.Error(), "run the same release of holdfast on every node") {
			t.Errorf("got %v", err)
		}
	}
}
