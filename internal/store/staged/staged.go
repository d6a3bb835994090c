// Package staged carries out lists of changes to accounts that are too long
// for one operation of the committer, and yet are made as a whole or not at
// all.
//
// Such a list is a job. Its changes are compared with the rows and written
// down in a table of their own, in steps; then one flushed operation decides.
// From then on they are made, in steps, whatever happens: after a crash by
// the next start. A job that is not decided is removed. While there is one,
// nobody else changes accounts, so that what the list was compared with
// stays true.
package staged

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"

	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/commit"
)

// PerOp is how many changes one operation makes: about 2 ms.
const PerOp = 64

// A Config says what a Stage works with.
type Config struct {
	Committer *commit.Committer
	Read      *sql.DB
	Log       *slog.Logger
	// Number draws a number for a job, another one each time.
	Number func() int64
	// Apply makes some changes, within an operation of the committer.
	Apply func(*commit.Tx, []store.AccountWrite) error
}

// A Stage carries out jobs, one at a time. Write and Finish may be called
// concurrently.
type Stage struct {
	cfg  Config
	left atomic.Int64 // the job that could not be finished; 0: none
}

// New makes a Stage.
func New(cfg Config) *Stage { return &Stage{cfg: cfg} }

// A step runs a part of a job as one operation.
type step func(run func(*commit.Tx) error) error

// steps are those of a store that serves, after everybody who waits.
func (g *Stage) steps(p commit.Promise) step {
	return func(run func(*commit.Tx) error) error { return g.cfg.Committer.Do(p, true, run) }
}

// Idle refuses a change of accounts or domains (Locked) while there is a
// job. It asks the rows: the job may be another server's.
func Idle(t *commit.Tx) error {
	var n int
	err := t.Row(`SELECT count(*) FROM staged_job`).Scan(&n)
	if err == nil && n > 0 {
		err = mail.Errorf(mail.Locked, "accounts are being imported, try again in a moment")
	}
	return err
}

// Write carries out a list of changes and returns after the last. On an
// error nothing has changed, unless its text says that the list is decided;
// then Finish has to be called. Ctx counts until the decision.
func (g *Stage) Write(ctx context.Context, writes []store.AccountWrite) error {
	job := g.cfg.Number()
	err := g.steps(commit.Volatile)(func(t *commit.Tx) error {
		if err := Idle(t); err != nil {
			return err
		}
		return t.Exec(`INSERT INTO staged_job (id, decided) VALUES ($1, 0)`, job)
	})
	if err != nil {
		return err
	}
	if err = g.check(ctx, writes); err == nil {
		err = g.writeDown(ctx, job, writes)
	}
	if err == nil {
		err = g.steps(commit.InDatabase)(func(t *commit.Tx) error {
			return t.Exec(`UPDATE staged_job SET decided = 1 WHERE id = $1`, job)
		})
	}
	if err != nil {
		if again := g.finish(job, g.steps(commit.Volatile)); again != nil {
			g.cfg.Log.Error("taking a change of accounts back", "error", again)
		}
		return err
	}
	if err = g.finish(job, g.steps(commit.InDatabase)); err != nil {
		kind := mail.Temporary
		if mail.KindOf(err) == mail.Full {
			kind = mail.Full
		}
		return &mail.Error{Kind: kind, Err: err,
			Text: "not all accounts are changed yet, the rest is decided and follows by itself"}
	}
	return nil
}

// writeDown puts the changes of a job into the table.
func (g *Stage) writeDown(ctx context.Context, job int64, writes []store.AccountWrite) error {
	seq := 0
	for some := range slices.Chunk(writes, PerOp) {
		if err := ctx.Err(); err != nil {
			return err
		}
		rows := make([][]byte, len(some))
		for i := range some {
			var err error
			if rows[i], err = json.Marshal(&some[i]); err != nil {
				return &mail.Error{Kind: mail.Invalid, Text: "an account", Err: err}
			}
		}
		err := g.steps(commit.Volatile)(func(t *commit.Tx) error {
			for i := range rows {
				if err := t.Exec(`INSERT INTO staged (job, seq, data) VALUES ($1, $2, $3)`, job,
					seq+i, rows[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		seq += len(some)
	}
	return nil
}

// finish carries a job out if it is decided, else removes it. Two may do so
// at once: each step takes what is left. What fails is left to Finish.
func (g *Stage) finish(job int64, do step) error {
	for more := true; more; {
		err := do(func(t *commit.Tx) (err error) {
			more, err = g.next(t, job)
			return err
		})
		if err != nil {
			g.left.Store(job)
			return err
		}
	}
	g.left.CompareAndSwap(job, 0)
	return nil
}

// next takes the next of a job's changes, and says whether there are more.
func (g *Stage) next(t *commit.Tx, job int64) (more bool, err error) {
	var decided bool
	err = t.Row(`SELECT decided FROM staged_job WHERE id = $1`, job).Scan(&decided)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	writes, last, err := some(t, job)
	if err != nil {
		return false, err
	}
	if decided {
		if err := g.cfg.Apply(t, writes); err != nil {
			return false, err
		}
	}
	if err := t.Exec(`DELETE FROM staged WHERE job = $1 AND seq <= $2`, job, last); err != nil {
		return false, err
	}
	if len(writes) == PerOp {
		return true, nil
	}
	return false, t.Exec(`DELETE FROM staged_job WHERE id = $1`, job)
}

// some reads the next of a job's changes.
func some(t *commit.Tx, job int64) (writes []store.AccountWrite, last int64, err error) {
	rows, err := t.Rows(`SELECT seq, data FROM staged WHERE job = $1 ORDER BY seq LIMIT $2`, job,
		PerOp)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var data []byte
		var w store.AccountWrite
		if err := rows.Scan(&last, &data); err != nil {
			return nil, 0, err
		}
		if err := json.Unmarshal(data, &w); err != nil {
			return nil, 0, &mail.Error{Kind: mail.Damaged, Text: "a staged account", Err: err}
		}
		writes = append(writes, w)
	}
	return writes, last, rows.Err()
}

// Finish tries again to finish the job that could not be finished, if there
// is one.
func (g *Stage) Finish() error {
	if job := g.left.Load(); job != 0 {
		return g.finish(job, g.steps(commit.InDatabase))
	}
	return nil
}

// Resume finishes, before the committer is started, the job that a crash has
// left. What keeps it from that is logged, and must not keep mail from being
// served.
func (g *Stage) Resume(ctx context.Context) error {
	c := g.cfg.Committer
	var job int64
	row := c.Conn().QueryRowContext(ctx, `SELECT coalesce(max(id), 0) FROM staged_job`)
	if err := row.Scan(&job); err != nil || job == 0 {
		return err
	}
	g.cfg.Log.Info("finishing a change of accounts that was interrupted")
	err := g.finish(job, func(run func(*commit.Tx) error) error {
		return c.Alone(ctx, c.Batch(), run)
	})
	if err != nil {
		g.cfg.Log.Error("finishing a change of accounts", "error", err)
	}
	return ctx.Err()
}
