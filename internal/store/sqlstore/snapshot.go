package sqlstore

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"postrider/internal/durable"
	"postrider/internal/mail"
	"postrider/internal/store"
)

// A snapshot is what check --repair cannot find in the volumes. It is
// written as JSON, mode 0600, because it holds password hashes.
type snapshot struct {
	Version  int               `json:"version"`
	Written  time.Time         `json:"written"`
	Next     int64             `json:"last_account"`
	LastID   int64             `json:"last_id"`
	Domains  []store.Domain    `json:"domains"`
	Accounts []snapshotAccount `json:"-"` // each on a line of its own
	Settings map[string]string `json:"settings"`
}

type snapshotAccount struct {
	store.Account
	Credentials []store.Credential `json:"credentials"`
	Mailboxes   []snapshotMailbox  `json:"mailboxes"`
}

type snapshotMailbox struct {
	ID          mail.MailboxID `json:"id"`
	Name        string         `json:"name"`
	UIDValidity uint32         `json:"uidvalidity"`
}

const snapshotVersion = 1

// writeSnapshot writes the snapshot if something has changed since: a line
// with everything but the accounts, then a line for each of them.
func (s *Store) writeSnapshot(ctx context.Context) error {
	if s.cfg.Snapshot == "" || !s.keeper.changed.Swap(false) {
		return nil
	}
	s.keeper.lastSnap = s.now()
	err := durable.WriteFile(s.cfg.Snapshot, 0o600, func(w io.Writer) error {
		out := bufio.NewWriterSize(w, 64<<10)
		enc := json.NewEncoder(out)
		snap := &snapshot{Version: snapshotVersion, Written: s.now(), LastID: s.ids.last.Load()}
		if err := s.gather(ctx, snap); err != nil {
			return err
		}
		if err := enc.Encode(snap); err != nil {
			return err
		}
		if err := s.gatherAccounts(ctx, func(a *snapshotAccount) error {
			return enc.Encode(a)
		}); err != nil {
			return err
		}
		return out.Flush()
	})
	if err != nil {
		s.keeper.changed.Store(true)
	}
	return err
}

func (s *Store) gather(ctx context.Context, snap *snapshot) (err error) {
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
func (s *Store) gatherAccounts(ctx context.Context, fn func(*snapshotAccount) error) error {
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
	page []*snapshotAccount, err error) {
	byID := map[mail.AccountID]*snapshotAccount{}
	last := after
	err = s.each(ctx, `SELECT `+accountColumns+` FROM account WHERE id > $1 ORDER BY id LIMIT $2`,
		[]any{int64(after), maxRows}, func(rows *sql.Rows) error {
			a, err := scanAccount(rows)
			if err == nil {
				one := &snapshotAccount{Account: *a}
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
			var m snapshotMailbox
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

func readSnapshot(path string) (*snapshot, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	snap := new(snapshot)
	dec := json.NewDecoder(bufio.NewReader(f))
	err = dec.Decode(snap)
	for err == nil {
		var a snapshotAccount
		if err = dec.Decode(&a); err == nil {
			snap.Accounts = append(snap.Accounts, a)
		}
	}
	if !errors.Is(err, io.EOF) || snap.Version != snapshotVersion {
		return nil, &mail.Error{Kind: mail.Damaged, Text: "the state snapshot " + path, Err: err}
	}
	return snap, nil
}
