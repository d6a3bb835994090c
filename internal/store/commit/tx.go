package commit

import (
	"context"
	"database/sql"
	"time"

	"postrider/internal/blob"
)

// A Tx is what an operation works with, on the committer's goroutine and
// during its run only. Queries must be constants: each is prepared once and
// stays so.
type Tx struct {
	Ctx   context.Context
	Now   time.Time
	Blobs blob.Batch

	c      *Committer
	writes int // what a rollback has to undo, in rows or in memory
	after  []func()
}

func (t *Tx) reset() {
	t.Blobs.Reset()
	t.writes = 0
	t.after = t.after[:0]
	t.c.cfg.Owner.Begin(t)
}

// Conn is the connection of the transaction, for queries that are too rare
// to stay prepared.
func (t *Tx) Conn() *sql.Conn { return t.c.conn }

// After has f run once the batch is committed, before anybody hears of it.
func (t *Tx) After(f func()) { t.after = append(t.after, f) }

// announce tells that the batch is committed.
func (t *Tx) announce() {
	for _, f := range t.after {
		f()
	}
	t.c.cfg.Owner.Committed(t)
}

// Touch notes that something in memory was changed which a rollback has to
// undo, as Exec does for rows.
func (t *Tx) Touch() { t.writes++ }

// Exec runs a writing statement.
func (t *Tx) Exec(query string, args ...any) error {
	s, err := t.c.stmt(t.Ctx, query)
	if err != nil {
		return err
	}
	t.writes++
	_, err = s.ExecContext(t.Ctx, args...)
	return err
}

// Changed runs a writing statement and tells how many rows it touched.
func (t *Tx) Changed(query string, args ...any) (int64, error) {
	s, err := t.c.stmt(t.Ctx, query)
	if err != nil {
		return 0, err
	}
	t.writes++
	r, err := s.ExecContext(t.Ctx, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// Row reads one row as the transaction sees it.
func (t *Tx) Row(query string, args ...any) *sql.Row {
	s, err := t.c.stmt(t.Ctx, query)
	if err != nil {
		return t.c.conn.QueryRowContext(t.Ctx, query, args...)
	}
	return s.QueryRowContext(t.Ctx, args...)
}

// Rows reads rows as the transaction sees them. They must be closed before
// the operation writes.
func (t *Tx) Rows(query string, args ...any) (*sql.Rows, error) {
	s, err := t.c.stmt(t.Ctx, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(t.Ctx, args...)
}

// finish writes what the owner has in memory, and the batch's number.
func (t *Tx) finish(batch uint64, full bool) error {
	if err := t.c.cfg.Owner.Flush(t, full); err != nil {
		return err
	}
	return t.Exec(`UPDATE state SET value = $1 WHERE name = 'batch'`, int64(batch))
}
