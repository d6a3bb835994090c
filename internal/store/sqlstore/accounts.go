package sqlstore

import (
	"context"
	"fmt"
	"time"

	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/commit"
	"postrider/internal/store/staged"
)

// WriteAccounts implements store.Store. A short list is one transaction.
func (s *Store) WriteAccounts(ctx context.Context, writes []store.AccountWrite) error {
	if len(writes) > staged.PerOp {
		return s.staged.Write(ctx, writes)
	}
	return s.do(commit.InDatabase, len(writes) > 1, func(t *tx) error {
		if err := staged.Idle(t.Tx); err != nil {
			return err
		}
		return t.writeAccounts(s, writes)
	})
}

func (t *tx) writeAccounts(s *Store, writes []store.AccountWrite) error {
	for i := range writes {
		if err := t.writeAccount(s, &writes[i]); err != nil {
			if len(writes) > 1 {
				return fmt.Errorf("account %s: %w", writes[i].Account.Address, err)
			}
			return err
		}
	}
	t.After(func() {
		for i := range writes {
			s.directory.forget(writes[i].Account.ID, writes[i].Account.Address.Key())
		}
	})
	return t.nextGeneration()
}

func (t *tx) writeAccount(s *Store, w *store.AccountWrite) error {
	a := w.Account
	var err error
	switch {
	case w.Remove:
		return t.removeAccount(a.ID)
	case a.ID == 0:
		a.ID, err = t.addAccount(&a)
	default:
		err = t.updateAccount(&a)
	}
	if err != nil || !w.Replace {
		return err
	}
	if err := t.Exec(`DELETE FROM credential WHERE account = $1`, int64(a.ID)); err != nil {
		return err
	}
	for _, c := range w.Credentials {
		created := c.Created
		if created.IsZero() {
			created = t.Now
		}
		err := t.Exec(`INSERT INTO credential (account, kind, name, data, created)
			VALUES ($1, $2, $3, $4, $5)`, int64(a.ID), c.Kind, c.Name, c.Data, created.UnixMicro())
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) addAccount(a *store.Account) (mail.AccountID, error) {
	if err := staged.Free(a.Address, t.Row); err != nil {
		return 0, err
	}
	if err := t.Exec(`UPDATE state SET value = value + 1 WHERE name = 'account'`); err != nil {
		return 0, err
	}
	var id int64
	if err := t.Row(`SELECT value FROM state WHERE name = 'account'`).Scan(&id); err != nil {
		return 0, err
	}
	return mail.AccountID(id), t.insertAccount(mail.AccountID(id), a, uint32(t.Now.Unix()))
}

// insertAccount writes the rows of a new account with its Inbox.
func (t *tx) insertAccount(id mail.AccountID, a *store.Account, uidValidity uint32) error {
	created := a.Created
	if created.IsZero() || created.Equal(time.UnixMicro(0)) {
		created = t.Now
	}
	err := t.Exec(`INSERT INTO account (`+accountColumns+`, domain)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`, int64(id), a.Address.Key(),
		a.FullName, number(a.Enabled), number(a.Login), a.Quota, int(a.APOP), a.Volume,
		max(a.Version, 1), a.Notify, created.UnixMicro(), t.Now.UnixMicro(), a.Address.Domain)
	if err != nil {
		return err
	}
	if err := t.Exec(`INSERT INTO drop_usage (account, modseq, messages, bytes)
		VALUES ($1, 1, 0, 0)`, int64(id)); err != nil {
		return err
	}
	return t.Exec(`INSERT INTO mailbox (`+mailboxColumns+`)
		VALUES ($1, $2, 'INBOX', $3, 1, 1, 0, 0, 0)`, int64(id), int64(store.Inbox), int64(uidValidity))
}

// updateAccount writes an account's row. The version rises whenever the
// caller says so; the address never changes.
func (t *tx) updateAccount(a *store.Account) error {
	n, err := t.Changed(`UPDATE account SET full_name = $2, enabled = $3, login = $4, quota = $5,
		apop = $6, volume = $7, version = $8, notify = $9, changed = $10 WHERE id = $1`, int64(a.ID),
		a.FullName, number(a.Enabled), number(a.Login), a.Quota, int(a.APOP), a.Volume, a.Version,
		a.Notify, t.Now.UnixMicro())
	if err == nil && n == 0 {
		err = notFound("no such account")
	}
	return err
}

// removeAccount takes an account away at once; its mail is removed in small
// steps afterwards, which purge remembers.
func (t *tx) removeAccount(id mail.AccountID) error {
	n, err := t.Changed(`DELETE FROM account WHERE id = $1`, int64(id))
	if err != nil {
		return err
	}
	if n == 0 {
		return notFound("no such account")
	}
	for _, q := range []string{
		`DELETE FROM credential WHERE account = $1`,
		`DELETE FROM drop_usage WHERE account = $1`,
		`INSERT INTO purge (account) VALUES ($1)`,
	} {
		if err := t.Exec(q, int64(id)); err != nil {
			return err
		}
	}
	delete(t.cached.byAccount, id)
	delete(t.touched, id)
	return nil
}
