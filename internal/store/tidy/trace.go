package tidy

import (
	"context"
	"time"

	"postrider/internal/store/commit"
)

const (
	// traceStep is how many traces one operation removes.
	traceStep = 100
	// settleTime is after which no row of an older id is written any more.
	settleTime = time.Minute
)

// A traceSum knows how many bytes the rows of traces have: those up to an id
// were counted, once, and what is removed is subtracted.
type traceSum struct {
	upTo  int64
	bytes int64
}

// ExpireTraces removes traces that are old enough, and the oldest of those
// that are too many. It is a step of Run and may be called in between, but
// not at the same time.
func (b *Broom) ExpireTraces(ctx context.Context) error {
	var before, most int64
	if b.cfg.TraceKeep != nil && b.cfg.TraceKeep() > 0 {
		before = idAt(b.cfg.Now().Add(-b.cfg.TraceKeep()))
	}
	if b.cfg.TraceMax != nil && b.cfg.TraceMax() > 0 {
		most = b.cfg.TraceMax()
		if err := b.countTraces(ctx); err != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		limit := before
		if most > 0 && b.traces.bytes > most {
			limit = max(limit, b.traces.upTo+1)
		}
		if limit == 0 {
			return nil
		}
		n, err := b.expireSome(limit)
		if err != nil || n == 0 {
			return err
		}
	}
	return ctx.Err()
}

// idAt is the lowest id drawn at a time. Ids carry it, so the oldest rows are
// found without an index.
func idAt(t time.Time) int64 { return t.UnixMilli() << 20 }

// expireSome removes the oldest traces below an id and tells how many.
func (b *Broom) expireSome(below int64) (n int, err error) {
	var bytes int64
	err = b.cfg.Committer.Do(commit.Volatile, true, func(t *commit.Tx) error {
		n, bytes = 0, 0
		t.Touch()
		rows, err := t.Rows(`DELETE FROM trace WHERE id IN (SELECT id FROM trace WHERE id < $1
			ORDER BY id LIMIT $2) RETURNING id, length(data)`, below, traceStep)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id, size int64
			if err := rows.Scan(&id, &size); err != nil {
				return err
			}
			n++
			if id <= b.traces.upTo {
				bytes += size
			}
		}
		return rows.Err()
	})
	if err == nil {
		b.traces.bytes = max(0, b.traces.bytes-bytes)
	}
	return n, err
}

// countTraces adds up the rows that are new since the last time, a page at a
// time; after the start these are all.
func (b *Broom) countTraces(ctx context.Context) error {
	end := idAt(b.cfg.Now().Add(-settleTime))
	for {
		rows, err := b.cfg.Read.QueryContext(ctx, `SELECT id, length(data) FROM trace
			WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3`, b.traces.upTo, end, pageRows)
		if err != nil {
			return err
		}
		n := 0
		for rows.Next() {
			var size int64
			if err := rows.Scan(&b.traces.upTo, &size); err != nil {
				rows.Close()
				return err
			}
			b.traces.bytes += size
			n++
		}
		rows.Close()
		if err := rows.Err(); err != nil || n < pageRows {
			return err
		}
	}
}
