package sqlstore

import (
	"context"
	"fmt"

	"postrider/internal/blob"
	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/audit"
	"postrider/internal/store/record"
	"postrider/internal/store/state"
	"postrider/internal/store/tidy"
)

// replayStep is how many records one transaction of a replay takes in.
const replayStep = 500

// A replay is what the volumes have and the database has not.
type replay struct {
	records []pendingRecord
	durable uint64         // the largest batch that some record knew durable in the database
	batch   uint64         // the largest batch number seen
	account mail.AccountID // the largest number of an account seen
	unowned int64          // messages that belong to nobody who is known
}

type pendingRecord struct {
	meta *record.Meta
	body blob.Location
}

// recover makes the rows of all records above the database's batch, before
// anything is served. A database that had forgotten a commit which was
// flushed is not this one after a crash but an older one put in its place, and
// so is one that has forgotten a change which the state snapshot knows.
func (s *Store) recover(ctx context.Context) error {
	conn, have := s.committer.Conn(), s.committer.Batch()
	if _, err := conn.ExecContext(ctx, `DELETE FROM lease`); err != nil {
		return err
	}
	r := &replay{batch: have}
	lost, err := s.lost(ctx)
	if err != nil {
		return err
	}
	restored, err := s.outdated(ctx) // before anything counts as a change
	if err != nil {
		return err
	}
	if err := s.staged.Resume(ctx); err != nil {
		return err
	}
	err = s.blobs.Records(ctx, have, func(rec blob.Record) error {
		r.batch, r.durable = max(r.batch, rec.Batch), max(r.durable, rec.Durable)
		switch older := r.durable > have; {
		case lost:
			return errLost
		case older && !s.cfg.AcceptRestore:
			return mail.Errorf(mail.Damaged, fmt.Sprintf("the database is older than its volumes"+
				" (batch %d, they know %d): run \"postrider check --repair\", or serve"+
				" with --accept-restore", have, r.durable))
		case older && !restored:
			if err := s.restoreMissing(ctx); err != nil {
				return err
			}
			restored = true
		}
		m, err := record.Parse(rec.Meta)
		if err != nil {
			return &mail.Error{Kind: mail.Damaged, Text: "a volume record cannot be read", Err: err}
		}
		r.records = append(r.records, pendingRecord{m, rec.Body})
		if len(r.records) < replayStep {
			return nil
		}
		return s.takeIn(ctx, r, false)
	})
	if err != nil {
		return err
	}
	if restored || r.durable > have {
		if err := s.renewUIDValidity(ctx); err != nil {
			return err
		}
	}
	if r.batch > have {
		s.log.Info("taking in what the volumes have", "from", have, "to", r.batch)
	}
	// Also when there is nothing to take in: from here on the database is
	// known to be durable, so that the volumes can tell an older one.
	err = s.takeIn(ctx, r, true)
	if err == nil {
		// What an older database had may have been removed since.
		err = s.absent(ctx, s.cfg.AcceptAbsent || restored || r.durable > have)
	}
	if err == nil {
		err = s.finishPromised(ctx)
	}
	s.unowned = r.unowned
	if s.unowned > 0 {
		s.log.Error("the volumes have messages of accounts that are not known", "messages", s.unowned)
	}
	return err
}

// absent proves that the volumes are there which the database knows, or gives
// up those that are not.
func (s *Store) absent(ctx context.Context, accept bool) error {
	missing, err := audit.Absent(ctx, s.committer.Conn(), s.blobs)
	if len(missing) == 0 || !accept {
		return err
	}
	s.log.Error("volumes with mail are given up", "volumes", fmt.Sprint(missing))
	return s.committer.Alone(ctx, s.committer.Batch(), s.in(func(t *tx) error {
		return audit.GiveUp(t.Tx, missing)
	}))
}

var errLost = mail.Errorf(mail.Damaged, "there is no database, or an empty one, beside volumes"+
	" or a state snapshot that are not: run \"postrider check --repair\"")

// lost says whether the database knows nobody. Then there must be no mail in
// the volumes; and if there are accounts in the state snapshot it has been
// lost, which is told at once.
func (s *Store) lost(ctx context.Context) (bool, error) {
	var n int
	row := s.committer.Conn().QueryRowContext(ctx, `SELECT (SELECT count(*) FROM account) +
		(SELECT count(*) FROM domain)`)
	if err := row.Scan(&n); err != nil || n > 0 {
		return false, err
	}
	snap, err := state.Read(s.cfg.Snapshot)
	if err == nil && len(snap.Accounts) > 0 {
		return true, errLost
	}
	return true, nil
}

// finishPromised delivers what was promised and is due, when all that has a
// number has its place again.
func (s *Store) finishPromised(ctx context.Context) error {
	_, err := s.deliverDue(ctx, func(run func(*tx) error) error {
		return s.committer.Alone(ctx, s.committer.Batch(), s.in(run))
	})
	return err
}

// Unowned is how many messages of the volumes belonged to no account that
// is known, when the store was opened.
func (s *Store) Unowned() int64 { return s.unowned }

