package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/state"
)

// writeSnapshot writes the snapshot if something has changed since.
func (s *Store) writeSnapshot(ctx context.Context) error {
	if s.cfg.Snapshot == "" || !s.keeper.changed.Swap(false) {
		return nil
	}
	if busy, err := s.importing(ctx); busy || err != nil {
		s.keeper.changed.Store(true) // half a list of accounts is no state
		return err
	}
	snap := &state.Snapshot{Written: s.now(), LastID: s.ids.last.Load()}
	err := s.gather(ctx, snap)
	if err == nil {
		err = state.Write(s.cfg.Snapshot, snap, func(each func(*state.Account) error) error {
			return s.gatherAccounts(ctx, each)
		})
	}
	if err != nil {
		s.keeper.changed.Store(true)
	}
	return err
}

// importing says whether a long list of accounts is under way.
func (s *Store) importing(ctx context.Context) (busy bool, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT count(*) > 0 FROM staged_job`).Scan(&busy)
	return busy, err
}

// nextGeneration counts a change of accounts, domains or settings, which the
// snapshot is to have too.
func (t *tx) nextGeneration() error {
	t.After(t.s.keeper.snapshotSoon)
	return t.Exec(`UPDATE state SET value = value + 1 WHERE name = 'generation'`)
}

// generation is how many changes the database knows.
func (s *Store) generation(ctx context.Context) (n int64, err error) {
	err = s.committer.Conn().QueryRowContext(ctx,
		`SELECT value FROM state WHERE name = 'generation'`).Scan(&n)
	return n, err
}

// gather reads the generation first: what changes meanwhile is in the next
// snapshot, and none claims to have more than it has.
func (s *Store) gather(ctx context.Context, snap *state.Snapshot) (err error) {
	err = s.read.QueryRowContext(ctx, `SELECT value FROM state WHERE name = 'generation'`).
		Scan(&snap.Generation)
	if err != nil {
		return err
	}
	err = s.read.QueryRowContext(ctx, `SELECT value FROM state WHERE name = 'account'`).
		Scan(&snap.Next)
	if err != nil {
		return err
	}
	if snap.Domains, err = s.Domains(ctx); err != nil {
		return err
	}
	snap.Settings, err = s.Settings(ctx)
	return err
}

// gatherAccounts calls fn for every account, reading some at a time.
func (s *Store) gatherAccounts(ctx context.Context, fn func(*state.Account) error) error {
	for after := mail.AccountID(0); ; {
		page, err := s.accountPage(ctx, after)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, a := range page {
			if err := fn(a); err != nil {
				return err
			}
			after = a.ID
		}
	}
}

func (s *Store) accountPage(ctx context.Context, after mail.AccountID) (
	page []*state.Account, err error) {
	byID := map[mail.AccountID]*state.Account{}
	last := after
	err = s.each(ctx, `SELECT `+accountColumns+` FROM account WHERE id > $1 ORDER BY id LIMIT $2`,
		[]any{int64(after), maxRows}, func(rows *sql.Rows) error {
			a, err := scanAccount(rows)
			if err == nil {
				one := &state.Account{Account: *a}
				page, byID[a.ID], last = append(page, one), one, a.ID
			}
			return err
		})
	if err != nil {
		return nil, err
	}
	among := []any{int64(after), int64(last)}
	err = s.each(ctx, `SELECT account, kind, name, data, created FROM credential
		WHERE account > $1 AND account <= $2 ORDER BY account, kind, name`, among,
		func(rows *sql.Rows) error {
			var id mail.AccountID
			var c store.Credential
			var created int64
			if err := rows.Scan(&id, &c.Kind, &c.Name, &c.Data, &created); err != nil {
				return err
			}
			c.Created = time.UnixMicro(created)
			if a := byID[id]; a != nil {
				a.Credentials = append(a.Credentials, c)
			}
			return nil
		})
	if err != nil {
		return nil, err
	}
	return page, s.each(ctx, `SELECT account, id, name, uidvalidity FROM mailbox
		WHERE account > $1 AND account <= $2 ORDER BY account, id`, among,
		func(rows *sql.Rows) error {
			var id mail.AccountID
			var m state.Mailbox
			if err := rows.Scan(&id, &m.ID, &m.Name, &m.UIDValidity); err != nil {
				return err
			}
			if a := byID[id]; a != nil {
				a.Mailboxes = append(a.Mailboxes, m)
			}
			return nil
		})
}

// each calls fn for the rows of a query.
func (s *Store) each(ctx context.Context, query string, args []any,
	fn func(*sql.Rows) error) error {
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
