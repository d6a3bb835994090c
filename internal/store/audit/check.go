// Package audit proves the invariants of a store: UIDs rise, counts match,
// references lead somewhere, every body is there with its checksum. It runs on
// close in every test, and as "postrider check" for people.
package audit

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"postrider/internal/blob"
	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/commit"
	"postrider/internal/store/sqldb"
	"postrider/internal/store/tidy"
)

// A Config says what is audited.
type Config struct {
	Path      string // of the database, for messages
	Read      *sql.DB
	Dialect   sqldb.Dialect
	Committer *commit.Committer
	Blobs     blob.Store
	// Location is where a body lies now.
	Location func(mail.BlobID) (blob.Location, error)
	// Write writes the counters that are kept in memory, Forget drops those
	// of an account; both within an operation of the committer.
	Write  func() error
	Forget func(mail.AccountID)
}

// RecoveredName is the name of a mailbox whose own is not known any more.
func RecoveredName(id mail.MailboxID) string { return fmt.Sprintf("Recovered-%d", id) }

// pageRows bounds one read transaction.
const pageRows = 500

// A checker walks the whole store and collects what is wrong.
type checker struct {
	cfg      Config
	ctx      context.Context
	repair   bool
	progress store.Progress
	problems []store.Problem
	newest   int64                    // the highest email id when the check began
	emails   map[mail.AccountID]int64 // up to newest, that entries led to
}

// maxProblems bounds what Check reports; a store with more is to be rebuilt.
const maxProblems = 10_000