// takeIn commits the gathered records, flushed. Only the last step raises
// the batch number: until then a second crash begins again, and rows that
// are there already are passed over.
func (s *Store) takeIn(ctx context.Context, r *replay, last bool) error {
	batch := s.committer.Batch()
	if last {
		batch = r.batch
	}
	err := s.committer.Alone(ctx, batch, s.in(func(t *tx) error {
		for i := range r.records {
			if err := s.redeliver(t, r, &r.records[i]); err != nil {
				return err
			}
		}
		// An account that is not known any more had its number all the same.
		return t.Exec(`UPDATE state SET value = $1 WHERE name = 'account' AND value < $1`,
			int64(r.account))
	}))
	r.records = r.records[:0]
	return err
}

// redeliver makes the rows of one record, except those that are there.
func (s *Store) redeliver(t *tx, r *replay, p *pendingRecord) error {
	m, body := p.meta, p.body
	if err := t.insertBlob(m.Blob, body); err != nil {
		return err
	}
	s.ids.start(max(s.ids.last.Load(), int64(m.Blob)), s.now)
	format, parsed := s.reparse(body)
	used := false
	placed := m.Targets
	for len(placed) > 0 && placed[len(placed)-1].UID == 0 {
		placed = placed[:len(placed)-1]
	}
	for i := range placed {
		there, err := t.retarget(m, &m.Targets[i], format, parsed)
		if err != nil {
			return err
		}
		used = used || there
	}
	for i := range m.Targets {
		r.account = max(r.account, m.Targets[i].Account)
		s.ids.start(max(s.ids.last.Load(), int64(m.Targets[i].Email)), s.now)
	}
	if !used && len(placed) == len(m.Targets) {
		r.unowned++
		if err := tidy.Orphan(t.Tx, int64(m.Blob)); err != nil {
			return err
		}
	}
	traceID := s.ids.next()
	if len(m.Trace) > 0 {
		if err := t.insertTrace(traceID, m.Received, m.Trace); err != nil {
			return err
		}
	}
	return t.insertPending(m, m.Targets[len(placed):], len(parsed), traceID)
}

// retarget makes the rows of a message in a mailbox, and says whether it is
// there afterwards.
func (t *tx) retarget(m *record.Meta, r *record.Target, format int, parsed []byte) (bool, error) {
	n, err := t.counters(r.Account)
	if mail.KindOf(err) == mail.NotFound {
		return false, nil // the account was removed since, or is not in the snapshot
	}
	if err != nil {
		return false, err
	}
	box, err := t.mailbox(n, r.Account, r.Mailbox)
	if mail.KindOf(err) == mail.NotFound {
		box, err = t.recoveredMailbox(n, r.Account, r.Mailbox)
	}
	if err != nil {
		return false, err
	}
	var there, taken int
	err = t.Row(`SELECT (SELECT count(*) FROM email WHERE account = $1 AND id = $4),
		(SELECT count(*) FROM entry WHERE account = $1 AND mailbox = $2 AND uid = $3)`,
		int64(r.Account), int64(r.Mailbox), int64(r.UID), int64(r.Email)).Scan(&there, &taken)
	if err != nil || there > 0 {
		return there > 0, err
	}
	if taken > 0 { // by a message that the volumes do not know of
		r.UID = box.UIDNext
	}
	t.change(n, box)
	n.usage.ModSeq = max(n.usage.ModSeq, r.ModSeq)
	box.ModSeq = max(box.ModSeq, r.ModSeq)
	count(&n.usage, box, r)
	return true, t.insertTarget(m, r, format, parsed)
}

// recoveredMailbox makes a mailbox whose name is not known any more.
func (t *tx) recoveredMailbox(n *counters, a mail.AccountID, id mail.MailboxID) (
	*store.Mailbox, error) {
	m := &store.Mailbox{Account: a, ID: id, Name: audit.RecoveredName(id),
		UIDValidity: uint32(t.Now.Unix()), UIDNext: 1, ModSeq: 1}
	n.mailboxes[id] = m
	return m, t.Exec(`INSERT INTO mailbox (`+mailboxColumns+`)
		VALUES ($1, $2, $3, $4, 1, 1, 0, 0, 0)`, int64(a), int64(id), m.Name, int64(m.UIDValidity))
}

// renewUIDValidity gives every mailbox a new one: its numbers may have been
// used for messages that this database does not know.
func (s *Store) renewUIDValidity(ctx context.Context) error {
	_, err := s.committer.Conn().ExecContext(ctx, `UPDATE mailbox SET uidvalidity =
		CASE WHEN uidvalidity < $1 THEN $1 ELSE uidvalidity + 1 END`, s.now().Unix())
	return err
}

func (s *Store) reparse(loc blob.Location) (int, []byte) {
	if s.cfg.Reparse == nil {
		return 0, nil
	}
	r, err := s.blobs.Open(loc)
	if err != nil {
		return 0, nil
	}
	defer r.Close()
	return s.cfg.Reparse(r, r.Size())
}
