package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"postrider/internal/mail"
	"postrider/internal/store/commit"
)

// Acquire implements store.Store.
func (s *Store) Acquire(_ context.Context, name, owner string, until time.Time) error {
	return s.do(commit.Volatile, false, func(t *tx) error {
		var who string
		var end int64
		err := t.Row(`SELECT owner, until FROM lease WHERE name = $1`, name).Scan(&who, &end)
		switch {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return err
		case who != owner && end > t.Now.UnixMicro():
			return mail.Errorf(mail.Locked, "in use by another session")
		}
		return t.Exec(`INSERT INTO lease (name, owner, until) VALUES ($1, $2, $3)
			ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until`,
			name, owner, until.UnixMicro())
	})
}

// Release implements store.Store.
func (s *Store) Release(_ context.Context, name, owner string) error {
	return s.do(commit.Volatile, false, func(t *tx) error {
		return t.Exec(`DELETE FROM lease WHERE name = $1 AND owner = $2`, name, owner)
	})
}
