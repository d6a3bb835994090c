// Package tidy removes what nothing refers to any more: mail of removed
// accounts, old traces, bodies without messages, volumes in which little is
// left. It works in small steps that are served after everybody who waits.
package tidy

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"postrider/internal/blob"
	"postrider/internal/mail"
	"postrider/internal/store/commit"
)

// pageRows bounds one read transaction.
const pageRows = 500

// A Config says what is to be kept tidy.
type Config struct {
	Committer *commit.Committer
	Read      *sql.DB
	Blobs     blob.Store
	Log       *slog.Logger
	Now       func() time.Time
	// OrphanKeep is how long a body without messages stays; 0 is 24 hours.
	OrphanKeep time.Duration
	// TraceKeep is how long traces are kept; nil or 0 is for ever.
	TraceKeep func() time.Duration
	// TraceMax is how many bytes of traces are kept; nil or 0 is no limit.
	TraceMax func() int64
}

// A Broom tidies a store. One Run at a time.
type Broom struct {
	cfg     Config
	volumes map[int64]time.Time // when each was first seen sealed
	traces  traceSum
}

// New makes a Broom.
func New(cfg Config) *Broom { return &Broom{cfg: cfg, volumes: map[int64]time.Time{}} }

// Run removes what can be removed now.
func (b *Broom) Run(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		b.purge, b.ExpireTraces, b.sweep, b.compact} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// purgeStep is how many messages one operation of purge removes.
const purgeStep = 100

// purge removes the mail of accounts that are gone.
func (b *Broom) purge(ctx context.Context) error {
	for ctx.Err() == nil {
		more := false
		err := b.cfg.Committer.Do(commit.InDatabase, true, func(t *commit.Tx) error {
			more = false
			var account int64
			if err := t.Row(`SELECT coalesce(min(account), 0) FROM purge`).Scan(&account); err != nil {
				return err
			}
			if account == 0 {
				return nil
			}
			more = true
			return purgeSome(t, account)
		})
		if err != nil || !more {
			return err
		}
	}
	return ctx.Err()
}

func purgeSome(t *commit.Tx, account int64) error {
	type one struct{ mailbox, uid, email, blob int64 }
	rows, err := t.Rows(`SELECT n.mailbox, n.uid, n.email, coalesce(e.blob, 0) FROM entry n
		LEFT JOIN email e ON e.account = n.account AND e.id = n.email
		WHERE n.account = $1 ORDER BY n.mailbox, n.uid LIMIT $2`, account, purgeStep)
	if err != nil {
		return err
	}
	defer rows.Close()
	var some []one
	for rows.Next() {
		var o one
		if err := rows.Scan(&o.mailbox, &o.uid, &o.email, &o.blob); err != nil {
			return err
		}
		some = append(some, o)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	rows.Close()
	for _, o := range some {
		if err := t.Exec(`DELETE FROM entry WHERE account = $1 AND mailbox = $2 AND uid = $3`,
			account, o.mailbox, o.uid); err != nil {
			return err
		}
		if o.blob == 0 {
			continue // damage: an entry without message
		}
		if err := DropEmail(t, mail.AccountID(account), o.email, o.blob); err != nil {
			return err
		}
	}
	if len(some) == purgeStep {
		return nil
	}
	n, err := t.Changed(`DELETE FROM tombstone WHERE account = $1 AND modseq IN
		(SELECT modseq FROM tombstone WHERE account = $1 ORDER BY modseq LIMIT $2)`, account,
		4*purgeStep)
	if err != nil || n > 0 {
		return err
	}
	for _, q := range []string{`DELETE FROM mailbox WHERE account = $1`, `DELETE FROM purge WHERE account = $1`} {
		if err := t.Exec(q, account); err != nil {
			return err
		}
	}
	return nil
}

// DropEmail removes a message's row; the body is left to the sweep, so that
// a reader that is sending it does not lose it.
func DropEmail(t *commit.Tx, a mail.AccountID, email, blobID int64) error {
	if err := t.Exec(`DELETE FROM email WHERE account = $1 AND id = $2`, int64(a), email); err != nil {
		return err
	}
	return Orphan(t, blobID)
}

// Orphan notes that a body may be without messages from now on.
func Orphan(t *commit.Tx, blobID int64) error {
	return t.Exec(`INSERT INTO orphan (blob, since) VALUES ($1, $2)
		ON CONFLICT (blob) DO UPDATE SET since = excluded.since`, blobID, t.Now.UnixMicro())
}
