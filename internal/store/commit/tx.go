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
	later  []later
}

// A later is the part of an operation that can wait for the others.
type later struct {
	op  *Op
	run func() error
}

func (t *Tx) reset() {
	t.Blobs.Reset()
	t.writes = 0
	t.after = t.after[:0]
	t.later = t.later[:0]
	t.c.cfg.Owner.Begin(t)
}

// Conn is the connection of the transaction, for queries that are too rare
// to stay prepared.
func (t *Tx) Conn() *sql.Conn { return t.c.conn }

// Later has f run when all operations of the batch have run, while the volumes
// are flushed, or before the next operation that promises InDatabase. F may
// write rows, but add nothing to Blobs. If it fails its operation has.
func (t *Tx) Later(f func() error) { t.later = append(t.later, later{run: f}) }

// runLater runs what was left for later and gives the operation that failed
// in it.
func (t *Tx) runLater() (bad *Op) {
	for _, l := range t.later {
		if l.op.err = l.run(); l.op.err != nil {
			return l.op
		}
	}
	t.later = t.later[:0]
	return nil
}

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
