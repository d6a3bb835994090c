package sqlstore

import (
	"encoding/binary"
	"errors"
	"time"

	"postrider/internal/blob"
	"postrider/internal/mail"
)

// A record's meta is everything that the rows of one delivery need, so that
// they can be made again from the volume alone. Numbers are varints, signed
// ones zigzag; a string is its length and its bytes:
//
//	version 1, blob, received, sent, thread, trace, count of targets;
//	each target: account, mailbox, uid, email, modseq, flags, size, prefix
type recordMeta struct {
	blob     mail.BlobID
	received time.Time
	sent     int64 // seconds since 1970; 0 when unknown
	thread   int64
	trace    []byte
	targets  []recordTarget
}

type recordTarget struct {
	account mail.AccountID
	mailbox mail.MailboxID
	uid     mail.UID
	email   mail.EmailID
	modseq  mail.ModSeq
	flags   mail.Flags
	size    int64
	prefix  []byte
}

const recordVersion = 1

func (m *recordMeta) append(b []byte) []byte {
	b = append(b, recordVersion)
	b = binary.AppendVarint(b, int64(m.blob))
	b = binary.AppendVarint(b, m.received.UnixMicro())
	b = binary.AppendVarint(b, m.sent)
	b = binary.AppendVarint(b, m.thread)
	b = appendBytes(b, m.trace)
	b = binary.AppendUvarint(b, uint64(len(m.targets)))
	for i := range m.targets {
		t := &m.targets[i]
		b = binary.AppendVarint(b, int64(t.account))
		b = binary.AppendVarint(b, int64(t.mailbox))
		b = binary.AppendUvarint(b, uint64(t.uid))
		b = binary.AppendVarint(b, int64(t.email))
		b = binary.AppendVarint(b, int64(t.modseq))
		b = binary.AppendUvarint(b, uint64(t.flags))
		b = binary.AppendVarint(b, t.size)
		b = appendBytes(b, t.prefix)
	}
	return b
}

func appendBytes(b, s []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errMeta = errors.New("record meta is broken")

// A metaReader decodes with a sticky error.
type metaReader struct {
	b   []byte
	err error
}

func (r *metaReader) int() int64 {
	v, n := binary.Varint(r.b)
	r.skip(n)
	return v
}

func (r *metaReader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	r.skip(n)
	return v
}

func (r *metaReader) skip(n int) {
	if n <= 0 {
		r.err, r.b = errMeta, nil
		return
	}
	r.b = r.b[n:]
}

func (r *metaReader) bytes() []byte {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.err, r.b = errMeta, nil
		return nil
	}
	s := r.b[:n:n]
	r.b = r.b[n:]
	return s
}

// parseMeta decodes a record's meta; it keeps no part of b.
func parseMeta(b []byte) (*recordMeta, error) {
	if len(b) == 0 || b[0] != recordVersion {
		return nil, errMeta
	}
	r := &metaReader{b: append([]byte(nil), b[1:]...)}
	m := &recordMeta{
		blob:     mail.BlobID(r.int()),
		received: time.UnixMicro(r.int()),
		sent:     r.int(),
		thread:   r.int(),
		trace:    r.bytes(),
	}
	// A target takes 8 bytes at least, which bounds what is allocated.
	n := r.uint()
	if n > uint64(len(r.b)/8) {
		return nil, errMeta
	}
	m.targets = make([]recordTarget, 0, n)
	for range n {
		m.targets = append(m.targets, recordTarget{
			account: mail.AccountID(r.int()), mailbox: mail.MailboxID(r.int()),
			uid: mail.UID(r.uint()), email: mail.EmailID(r.int()),
			modseq: mail.ModSeq(r.int()), flags: mail.Flags(r.uint()),
			size: r.int(), prefix: r.bytes(),
		})
	}
	if r.err != nil || len(r.b) != 0 {
		return nil, errMeta
	}
	return m, nil
}

// insertBlob writes the one row that says where a body lies.
func (t *tx) insertBlob(id mail.BlobID, loc blob.Location) error {
	return t.Exec(`INSERT INTO blob (id, volume, place, size, sum) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO NOTHING`, int64(id), loc.Volume, loc.Offset, loc.Size, int64(loc.Sum))
}

// insertTarget writes the two rows of a message in a mailbox.
func (t *tx) insertTarget(m *recordMeta, r *recordTarget, format int, parsed []byte) error {
	prefix := r.prefix
	if prefix == nil {
		prefix = []byte{} // nil would be NULL
	}
	err := t.Exec(`INSERT INTO email (id, account, blob, refs, thread, received, sent, size, modseq,
		prefix, format, parsed) VALUES ($1, $2, $3, 1, $4, $5, $6, $7, $8, $9, $10, $11)`,
		int64(r.email), int64(r.account), int64(m.blob), m.thread, m.received.UnixMicro(), m.sent,
		r.size, int64(r.modseq), prefix, format, parsed)
	if err != nil {
		return err
	}
	return t.Exec(`INSERT INTO entry (account, mailbox, uid, email, size, flags, modseq,
		created, saved) VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8)`, int64(r.account),
		int64(r.mailbox), int64(r.uid), int64(r.email), r.size, int64(r.flags), int64(r.modseq),
		m.received.UnixMicro())
}
