package sqlstore

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"time"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// A snapshot is what check --repair cannot find in the volumes. It is
// written as JSON, mode 0600, because it holds password hashes.
type snapshot struct {
	Version  int               `json:"version"`
	Written  time.Time         `json:"written"`
	Next     int64             `json:"last_account"`
	Domains  []store.Domain    `json:"domains"`
	Accounts []snapshotAccount `json:"accounts"`
	Settings map[string]string `json:"settings"`
}

type snapshotAccount struct {
	store.Account
	Credentials []store.Credential `json:"credentials"`
	Mailboxes   []snapshotMailbox  `json:"mailboxes"`
}

type snapshotMailbox struct {
	ID   mail.MailboxID `json:"id"`
	Name string         `json:"name"`
}

const snapshotVersion = 1

// writeSnapshot writes the snapshot if something has changed since.
func (s *Store) writeSnapshot(ctx context.Context) error {
	if s.cfg.Snapshot == "" || !s.keeper.changed.Swap(false) {
		return nil
	}
	s.keeper.lastSnap = s.now()
	snap, err := s.gather(ctx)
	if err == nil {
		err = writeFile(s.cfg.Snapshot, func(w io.Writer) error {
			return json.NewEncoder(w).Encode(snap)
		})
	}
	if err != nil {
		s.keeper.changed.Store(true)
	}
	return err
}

func (s *Store) gather(ctx context.Context) (*snapshot, error) {
	snap := &snapshot{Version: snapshotVersion, Written: s.now()}
	err := s.read.QueryRowContext(ctx, `SELECT value FROM state WHERE name = 'account'`).
		Scan(&snap.Next)
	if err != nil {
		return nil, err
	}
	if snap.Domains, err = s.Domains(ctx); err != nil {
		return nil, err
	}
	if snap.Settings, err = s.Settings(ctx); err != nil {
		return nil, err
	}
	after := ""
	for {
		page, err := s.Accounts(ctx, "", after, maxRows)
		if err != nil {
			return nil, err
		}
		for _, a := range page {
			one := snapshotAccount{Account: a}
			if one.Credentials, err = s.Credentials(ctx, a.ID); err != nil {
				return nil, err
			}
			if one.Mailboxes, err = s.mailboxNames(ctx, a.ID); err != nil {
				return nil, err
			}
			snap.Accounts = append(snap.Accounts, one)
			after = a.Address.Key()
		}
		if len(page) < maxRows {
			return snap, nil
		}
	}
}

func (s *Store) mailboxNames(ctx context.Context, a mail.AccountID) ([]snapshotMailbox, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, name FROM mailbox WHERE account = $1`, int64(a))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []snapshotMailbox
	for rows.Next() {
		var m snapshotMailbox
		if err := rows.Scan(&m.ID, &m.Name); err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, rows.Err()
}

func readSnapshot(path string) (*snapshot, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	snap := new(snapshot)
	if err := json.NewDecoder(f).Decode(snap); err != nil {
		return nil, &mail.Error{Kind: mail.Damaged, Text: "the state snapshot " + path, Err: err}
	}
	return snap, nil
}

// writeFile replaces a file so that a crash leaves the old one or the new
// one: a temporary file beside it, flushed, renamed, directory flushed.
func writeFile(path string, fill func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
