package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"postrider/internal/mail"
)

// Migrate brings the schema to version len(steps), step by step, each in a
// transaction of its own; steps[n] holds the statements that lead from
// version n to the next, with words in braces that the dialect fills in. A
// newer schema is refused (Conflict): an older program would not keep its
// invariants.
func Migrate(ctx context.Context, c *sql.Conn, d Dialect, steps [][]string) error {
	if _, err := c.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS schema_version
		(version INTEGER NOT NULL)`); err != nil {
		return err
	}
	var have sql.NullInt64
	err := c.QueryRowContext(ctx, `SELECT max(version) FROM schema_version`).Scan(&have)
	if err != nil {
		return err
	}
	if have.Int64 > int64(len(steps)) {
		return mail.Errorf(mail.Conflict, fmt.Sprintf("the database has schema %d, this program"+
			" knows %d: use the newer program that wrote it", have.Int64, len(steps)))
	}
	for v := int(have.Int64); v < len(steps); v++ {
		if err := upgrade(ctx, c, d, v, steps[v]); err != nil {
			return fmt.Errorf("schema step %d: %w", v+1, err)
		}
	}
	return nil
}

func upgrade(ctx context.Context, c *sql.Conn, d Dialect, from int, step []string) error {
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	fill := strings.NewReplacer(d.Types()...)
	for _, q := range step {
		if _, err := tx.ExecContext(ctx, fill.Replace(q)); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM schema_version`); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO schema_version VALUES ($1)`, from+1); err != nil {
		return err
	}
	return tx.Commit()
}
