package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"postrider/internal/blob"
	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/commit"
	"postrider/internal/store/tidy"
)

// Usage implements store.Store.
func (s *Store) Usage(ctx context.Context, id mail.AccountID) (u store.Usage, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT messages, bytes, modseq FROM drop_usage
		WHERE account = $1`, id).Scan(&u.Messages, &u.Bytes, &u.ModSeq)
	if errors.Is(err, sql.ErrNoRows) {
		err = notFound("no such account")
	}
	return u, err
}

// Mailbox implements store.Store.
func (s *Store) Mailbox(ctx context.Context, a mail.AccountID, id mail.MailboxID) (
	*store.Mailbox, error) {
	st, err := s.prepared(ctx, `SELECT `+mailboxColumns+` FROM mailbox
		WHERE account = $1 AND id = $2`)
	if err != nil {
		return nil, err
	}
	return scanMailbox(st.QueryRowContext(ctx, a, id))
}

// maxRows bounds one read transaction.
const maxRows = 500

// Entries implements store.Store.
func (s *Store) Entries(ctx context.Context, a mail.AccountID, id mail.MailboxID, after mail.UID,
	limit int) ([]store.Entry, error) {
	// SQLite compiles a statement anew whenever a bare LIMIT gets a value; abs
	// keeps it from looking.
	st, err := s.prepared(ctx, `SELECT uid, email, flags, modseq, saved, size FROM entry
		WHERE account = $1 AND mailbox = $2 AND uid > $3 ORDER BY uid LIMIT abs($4)`)
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(ctx, int64(a), int64(id), int64(after), min(limit, maxRows))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []store.Entry
	for rows.Next() {
		var e store.Entry
		var saved int64
		if err := rows.Scan(&e.UID, &e.Email, &e.Flags, &e.ModSeq, &saved, &e.Size); err != nil {
			return nil, err
		}
		e.Saved = time.UnixMicro(saved)
		list = append(list, e)
	}
	return list, rows.Err()
}

// emailsPerQuery is how many ids one query of Emails asks for.
const emailsPerQuery = 16

// emailQueries are the two queries of Emails, with and without Parsed.
var emailQueries = func() (q [2]string) {
	var marks strings.Builder
	for i := range emailsPerQuery {
		fmt.Fprintf(&marks, ", $%d", i+2)
	}
	for i, parsed := range []string{"NULL", "e.parsed"} {
		q[i] = `SELECT e.id, e.blob, e.prefix, e.thread, e.received, e.size, e.format, ` + parsed + `,
			b.volume, b.place, b.size, b.sum FROM email e JOIN blob b ON b.id = e.blob
			WHERE e.account = $1 AND e.id IN (` + marks.String()[2:] + `)`
	}
	return q
}()

// Emails implements store.Store.
func (s *Store) Emails(ctx context.Context, a mail.AccountID, ids []mail.EmailID, parsed bool) (
	[]*store.Email, error) {
	query := emailQueries[0]
	if parsed {
		query = emailQueries[1]
	}
	st, err := s.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	found := make([]*store.Email, len(ids))
	args := make([]any, emailsPerQuery+1)
	args[0] = int64(a)
	for from := 0; from < len(ids); from += emailsPerQuery {
		some := ids[from:min(from+emailsPerQuery, len(ids))]
		for i := range emailsPerQuery {
			args[i+1] = int64(some[min(i, len(some)-1)])
		}
		if err := emailPage(ctx, st, args, some, found[from:]); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func emailPage(ctx context.Context, st *sql.Stmt, args []any, ids []mail.EmailID,
	found []*store.Email) error {
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		e := new(store.Email)
		var received, sum int64
		l := &e.Location
		if err := rows.Scan(&e.ID, &e.Blob, &e.Prefix, &e.Thread, &received, &e.Size, &e.Format,
			&e.Parsed, &l.Volume, &l.Offset, &l.Size, &sum); err != nil {
			return err
		}
		l.Sum = uint32(sum)
		e.Received = time.UnixMicro(received)
		for i, id := range ids {
			if id == e.ID {
				found[i] = e
			}
		}
	}
	return rows.Err()
}

// OpenEmail implements store.Store. A body that was moved since its row was
// read is looked up again.
func (s *Store) OpenEmail(e *store.Email) (store.MessageReader, error) {
	body, err := s.blobs.Open(e.Location)
	if mail.KindOf(err) == mail.NotFound {
		var loc blob.Location
		if loc, err = s.location(e.Blob); err == nil {
			body, err = s.blobs.Open(loc)
		}
	}
	if err != nil {
		return nil, err
	}
	return &messageReader{prefix: e.Prefix, body: body}, nil
}

func (s *Store) location(id mail.BlobID) (l blob.Location, err error) {
	var sum int64
	err = s.read.QueryRow(`SELECT volume, place, size, sum FROM blob WHERE id = $1`, int64(id)).
		Scan(&l.Volume, &l.Offset, &l.Size, &sum)
	l.Sum = uint32(sum)
	if errors.Is(err, sql.ErrNoRows) {
		err = notFound("the message is gone")
	}
	return l, err
}

// A messageReader reads prefix and body as one.
type messageReader struct {
	prefix []byte
	body   blob.Reader
}

func (m *messageReader) Size() int64  { return int64(len(m.prefix)) + m.body.Size() }
func (m *messageReader) Close() error { return m.body.Close() }

func (m *messageReader) ReadAt(p []byte, off int64) (int, error) {
	head := int64(len(m.prefix))
	n := 0
	if off < head {
		n = copy(p, m.prefix[off:])
		if n == len(p) {
			return n, nil
		}
	}
	k, err := m.body.ReadAt(p[n:], off+int64(n)-head)
	if err == io.EOF && k > 0 && n+k == len(p) {
		err = nil
	}
	return n + k, err
}

// expungeStep is how many entries one operation of Expunge removes.
const expungeStep = 50

// Expunge implements store.Store.
func (s *Store) Expunge(_ context.Context, a mail.AccountID, id mail.MailboxID,
	uids []mail.UID) error {
	for from := 0; from < len(uids); from += expungeStep {
		some := uids[from:min(from+expungeStep, len(uids))]
		err := s.do(commit.InDatabase, false, func(t *tx) error {
			n, err := t.counters(a)
			if err != nil {
				return err
			}
			box, err := t.mailbox(n, a, id)
			if err != nil {
				return err
			}
			for _, uid := range some {
				if err := t.expunge(n, box, uid); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// expunge removes one entry, and its email if that was the last entry.
func (t *tx) expunge(n *counters, box *store.Mailbox, uid mail.UID) error {
	var email, flags, size, blobID, refs int64
	err := t.Row(`SELECT n.email, n.flags, e.size, e.blob, e.refs FROM entry n
		JOIN email e ON e.account = n.account AND e.id = n.email
		WHERE n.account = $1 AND n.mailbox = $2 AND n.uid = $3`, int64(box.Account), int64(box.ID),
		int64(uid)).Scan(&email, &flags, &size, &blobID, &refs)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	modseq := t.change(n, box)
	box.Messages--
	box.Bytes -= size
	if mail.Flags(flags)&mail.Seen == 0 {
		box.Unseen--
	}
	if err := t.Exec(`DELETE FROM entry WHERE account = $1 AND mailbox = $2 AND uid = $3`,
		int64(box.Account), int64(box.ID), int64(uid)); err != nil {
		return err
	}
	if err := t.Exec(`INSERT INTO tombstone (account, modseq, mailbox, uid, email)
		VALUES ($1, $2, $3, $4, $5)`, int64(box.Account), int64(modseq), int64(box.ID), int64(uid),
		email); err != nil {
		return err
	}
	if refs > 1 {
		return t.Exec(`UPDATE email SET refs = refs - 1 WHERE account = $1 AND id = $2`,
			int64(box.Account), email)
	}
	n.usage.Messages--
	n.usage.Bytes -= size
	return tidy.DropEmail(t.Tx, box.Account, email, blobID)
}
