package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"postrider/internal/blob"
	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/record"
	"postrider/internal/store/state"
)

// Rebuilt tells what Rebuild has done.
type Rebuilt struct {
	Aside   string // where the old database is now; empty if there was none
	Unowned int64  // messages of accounts that the snapshot does not know
}

// Rebuild makes a new database from the volumes and the state snapshot. The
// old file, if there is one, is kept beside it under another name. What cannot
// be known any more are flags, deletions and moves since delivery; every
// mailbox gets a new UIDVALIDITY. The store must not be open.
func Rebuild(ctx context.Context, cfg Config, p store.Progress) (r Rebuilt, err error) {
	if p == nil {
		p = func(string, int64, int64) {}
	}
	snap, err := state.Read(cfg.Snapshot)
	if errors.Is(err, os.ErrNotExist) {
		return r, mail.Errorf(mail.Damaged, "there is no state snapshot ("+cfg.Snapshot+
			"): without it nobody knows whose the messages in the volumes are; put this file or the"+
			" database back from a backup, or begin anew in another data directory")
	}
	if err != nil {
		return r, err
	}
	if r.Aside, err = setAside(cfg.Path); err != nil {
		return r, err
	}
	cfg.Quiet = true
	s, err := open(ctx, cfg)
	if err != nil {
		return r, err
	}
	if err := s.rebuild(ctx, snap, p); err != nil {
		s.closeDatabases()
		return r, err
	}
	r.Unowned = s.unowned
	// The next rebuild must know these UIDVALIDITYs.
	s.keeper.snapshotSoon()
	if err := s.writeSnapshot(ctx); err != nil {
		s.closeDatabases()
		return r, err
	}
	if err := s.committer.Checkpoint(ctx); err != nil {
		s.closeDatabases()
		return r, err
	}
	return r, s.closeDatabases()
}

func setAside(path string) (string, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	aside := fmt.Sprintf("%s.old-%s", path, time.Now().UTC().Format("20060102T150405"))
	for _, suffix := range []string{"", "-wal", "-shm"} {
		err := os.Rename(path+suffix, aside+suffix)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	return aside, nil
}

func (s *Store) rebuild(ctx context.Context, snap *state.Snapshot, p store.Progress) error {
	err := s.committer.Alone(ctx, s.committer.Batch(), s.in(func(t *tx) error {
		return s.writeState(t, snap)
	}))
	if err != nil {
		return err
	}
	p("accounts", int64(len(snap.Accounts)), int64(len(snap.Accounts)))
	r := &replay{}
	done := int64(0)
	err = s.blobs.Records(ctx, 0, func(rec blob.Record) error {
		r.batch = max(r.batch, rec.Batch, rec.Durable)
		m, err := record.Parse(rec.Meta)
		if err != nil {
			s.log.Error("a volume record cannot be read", "volume", rec.Body.Volume,
				"offset", rec.Body.Offset)
			return nil
		}
		r.records = append(r.records, pendingRecord{m, rec.Body})
		done++
		if len(r.records) < replayStep {
			return nil
		}
		p("messages", done, 0)
		return s.takeIn(ctx, r, false)
	})
	if err != nil {
		return err
	}
	p("messages", done, done)
	if err := s.takeIn(ctx, r, true); err != nil {
		return err
	}
	s.unowned = r.unowned
	return s.finishPromised(ctx)
}

// writeState writes domains, accounts and settings.
func (s *Store) writeState(t *tx, snap *state.Snapshot) error {
	for _, d := range snap.Domains {
		if err := t.Exec(`INSERT INTO domain (name, main, created) VALUES ($1, $2, $3)`, d.Name,
			number(d.Main), d.Created.UnixMicro()); err != nil {
			return err
		}
	}
	for name, value := range snap.Settings {
		if err := t.Exec(`INSERT INTO setting (name, value) VALUES ($1, $2)`, name, value); err != nil {
			return err
		}
	}
	next := snap.Next
	for i := range snap.Accounts {
		a := &snap.Accounts[i]
		next = max(next, int64(a.ID))
		if err := t.insertAccount(a.ID, &a.Account, t.laterValidity(a, store.Inbox)); err != nil {
			return err
		}
		if err := t.restoreParts(a); err != nil {
			return err
		}
	}
	s.ids.start(max(s.ids.last.Load(), snap.LastID), s.now)
	if err := t.Exec(`UPDATE state SET value = $1 WHERE name = 'generation'`,
		snap.Generation+1); err != nil {
		return err
	}
	return t.Exec(`UPDATE state SET value = $1 WHERE name = 'account'`, next)
}

// laterValidity is a UIDVALIDITY for a mailbox that is above the one it had,
// even if the clock was set back.
func (t *tx) laterValidity(a *state.Account, id mail.MailboxID) uint32 {
	v := uint32(t.Now.Unix())
	for _, m := range a.Mailboxes {
		if m.ID == id {
			v = max(v, m.UIDValidity+1)
		}
	}
	return v
}

func (t *tx) restoreParts(a *state.Account) error {
	for _, c := range a.Credentials {
		if err := t.Exec(`INSERT INTO credential (account, kind, name, data, created)
			VALUES ($1, $2, $3, $4, $5)`, int64(a.ID), c.Kind, c.Name, c.Data,
			c.Created.UnixMicro()); err != nil {
			return err
		}
	}
	for _, m := range a.Mailboxes {
		if m.ID == store.Inbox {
			continue
		}
		if err := t.Exec(`INSERT INTO mailbox (`+mailboxColumns+`)
			VALUES ($1, $2, $3, $4, 1, 1, 0, 0, 0)`, int64(a.ID), int64(m.ID), m.Name,
			int64(t.laterValidity(a, m.ID))); err != nil {
			return err
		}
	}
	return nil
}
