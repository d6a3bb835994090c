package sqlstore

import (
	"postrider/internal/blob"
	"postrider/internal/mail"
	"postrider/internal/store/record"
)

// insertBlob writes the one row that says where a body lies.
func (t *tx) insertBlob(id mail.BlobID, loc blob.Location) error {
	return t.Exec(`INSERT INTO blob (id, volume, place, size, sum) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO NOTHING`, int64(id), loc.Volume, loc.Offset, loc.Size, int64(loc.Sum))
}

// insertTarget writes the two rows of a message in a mailbox.
func (t *tx) insertTarget(m *record.Meta, r *record.Target, format int, parsed []byte) error {
	prefix := r.Prefix
	if prefix == nil {
		prefix = []byte{} // nil would be NULL
	}
	err := t.Exec(`INSERT INTO email (id, account, blob, refs, thread, received, sent, size, modseq,
		prefix, format, parsed) VALUES ($1, $2, $3, 1, $4, $5, $6, $7, $8, $9, $10, $11)`,
		int64(r.Email), int64(r.Account), int64(m.Blob), m.Thread, m.Received.UnixMicro(), m.Sent,
		r.Size, int64(r.ModSeq), prefix, format, parsed)
	if err != nil {
		return err
	}
	return t.Exec(`INSERT INTO entry (account, mailbox, uid, email, size, flags, modseq,
		created, saved) VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8)`, int64(r.Account),
		int64(r.Mailbox), int64(r.UID), int64(r.Email), r.Size, int64(r.Flags), int64(r.ModSeq),
		m.Received.UnixMicro())
}
