package tidy

import (
	"context"
	"time"

	"postrider/internal/store/commit"
)

const (
	defaultOrphanKeep = 24 * time.Hour
	// sweepStep is how many rows one operation removes.
	sweepStep = 100
	// sealedFor is how long a volume is left alone after it was first seen
	// sealed: a body in it may belong to a delivery under way.
	sealedFor = time.Hour
)

// sweep removes the rows of bodies that no message has used for a day. They
// are looked for by a reader: most orphans may be too young.
func (b *Broom) sweep(ctx context.Context) error {
	keep := b.cfg.OrphanKeep
	if keep == 0 {
		keep = defaultOrphanKeep
	}
	before, after := b.cfg.Now().Add(-keep).UnixMicro(), int64(-1<<63)
	for ctx.Err() == nil {
		ids, err := b.orphans(ctx, before, after)
		if err != nil || len(ids) == 0 {
			return err
		}
		after = ids[len(ids)-1]
		err = b.cfg.Committer.Do(commit.InDatabase, true, func(t *commit.Tx) error {
			return sweepSome(t, ids, before)
		})
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// orphans lists some bodies above a number that have been without messages
// since before a time.
func (b *Broom) orphans(ctx context.Context, before, after int64) ([]int64, error) {
	rows, err := b.cfg.Read.QueryContext(ctx, `SELECT blob FROM orphan WHERE blob > $1
		AND since <= $2 ORDER BY blob LIMIT $3`, after, before, sweepStep)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

func sweepSome(t *commit.Tx, ids []int64, before int64) error {
	for _, id := range ids {
		// Most messages carry their body's number; the others are in the
		// partial index.
		if err := t.Exec(`DELETE FROM blob WHERE id = $1
			AND EXISTS (SELECT 1 FROM orphan WHERE blob = $1 AND since <= $2)
			AND NOT EXISTS (SELECT 1 FROM email WHERE id = $1 AND blob = $1)
			AND NOT EXISTS (SELECT 1 FROM email WHERE blob = $1 AND blob <> id)
			AND NOT EXISTS (SELECT 1 FROM pending WHERE blob = $1)`, id, before); err != nil {
			return err
		}
		if err := t.Exec(`DELETE FROM orphan WHERE blob = $1 AND since <= $2`, id, before); err != nil {
			return err
		}
	}
	return nil
}
