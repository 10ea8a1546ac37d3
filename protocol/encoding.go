package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is wrapped by every decoding error of this package.
var ErrMalformed = errors.New("malformed")

// ErrNewerFormat is wrapped by the error about data that a newer release of this
// program has made. Nothing is wrong with the data, so it must not be given up; only
// that release, or a later one, can go on with it.
var ErrNewerFormat = errors.New("newer format")

// CheckVersion compares the version that data begins with to the one that this
// program reads and writes. No release has written an older one yet; the first that
// changes a format has to go on reading what was there before.
func CheckVersion(what string, found, known byte) error {
	switch {
	case found > known:
		return fmt.Errorf("%w: %s has version %d, this program knows up to %d: run a newer release of holdfast", ErrNewerFormat, what, found, known)
	case found < known:
		return fmt.Errorf("%s has version %d, which no release has written: %w", what, found, ErrMalformed)
	}
	return nil
}

// MinFoundingBytes is the least that AppendFounding appends.
const MinFoundingBytes = 8 + 8 + 1 + 8 + 3

// maxLossBytes bounds each list of names of a Loss.
const maxLossBytes = 16 << 10

// MaxNameBytes bounds a member's name.
const MaxNameBytes = 64

// maxConfigurationVoters bounds what a decoder accepts.
const maxConfigurationVoters = 1024

// AppendConfiguration appends the data of a KindConfig entry to dst.
func AppendConfiguration(dst []byte, c Configuration) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(c.Voters)))
	for _, v := range c.Voters {
		dst = AppendVoter(dst, v)
	}
	return dst
}

// AppendVoter appends a voter to dst.
func AppendVoter(dst []byte, v Voter) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(v.Name)))
	dst = append(dst, v.Name...)
	return binary.LittleEndian.AppendUint64(dst, uint64(v.Store))
}

// AppendFounding appends the data of a KindFound entry to dst. The index is not
// part of it: it is that of the entry.
func AppendFounding(dst []byte, f Founding) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, f.Attempt.Epoch)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(f.Attempt.ID))
	dst = AppendVoter(dst, f.Voter)
	for _, names := range [...]string{f.Loss.Held, f.Loss.SetAside, f.Loss.Absent} {
		names = names[:min(len(names), maxLossBytes)]
		dst = binary.AppendUvarint(dst, uint64(len(names)))
		dst = append(dst, names...)
	}
	return dst
}

// AppendEpoch appends the data of a KindBump entry to dst.
func AppendEpoch(dst []byte, epoch uint64) []byte {
	return binary.LittleEndian.AppendUint64(dst, epoch)
}

// DecodeConfiguration reads the data of a KindConfig entry.
func DecodeConfiguration(data []byte) (Configuration, error) {
	r := Reader{Rest: data}
	c := r.Configuration()
	return c, r.Done("configuration")
}

// DecodeFounding reads the data of a KindFound entry that stands at index.
func DecodeFounding(data []byte, index uint64) (Founding, error) {
	r := Reader{Rest: data}
	f := r.Founding(index)
	return f, r.Done("founding")
}

// DecodeEpoch reads the data of a KindBump entry.
func DecodeEpoch(data []byte) (uint64, error) {
	r := Reader{Rest: data}
	epoch := r.Uint64()
	return epoch, r.Done("epoch")
}

// Reader takes values off the front of Rest. After the first value that does
// not fit, every further one is zero and Done reports the failure, so that a
// decoder can read a whole structure and check once.
type Reader struct {
	Rest []byte
	bad  bool
}

// Failed reports whether a value did not fit.
func (r *Reader) Failed() bool { return r.bad }

// Fail marks the input as malformed.
func (r *Reader) Fail() {
	r.bad = true
	r.Rest = nil
}

// Done returns an error that names what was read unless every value fitted and
// nothing is left.
func (r *Reader) Done(what string) error {
	if r.bad || len(r.Rest) != 0 {
		return fmt.Errorf("decode %s: %w", what, ErrMalformed)
	}
	return nil
}

// Byte takes one byte.
func (r *Reader) Byte() byte {
	if len(r.Rest) < 1 {
		r.Fail()
		return 0
	}
	b := r.Rest[0]
	r.Rest = r.Rest[1:]
	return b
}

// Uint32 takes a little-endian number.
func (r *Reader) Uint32() uint32 {
	if len(r.Rest) < 4 {
		r.Fail()
		return 0
	}
	n := binary.LittleEndian.Uint32(r.Rest)
	r.Rest = r.Rest[4:]
	return n
}

// Uint64 takes a little-endian number.
func (r *Reader) Uint64() uint64 {
	if len(r.Rest) < 8 {
		r.Fail()
		return 0
	}
	n := binary.LittleEndian.Uint64(r.Rest)
	r.Rest = r.Rest[8:]
	return n
}

// Uvarint takes a variable-length number.
func (r *Reader) Uvarint() uint64 {
	n, size := binary.Uvarint(r.Rest)
	if size <= 0 {
		r.Fail()
		return 0
	}
	r.Rest = r.Rest[size:]
	return n
}

// Bytes takes n bytes; the result shares memory with the input.
func (r *Reader) Bytes(n uint64) []byte {
	if n > uint64(len(r.Rest)) {
		r.Fail()
		return nil
	}
	b := r.Rest[:n:n]
	r.Rest = r.Rest[n:]
	return b
}

// Voter takes a voter.
func (r *Reader) Voter() Voter {
	size := r.Uvarint()
	if size > MaxNameBytes {
		r.Fail()
		return Voter{}
	}
	name := string(r.Bytes(size))
	return Voter{Name: name, Store: StoreID(r.Uint64())}
}

// Founding takes what AppendFounding appended; index is that of the entry.
func (r *Reader) Founding(index uint64) Founding {
	f := Founding{Attempt: Attempt{Epoch: r.Uint64(), ID: AttemptID(r.Uint64())}, Index: index, Voter: r.Voter()}
	for _, names := range [...]*string{&f.Loss.Held, &f.Loss.SetAside, &f.Loss.Absent} {
		size := r.Uvarint()
		if size > maxLossBytes {
			r.Fail()
			return Founding{}
		}
		*names = string(r.Bytes(size))
	}
	return f
}

// Configuration takes a configuration; its voters must be in order.
func (r *Reader) Configuration() Configuration {
	count := r.Uvarint()
	if count > maxConfigurationVoters {
		r.Fail()
		return Configuration{}
	}
	var c Configuration
	for range count {
		v := r.Voter()
		if n := len(c.Voters); n > 0 && c.Voters[n-1].Name >= v.Name {
			r.Fail()
		}
		if r.bad {
			return Configuration{}
		}
		c.Voters = append(c.Voters, v)
	}
	return c
}
