package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"os"

	"postrider/internal/mail"
	"postrider/internal/store/sqldb"
)

// ErrAbsent is in the error of Open when volumes with mail are missing.
var ErrAbsent = errors.New("volumes are missing")

// LastVolume is the highest number of a volume in the database at path, or 0
// if there is none or it cannot be read. It is for who opens the volumes,
// which comes before Open: numbers of missing volumes must not come again.
func LastVolume(ctx context.Context, path string) int64 {
	if _, err := os.Stat(path); err != nil {
		return 0
	}
	db, err := sqldb.SQLite{}.Open(path, 1, readerCacheKB)
	if err != nil {
		return 0
	}
	defer db.Close() // nothing was written
	var last int64
	err = db.QueryRowContext(ctx, `SELECT coalesce(max(volume), 0) FROM blob`).Scan(&last)
	if err != nil {
		return 0 // Open will say what is wrong
	}
	return last
}

// usedVolumes are the volumes that bodies lie in and whose loss was not
// accepted, found with one step in the index for each.
const usedVolumes = `WITH RECURSIVE used(n) AS (SELECT min(volume) FROM blob UNION ALL
	SELECT (SELECT min(volume) FROM blob WHERE volume > n) FROM used WHERE n IS NOT NULL)
	SELECT n FROM used WHERE n IS NOT NULL
	AND NOT EXISTS (SELECT 1 FROM state WHERE name = 'absent ' || n)`

// absent proves that the volumes are there which the database knows. Those
// that are not can be accepted as lost, once and for all.
func (s *Store) absent(ctx context.Context, accept bool) error {
	there := map[int64]bool{}
	for _, v := range s.blobs.Volumes() {
		there[v.Number] = true
	}
	rows, err := s.committer.Conn().QueryContext(ctx, usedVolumes)
	if err != nil {
		return err
	}
	defer rows.Close()
	var missing []int64
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return err
		}
		if !there[n] {
			missing = append(missing, n)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(missing) == 0 {
		return err
	}
	s.log.Error("volumes with mail are missing", "volumes", fmt.Sprint(missing))
	if !accept {
		return &mail.Error{Kind: mail.Damaged, Err: ErrAbsent, Text: fmt.Sprintf(
			"%d volumes with mail are in none of the volume directories (the first is %010d.vol)",
			len(missing), missing[0])}
	}
	return s.committer.Alone(ctx, s.committer.Batch(), s.in(func(t *tx) error {
		for _, n := range missing {
			if err := t.Exec(`INSERT INTO state VALUES ($1, 0)`, fmt.Sprintf("absent %d", n)); err != nil {
				return err
			}
		}
		return nil
	}))
}
