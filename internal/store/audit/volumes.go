package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"postrider/internal/blob"
	"postrider/internal/mail"
	"postrider/internal/store/commit"
	"postrider/internal/store/sqldb"
)

// ErrAbsent is in the error when volumes with mail are missing.
var ErrAbsent = errors.New("volumes are missing")

// LastVolume is the highest number of a volume in the database at path, or 0
// if there is none or it cannot be read. It is for who opens the volumes,
// which comes first: numbers of missing volumes must not come again.
func LastVolume(ctx context.Context, d sqldb.Dialect, path string) int64 {
	if _, err := os.Stat(path); err != nil {
		return 0
	}
	db, err := d.Open(path, 1, 256)
	if err != nil {
		return 0
	}
	defer db.Close() // nothing was written
	var last int64
	err = db.QueryRowContext(ctx, `SELECT coalesce(max(volume), 0) FROM blob`).Scan(&last)
	if err != nil {
		return 0 // who opens it for good will say what is wrong
	}
	return last
}

// usedVolumes are the volumes that bodies lie in and whose loss was not
// accepted, found with one step in the index for each.
const usedVolumes = `WITH RECURSIVE used(n) AS (SELECT min(volume) FROM blob UNION ALL
	SELECT (SELECT min(volume) FROM blob WHERE volume > n) FROM used WHERE n IS NOT NULL)
	SELECT n FROM used WHERE n IS NOT NULL
	AND NOT EXISTS (SELECT 1 FROM state WHERE name = 'absent ' || n)`

// Absent are the volumes with mail that are missing and not yet given up. The
// error, of kind Damaged with ErrAbsent, tells of them.
func Absent(ctx context.Context, conn *sql.Conn, blobs blob.Store) (missing []int64, err error) {
	there := map[int64]bool{}
	for _, v := range blobs.Volumes() {
		there[v.Number] = true
	}
	rows, err := conn.QueryContext(ctx, usedVolumes)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		if !there[n] {
			missing = append(missing, n)
		}
	}
	if err := rows.Err(); err != nil || len(missing) == 0 {
		return nil, err
	}
	return missing, &mail.Error{Kind: mail.Damaged, Err: ErrAbsent, Text: fmt.Sprintf(
		"%d volumes with mail are in none of the volume directories (the first is %010d.vol)",
		len(missing), missing[0])}
}

// GiveUp accepts, once and for all, that volumes are lost.
func GiveUp(t *commit.Tx, missing []int64) error {
	for _, n := range missing {
		if err := t.Exec(`INSERT INTO state VALUES ($1, 0)`, fmt.Sprintf("absent %d", n)); err != nil {
			return err
		}
	}
	return nil
}
