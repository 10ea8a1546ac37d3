package main

import (
	"encoding/hex"
	"hash/fnv"
	"strings"
)

// payloadSize is about how long the payload of a message is.
const payloadSize = 200

// payload is what is published for an ID: the rest follows from the ID, so that
// whoever reads it sees that it is what was sent.
func payload(id string) []byte {
	h := fnv.New64a()
	h.Write([]byte(id)) // never fails
	return []byte(id + " " + strings.Repeat(hex.EncodeToString(h.Sum(nil)), payloadSize/16))
}

// idOf is the ID of a payload; of one that nobody sent, what is there instead.
func idOf(data []byte) string {
	id, _, _ := strings.Cut(string(data), " ")
	if string(payload(id)) != string(data) {
		return "damaged: " + string(data[:min(len(data), 60)])
	}
	return id
}
