// Package record is what a volume's record says of a delivery besides the
// body: everything that its rows need, so that they can be made again from
// the volumes alone.
//
// Numbers are varints, signed ones zigzag; a string is its length and its
// bytes:
//
//	version 2, blob, received, sent, thread, due, trace, count of targets;
//	each target: account, mailbox, uid, email, modseq, flags, size,
//	how many bytes at its end the prefix shares with the last one, the rest
package record

import (
	"encoding/binary"
	"time"

	"postrider/internal/mail"
)

// A Meta is what the rows of one delivery need.
type Meta struct {
	Blob     mail.BlobID
	Received time.Time
	Sent     int64 // seconds since 1970; 0 when unknown
	Thread   int64
	Due      time.Time // when targets without UID get the message; zero is at once
	Trace    []byte    // in the form of its row; may be empty
	Targets  []Target
}

// A Target is a message in a mailbox, or one that was promised to it but has
// no place there yet; then UID and ModSeq are 0.
type Target struct {
	Account mail.AccountID
	Mailbox mail.MailboxID
	UID     mail.UID
	Email   mail.EmailID
	ModSeq  mail.ModSeq
	Flags   mail.Flags
	Size    int64 // bytes of prefix and body
	Prefix  []byte
}

const version = 2

// maxPrefixes bounds what the prefixes of one record may take in memory, in
// bytes: 100 000 recipients, each with a usual one.
const maxPrefixes = 128 << 20

// Append adds the record's form of m to b.
func (m *Meta) Append(b []byte) []byte {
	b = append(b, version)
	b = binary.AppendVarint(b, int64(m.Blob))
	b = binary.AppendVarint(b, m.Received.UnixMicro())
	b = binary.AppendVarint(b, m.Sent)
	b = binary.AppendVarint(b, m.Thread)
	due := int64(0)
	if !m.Due.IsZero() {
		due = m.Due.UnixMicro()
	}
	b = binary.AppendVarint(b, due)
	b = appendBytes(b, m.Trace)
	b = binary.AppendUvarint(b, uint64(len(m.Targets)))
	var last []byte
	for i := range m.Targets {
		t := &m.Targets[i]
		b = binary.AppendVarint(b, int64(t.Account))
		b = binary.AppendVarint(b, int64(t.Mailbox))
		b = binary.AppendUvarint(b, uint64(t.UID))
		b = binary.AppendVarint(b, int64(t.Email))
		b = binary.AppendVarint(b, int64(t.ModSeq))
		b = binary.AppendUvarint(b, uint64(t.Flags))
		b = binary.AppendVarint(b, t.Size)
		same := common(last, t.Prefix)
		b = binary.AppendUvarint(b, uint64(same))
		b = appendBytes(b, t.Prefix[:len(t.Prefix)-same])
		last = t.Prefix
	}
	return b
}

// common is how many bytes at their ends a and b share.
func common(a, b []byte) int {
	n := 0
	for n < min(len(a), len(b)) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}

func appendBytes(b, s []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errBroken = mail.Errorf(mail.Damaged, "what a record says of its delivery is broken")

// A reader decodes with a sticky error.
type reader struct {
	b        []byte
	err      error
	prefixes int // bytes of those that are not part of b
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	r.skip(n)
	return v
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	r.skip(n)
	return v
}

func (r *reader) skip(n int) {
	if n <= 0 {
		r.err, r.b = errBroken, nil
		return
	}
	r.b = r.b[n:]
}

func (r *reader) bytes() []byte {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.err, r.b = errBroken, nil
		return nil
	}
	s := r.b[:n:n]
	r.b = r.b[n:]
	return s
}

// Parse decodes what Append made; it keeps no part of b. The error is of kind
// Damaged.
func Parse(b []byte) (*Meta, error) {
	if len(b) == 0 || b[0] != version {
		return nil, errBroken
	}
	r := &reader{b: append([]byte(nil), b[1:]...)}
	m := &Meta{
		Blob:     mail.BlobID(r.int()),
		Received: time.UnixMicro(r.int()),
		Sent:     r.int(),
		Thread:   r.int(),
		Due:      r.time(),
		Trace:    r.bytes(),
	}
	// A target takes 9 bytes at least, which bounds what is allocated.
	n := r.uint()
	if n > uint64(len(r.b)/9) {
		return nil, errBroken
	}
	m.Targets = make([]Target, 0, n)
	var last []byte
	for range n {
		t := Target{
			Account: mail.AccountID(r.int()), Mailbox: mail.MailboxID(r.int()),
			UID: mail.UID(r.uint()), Email: mail.EmailID(r.int()),
			ModSeq: mail.ModSeq(r.int()), Flags: mail.Flags(r.uint()), Size: r.int(),
		}
		t.Prefix = r.prefix(last)
		last = t.Prefix
		m.Targets = append(m.Targets, t)
	}
	if r.err != nil || len(r.b) != 0 {
		return nil, errBroken
	}
	return m, nil
}

func (r *reader) time() time.Time {
	if t := r.int(); t != 0 {
		return time.UnixMicro(t)
	}
	return time.Time{}
}

// prefix reads a prefix that shares its end with the last one.
func (r *reader) prefix(last []byte) []byte {
	same := r.uint()
	head := r.bytes()
	if same == 0 {
		return head
	}
	r.prefixes += len(head) + int(min(same, maxPrefixes))
	if same > uint64(len(last)) || r.prefixes > maxPrefixes {
		r.err, r.b = errBroken, nil
		return nil
	}
	return append(head, last[len(last)-int(same):]...)
}
