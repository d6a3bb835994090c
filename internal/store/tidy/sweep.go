package tidy

import (
	"context"
	"time"

	"postrider/internal/store/commit"
)

const (
	defaultOrphanKeep = 24 * time.Hour
	sweepStep         = 100
	// sealedFor is how long a volume is left alone after it was first seen
	// sealed: a body in it may belong to a delivery under way.
	sealedFor = time.Hour
)

// sweep removes the rows of bodies that no message has used for a day.
func (b *Broom) sweep(ctx context.Context) error {
	keep := b.cfg.OrphanKeep
	if keep == 0 {
		keep = defaultOrphanKeep
	}
	for ctx.Err() == nil {
		n := 0
		err := b.cfg.Committer.Do(commit.InDatabase, true, func(t *commit.Tx) (err error) {
			n, err = sweepSome(t, t.Now.Add(-keep))
			return err
		})
		if err != nil || n == 0 {
			return err
		}
	}
	return ctx.Err()
}

func sweepSome(t *commit.Tx, before time.Time) (int, error) {
	rows, err := t.Rows(`SELECT blob FROM orphan WHERE since <= $1 ORDER BY blob LIMIT $2`,
		before.UnixMicro(), sweepStep)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return 0, err
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	rows.Close()
	for _, id := range ids {
		// Most messages carry their body's number; the others are in the
		// partial index.
		if err := t.Exec(`DELETE FROM blob WHERE id = $1
			AND NOT EXISTS (SELECT 1 FROM email WHERE id = $1 AND blob = $1)
			AND NOT EXISTS (SELECT 1 FROM email WHERE blob = $1 AND blob <> id)
			AND NOT EXISTS (SELECT 1 FROM pending WHERE blob = $1)`, id); err != nil {
			return 0, err
		}
		if err := t.Exec(`DELETE FROM orphan WHERE blob = $1`, id); err != nil {
			return 0, err
		}
	}
	return len(ids), nil
}
