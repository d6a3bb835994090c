package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/state"
)

// outdated proves that the database is not older than the state snapshot
// beside it, which is written after the commits that it knows of. One that is
// gets what it lacks if the configuration accepts that, and else is Damaged.
func (s *Store) outdated(ctx context.Context) (bool, error) {
	if s.cfg.Snapshot == "" {
		return false, nil
	}
	snap, err := state.ReadHead(s.cfg.Snapshot)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case mail.KindOf(err) == mail.Damaged:
		s.log.Error("the state snapshot is damaged; it will be written anew", "error", err)
		return false, nil
	case err != nil:
		return false, err
	}
	have, err := s.generation(ctx)
	if err != nil || snap.Generation <= have {
		return false, err
	}
	if !s.cfg.AcceptRestore {
		return true, mail.Errorf(mail.Damaged, fmt.Sprintf("the database is older than the state"+
			" snapshot beside it (change %d of accounts, domains and settings, %s knows %d): run"+
			" \"postrider check --repair\", or serve with --accept-restore", have,
			filepath.Base(s.cfg.Snapshot), snap.Generation))
	}
	return true, s.restoreMissing(ctx)
}

// restoreMissing gives an older database the domains and accounts that the
// newer state snapshot beside it has, so that the mail which the volumes
// have for them finds its owners, and no number is given twice. What the
// database knows itself stays as it is.
func (s *Store) restoreMissing(ctx context.Context) error {
	snap, err := state.Read(s.cfg.Snapshot)
	if errors.Is(err, os.ErrNotExist) || s.cfg.Snapshot == "" {
		return nil
	}
	if err != nil {
		return err
	}
	return s.committer.Alone(ctx, s.committer.Batch(), s.in(func(t *tx) error {
		return s.addMissing(t, snap)
	}))
}

func (s *Store) addMissing(t *tx, snap *state.Snapshot) error {
	for _, d := range snap.Domains {
		if err := t.Exec(`INSERT INTO domain (name, main, created) VALUES ($1, 0, $2)
			ON CONFLICT (name) DO NOTHING`, d.Name, d.Created.UnixMicro()); err != nil {
			return err
		}
	}
	next := snap.Next
	for i := range snap.Accounts {
		a := &snap.Accounts[i]
		next = max(next, int64(a.ID))
		known, err := t.knows(a)
		if err != nil {
			return err
		}
		if known {
			continue
		}
		if err := t.insertAccount(a.ID, &a.Account, t.laterValidity(a, store.Inbox)); err != nil {
			return err
		}
		if err := t.restoreParts(a); err != nil {
			return err
		}
		s.log.Info("account restored from the state snapshot", "account", a.Address.String())
	}
	s.ids.start(max(s.ids.last.Load(), snap.LastID), s.now)
	if err := t.Exec(`UPDATE state SET value = $1 WHERE name = 'generation' AND value < $1`,
		snap.Generation+1); err != nil {
		return err
	}
	return t.Exec(`UPDATE state SET value = $1 WHERE name = 'account' AND value < $1`, next)
}

// knows says whether the number or the address of an account is in use.
func (t *tx) knows(a *state.Account) (bool, error) {
	var n int
	err := t.Row(`SELECT (SELECT count(*) FROM account WHERE id = $1 OR address = $2) +
		(SELECT count(*) FROM purge WHERE account = $1)`, int64(a.ID), a.Address.Key()).Scan(&n)
	return n > 0, err
}