// Check walks through everything, and with repair mends what can be mended.
// It may run while the store serves: each account is looked at in one read
// transaction of its own.
func Check(ctx context.Context, cfg Config, repair bool, p store.Progress) (
	[]store.Problem, error) {
	if p == nil {
		p = func(string, int64, int64) {}
	}
	k := &checker{cfg: cfg, ctx: ctx, repair: repair, progress: p,
		emails: map[mail.AccountID]int64{}}
	err := cfg.Read.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) FROM email`).Scan(&k.newest)
	if err != nil {
		return nil, err
	}
	for _, step := range []func() error{k.engine, k.accounts, k.unlisted, k.strays, k.pending,
		k.bodies} {
		if err := step(); err != nil {
			return k.problems, err
		}
	}
	return k.problems, ctx.Err()
}

func (k *checker) found(repaired bool, where, format string, args ...any) {
	if len(k.problems) < maxProblems {
		k.problems = append(k.problems,
			store.Problem{What: fmt.Sprintf(format, args...), Where: where, Repaired: repaired})
	}
}

// engine asks the database about its own files.
func (k *checker) engine() error {
	conn, err := k.cfg.Read.Conn(k.ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := k.cfg.Dialect.Verify(k.ctx, conn); err != nil {
		k.found(false, k.cfg.Path, "the database file is damaged: %v", err)
	}
	return nil
}

// accounts proves the counters and references of every account.
func (k *checker) accounts() error {
	var total int64
	err := k.cfg.Read.QueryRowContext(k.ctx, `SELECT count(*) FROM drop_usage`).Scan(&total)
	if err != nil {
		return err
	}
	after, done := int64(0), int64(0)
	for {
		ids, err := k.ids(`SELECT account FROM drop_usage WHERE account > $1
			ORDER BY account LIMIT $2`, after)
		if err != nil || len(ids) == 0 {
			return err
		}
		for _, id := range ids {
			if err := k.account(mail.AccountID(id)); err != nil {
				return err
			}
			after = id
			done++
		}
		k.progress("accounts", done, total)
	}
}

func (k *checker) ids(query string, after int64) ([]int64, error) {
	rows, err := k.cfg.Read.QueryContext(k.ctx, query, after, pageRows)
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

// unlisted finds messages that no mailbox has. All messages are counted by
// account in one pass; only where there are more than the entries led to are
// they looked at one by one.
func (k *checker) unlisted() error {
	counts := map[mail.AccountID]int64{}
	after, n := int64(-1<<63), pageRows
	for n == pageRows {
		rows, err := k.cfg.Read.QueryContext(k.ctx, `SELECT id, account FROM email
			WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3`, after, k.newest, pageRows)
		if err != nil {
			return err
		}
		for n = 0; rows.Next(); n++ {
			var account mail.AccountID
			if err := rows.Scan(&after, &account); err != nil {
				rows.Close()
				return err
			}
			counts[account]++
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return err
		}
	}
	for account, n := range counts {
		if led, ok := k.emails[account]; ok && n > led {
			if err := k.unlistedOf(account); err != nil {
				return err
			}
		}
	}
	return nil
}

// unlistedOf removes what no mailbox has. That stays true once seen: a
// message gets its first entry together with its row.
func (k *checker) unlistedOf(id mail.AccountID) error {
	type stray struct{ email, blob int64 }
	rows, err := k.cfg.Read.QueryContext(k.ctx, `SELECT id, blob FROM email WHERE account = $1
		AND id NOT IN (SELECT email FROM entry WHERE account = $1)`, int64(id))
	if err != nil {
		return err
	}
	defer rows.Close()
	var list []stray
	for rows.Next() {
		var s stray
		if err := rows.Scan(&s.email, &s.blob); err != nil {
			return err
		}
		list = append(list, s)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	rows.Close()
	for some := range slices.Chunk(list, mendStep) {
		if k.repair {
			err = k.cfg.Committer.Do(commit.InDatabase, true, func(t *commit.Tx) error {
				for _, s := range some {
					if err := tidy.DropEmail(t, id, s.email, s.blob); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err != nil {
			return err
		}
		for _, s := range some {
			k.found(k.repair, fmt.Sprintf("account %d email %s", id, mail.EmailID(s.email)),
				"no mailbox has the message")
		}
	}
	return nil
}

// strays finds messages of accounts that are neither there nor being purged.
func (k *checker) strays() error {
	rows, err := k.cfg.Read.QueryContext(k.ctx, `SELECT DISTINCT account FROM mailbox
		WHERE account NOT IN (SELECT id FROM account) AND account NOT IN (SELECT account FROM purge)`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return err
		}
		ids = append(ids, id)
	}
	for _, id := range ids {
		k.found(k.repair, fmt.Sprintf("account %d", id), "mail of an account that does not exist")
		if k.repair {
			err := k.cfg.Committer.Do(commit.InDatabase, true, func(t *commit.Tx) error {
				return t.Exec(`INSERT INTO purge (account) VALUES ($1) ON CONFLICT DO NOTHING`, id)
			})
			if err != nil {
				return err
			}
		}
	}
	return rows.Err()
}

// pending finds deliveries that are to go on and have no body.
func (k *checker) pending() error {
	ids, err := k.ids(`SELECT DISTINCT blob FROM pending WHERE blob > $1
		AND NOT EXISTS (SELECT 1 FROM blob WHERE id = pending.blob) ORDER BY blob LIMIT $2`, -1<<63)
	for _, id := range ids {
		k.found(k.repair, fmt.Sprintf("blob %d", id), "a delivery that is to go on has no body")
		if !k.repair {
			continue
		}
		err := k.cfg.Committer.Do(commit.InDatabase, true, func(t *commit.Tx) error {
			return t.Exec(`DELETE FROM pending WHERE blob = $1`, id)
		})
		if err != nil {
			return err
		}
	}
	return err
}

// bodies reads every body and compares its checksum.
func (k *checker) bodies() error {
	var total int64
	if err := k.cfg.Read.QueryRowContext(k.ctx, `SELECT count(*) FROM blob`).Scan(&total); err != nil {
		return err
	}
	after, done := int64(-1<<63), int64(0)
	for {
		ids, locs, err := k.bodyPage(after)
		if err != nil || len(ids) == 0 {
			return err
		}
		for i, id := range ids {
			if err := k.cfg.Blobs.Verify(k.ctx, locs[i]); err != nil {
				if k.ctx.Err() != nil {
					return k.ctx.Err()
				}
				if k.gone(id, locs[i]) {
					continue
				}
				whose, wrong := k.whose(id)
				if wrong != nil {
					return wrong
				}
				k.found(false, fmt.Sprintf("volume %d offset %d", locs[i].Volume, locs[i].Offset),
					"%s cannot be read as it was written: %v", whose, err)
			}
			after = id
			done++
		}
		k.progress("bodies", done, total)
	}
}

// maxOwners bounds how many messages of one body are named.
const maxOwners = 10

// whose names the messages that a body belongs to.
func (k *checker) whose(id int64) (string, error) {
	if len(k.problems) >= maxProblems {
		return "", nil // told to nobody
	}
	rows, err := k.cfg.Read.QueryContext(k.ctx, `SELECT e.received, coalesce(a.address, ''),
		coalesce(m.name, ''), coalesce(n.uid, 0) FROM email e
		LEFT JOIN account a ON a.id = e.account
		LEFT JOIN entry n ON n.account = e.account AND n.email = e.id
		LEFT JOIN mailbox m ON m.account = n.account AND m.id = n.mailbox
		WHERE e.id IN (SELECT id FROM email WHERE id = $1 AND blob = $1
			UNION ALL SELECT id FROM email WHERE blob = $1 AND blob <> id) ORDER BY e.id LIMIT $2`, id, maxOwners+1)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var owners []string
	for rows.Next() {
		var received, uid int64
		var address, mailbox string
		if err := rows.Scan(&received, &address, &mailbox, &uid); err != nil {
			return "", err
		}
		owners = append(owners, fmt.Sprintf("%s in %s (UID %d, received %s)", address, mailbox, uid,
			time.UnixMicro(received).UTC().Format(time.DateTime)))
	}
	switch {
	case len(owners) == 0:
		return fmt.Sprintf("the body %d, which no message has any more,", id), rows.Err()
	case len(owners) > maxOwners:
		owners[maxOwners] = "others"
	}
	return "the message of " + strings.Join(owners, ", "), rows.Err()
}

// gone says whether a body was moved or removed since its row was read.
func (k *checker) gone(id int64, was blob.Location) bool {
	now, err := k.cfg.Location(mail.BlobID(id))
	return err != nil || now != was && k.cfg.Blobs.Verify(k.ctx, now) == nil
}

func (k *checker) bodyPage(after int64) (ids []int64, locs []blob.Location, err error) {
	rows, err := k.cfg.Read.QueryContext(k.ctx, `SELECT id, volume, place, size, sum FROM blob
		WHERE id > $1 ORDER BY id LIMIT $2`, after, pageRows)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, sum int64
		var l blob.Location
		if err := rows.Scan(&id, &l.Volume, &l.Offset, &l.Size, &sum); err != nil {
			return nil, nil, err
		}
		l.Sum = uint32(sum)
		ids, locs = append(ids, id), append(locs, l)
	}
	return ids, locs, rows.Err()
}
