package sqlstore

import (
	"context"
	"time"

	"postrider/internal/blob"
	"postrider/internal/mail"
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
func (s *Store) sweep(ctx context.Context) error {
	keep := s.cfg.OrphanKeep
	if keep == 0 {
		keep = defaultOrphanKeep
	}
	for ctx.Err() == nil {
		n := 0
		err := s.do(commit.InDatabase, true, func(t *tx) (err error) {
			n, err = t.sweepSome(t.Now.Add(-keep))
			return err
		})
		if err != nil || n == 0 {
			return err
		}
	}
	return ctx.Err()
}

func (t *tx) sweepSome(before time.Time) (int, error) {
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
			AND NOT EXISTS (SELECT 1 FROM email WHERE blob = $1 AND blob <> id)`, id); err != nil {
			return 0, err
		}
		if err := t.Exec(`DELETE FROM orphan WHERE blob = $1`, id); err != nil {
			return 0, err
		}
	}
	return len(ids), nil
}

// compact removes volumes that nothing lies in any more, and moves what is
// left out of those that are less than half full.
func (s *Store) compact(ctx context.Context) error {
	live, err := s.liveBytes(ctx)
	if err != nil {
		return err
	}
	now := s.now()
	for _, v := range s.blobs.Volumes() {
		if !v.Sealed {
			continue
		}
		seen, ok := s.keeper.seen(v.Number, now)
		if !ok || now.Sub(seen) < s.sealedFor() || live[v.Number] > v.Size/2 {
			continue
		}
		if err := s.vacate(ctx, v.Number, live[v.Number]); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			// A damaged body, or a reader that takes his time: the others
			// need not wait for it.
			s.log.Warn("volume not removed", "volume", v.Number, "error", err)
			continue
		}
		s.log.Info("volume removed", "volume", v.Number, "bytes", v.Size-live[v.Number])
	}
	return nil
}

// removeWait is how long a removal waits for readers of the volume.
const removeWait = 10 * time.Second

// vacate moves what lives out of a volume and removes it.
func (s *Store) vacate(ctx context.Context, volume, live int64) error {
	if live > 0 {
		if err := s.moveOut(ctx, volume); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, removeWait)
	defer cancel()
	return s.blobs.Remove(ctx, volume)
}

// sealedFor follows OrphanKeep when that is shorter, as in tests.
func (s *Store) sealedFor() time.Duration {
	if keep := s.cfg.OrphanKeep; keep != 0 {
		return min(keep, sealedFor)
	}
	return sealedFor
}

// seen tells when a volume was first seen sealed, and not just now.
func (k *keeper) seen(volume int64, now time.Time) (time.Time, bool) {
	if k.volumes == nil {
		k.volumes = map[int64]time.Time{}
	}
	at, ok := k.volumes[volume]
	if !ok {
		k.volumes[volume] = now
		return now, true
	}
	return at, ok
}

// liveBytes adds up, for each volume, the bodies that have rows, a page at a
// time.
func (s *Store) liveBytes(ctx context.Context) (map[int64]int64, error) {
	live := map[int64]int64{}
	after := int64(-1 << 63)
	for {
		rows, err := s.read.QueryContext(ctx, `SELECT id, volume, size FROM blob WHERE id > $1
			ORDER BY id LIMIT $2`, after, maxRows)
		if err != nil {
			return nil, err
		}
		n := 0
		for rows.Next() {
			var volume, size int64
			if err := rows.Scan(&after, &volume, &size); err != nil {
				rows.Close()
				return nil, err
			}
			live[volume] += size
			n++
		}
		rows.Close()
		if err := rows.Err(); err != nil || n < maxRows {
			return live, err
		}
	}
}

// moveOut copies every body of a volume elsewhere and points its row there.
func (s *Store) moveOut(ctx context.Context, volume int64) error {
	for {
		ids, locs, err := s.bodiesOf(ctx, volume)
		if err != nil || len(ids) == 0 {
			return err
		}
		moved := make([]blob.Location, len(ids))
		for i := range ids {
			if moved[i], err = s.blobs.Move(ctx, locs[i]); err != nil {
				return err
			}
		}
		err = s.do(commit.InDatabase, true, func(t *tx) error {
			for i, id := range ids {
				if err := t.Exec(`UPDATE blob SET volume = $2, place = $3 WHERE id = $1`, int64(id),
					moved[i].Volume, moved[i].Offset); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

func (s *Store) bodiesOf(ctx context.Context, volume int64) (
	[]mail.BlobID, []blob.Location, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, volume, place, size, sum FROM blob
		WHERE volume = $1 LIMIT $2`, volume, sweepStep)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	var ids []mail.BlobID
	var locs []blob.Location
	for rows.Next() {
		var id mail.BlobID
		var l blob.Location
		var sum int64
		if err := rows.Scan(&id, &l.Volume, &l.Offset, &l.Size, &sum); err != nil {
			return nil, nil, err
		}
		l.Sum = uint32(sum)
		ids, locs = append(ids, id), append(locs, l)
	}
	return ids, locs, rows.Err()
}
