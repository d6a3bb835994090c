package tidy

import (
	"context"
	"time"

	"postrider/internal/blob"
	"postrider/internal/mail"
	"postrider/internal/store/commit"
)

// compact removes volumes that nothing lies in any more, and moves what is
// left out of those that are less than half full.
func (b *Broom) compact(ctx context.Context) error {
	live, err := b.liveBytes(ctx)
	if err != nil {
		return err
	}
	now := b.cfg.Now()
	for _, v := range b.cfg.Blobs.Volumes() {
		if !v.Sealed {
			continue
		}
		since, ok := b.since(v.Number, now)
		if !ok || now.Sub(since) < b.sealedFor() || live[v.Number] > v.Size/2 {
			continue
		}
		if err := b.vacate(ctx, v.Number, live[v.Number]); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			// A damaged body, or a reader that takes his time: the others
			// need not wait for it.
			b.cfg.Log.Warn("volume not removed", "volume", v.Number, "error", err)
			continue
		}
		b.cfg.Log.Info("volume removed", "volume", v.Number, "bytes", v.Size-live[v.Number])
	}
	return nil
}

// removeWait is how long a removal waits for readers of the volume.
const removeWait = 10 * time.Second

// vacate moves what lives out of a volume and removes it.
func (b *Broom) vacate(ctx context.Context, volume, live int64) error {
	if live > 0 {
		if err := b.moveOut(ctx, volume); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, removeWait)
	defer cancel()
	return b.cfg.Blobs.Remove(ctx, volume)
}

// sealedFor follows OrphanKeep when that is shorter, as in tests.
func (b *Broom) sealedFor() time.Duration {
	if keep := b.cfg.OrphanKeep; keep != 0 {
		return min(keep, sealedFor)
	}
	return sealedFor
}

// since tells when a volume was first seen sealed, and whether that was
// before now.
func (b *Broom) since(volume int64, now time.Time) (time.Time, bool) {
	at, ok := b.volumes[volume]
	if !ok {
		b.volumes[volume] = now
		return now, true
	}
	return at, ok
}

// liveBytes adds up, for each volume, the bodies that have rows, a page at a
// time.
func (b *Broom) liveBytes(ctx context.Context) (map[int64]int64, error) {
	live := map[int64]int64{}
	after := int64(-1 << 63)
	for {
		rows, err := b.cfg.Read.QueryContext(ctx, `SELECT id, volume, size FROM blob WHERE id > $1
			ORDER BY id LIMIT $2`, after, pageRows)
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
		if err := rows.Err(); err != nil || n < pageRows {
			return live, err
		}
	}
}

// moveOut copies every body of a volume elsewhere and points its row there.
func (b *Broom) moveOut(ctx context.Context, volume int64) error {
	for {
		ids, locs, err := b.bodiesOf(ctx, volume)
		if err != nil || len(ids) == 0 {
			return err
		}
		moved := make([]blob.Location, len(ids))
		for i := range ids {
			if moved[i], err = b.cfg.Blobs.Move(ctx, locs[i]); err != nil {
				return err
			}
		}
		err = b.cfg.Committer.Do(commit.InDatabase, true, func(t *commit.Tx) error {
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

func (b *Broom) bodiesOf(ctx context.Context, volume int64) (
	[]mail.BlobID, []blob.Location, error) {
	rows, err := b.cfg.Read.QueryContext(ctx, `SELECT id, volume, place, size, sum FROM blob
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
