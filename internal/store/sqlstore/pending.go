package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"postrider/internal/blob"
	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/commit"
	"postrider/internal/store/record"
	"postrider/internal/store/story"
	"postrider/internal/store/tidy"
)

// A delivery that is promised but not finished stands in the table pending:
// a message for very many, or one that its sender wants held until later. A
// row is a part of it, for targetsPerOp targets at most, and disappears in
// the transaction that delivers to them. So each of them gets the message
// once, whatever happens in between.
//
// The record in the volume names all targets, so the rows of pending are made
// again with the others when the volumes are replayed.

const (
	// pendingEvery is how often parts are looked for that nobody works at.
	pendingEvery = 30 * time.Second
	// damagedWait is how long a part that cannot be read is let alone.
	damagedWait = 24 * time.Hour
	// pendingAtOnce is how many parts one look takes in.
	pendingAtOnce = 100
)

// insertPending notes that targets of a delivery, whose parsed form has so
// many bytes, have been promised it.
func (t *tx) insertPending(m *record.Meta, targets []record.Target, parsed int,
	traceID int64) error {
	due := m.Due
	if due.IsZero() {
		due = m.Received
	}
	for part := 0; len(targets) > 0; part++ {
		n, _ := step(parsed, len(targets), func(i int) []byte { return targets[i].Prefix })
		some := record.Meta{Blob: m.Blob, Received: m.Received, Sent: m.Sent, Thread: m.Thread,
			Due: m.Due, Targets: targets[:n]}
		targets = targets[n:]
		last := int64(0)
		for i := range some.Targets {
			last = max(last, int64(some.Targets[i].Email))
		}
		err := t.Exec(`INSERT INTO pending (blob, part, due, trace, last, data)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (blob, part) DO NOTHING`, int64(m.Blob), part,
			due.UnixMicro(), traceID, last, some.Append(nil))
		if err != nil {
			return err
		}
	}
	return nil
}

// goOn delivers the parts of a delivery that its first step has left. The
// sender has been promised them: what fails now is done later.
func (s *Store) goOn(d *delivery, results []store.Result) {
	targets := d.Targets[len(d.Targets)-len(results):]
	for part := 0; len(results) > 0; part++ {
		n, _ := step(len(d.Parsed), len(targets), func(i int) []byte { return targets[i].Prefix })
		err := s.inStep(finishPart(d.blob, part, d.Format, d.Parsed, results[:n]))
		if err != nil {
			s.log.Warn("a delivery goes on later", "blob", int64(d.blob), "part", part, "error", err)
			s.keeper.pendingSoon()
			return
		}
		results, targets = results[n:], targets[n:]
	}
}

// inStep runs an operation that delivers to as many as one may.
func (s *Store) inStep(run func(*tx) error) error {
	return s.committer.Submit(&commit.Op{Promise: commit.InDatabase, Weight: targetsPerOp,
		Run: s.in(run)})
}

// finishPart is the operation that delivers one part. It fills in results, if
// there are any. A part that is gone was delivered by somebody else.
func finishPart(id mail.BlobID, part int, format int, parsed []byte,
	results []store.Result) func(*tx) error {
	return func(t *tx) error {
		var traceID int64
		var data []byte
		err := t.Row(`SELECT trace, data FROM pending WHERE blob = $1 AND part = $2`, int64(id), part).
			Scan(&traceID, &data)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		m, err := record.Parse(data)
		if err != nil { // damage; it must not keep the others waiting
			t.s.log.Error("a delivery cannot go on", "blob", int64(id), "part", part, "error", err)
			return t.Exec(`UPDATE pending SET due = $3 WHERE blob = $1 AND part = $2`, int64(id), part,
				t.Now.Add(damagedWait).UnixMicro())
		}
		if err := t.placeAll(m, part, traceID, format, parsed); err != nil {
			return err
		}
		for i := range min(len(results), len(m.Targets)) {
			results[i].UID = m.Targets[i].UID
		}
		return nil
	}
}

// placeAll gives each target its place. Who was promised the message gets
// it, whatever his quota says by now, and even if the account was disabled
// since; only for a removed account it is too late.
func (t *tx) placeAll(m *record.Meta, part int, traceID int64, format int, parsed []byte) error {
	gone := map[mail.AccountID]bool{}
	for i := range m.Targets {
		r := &m.Targets[i]
		n, box, err := t.box(r.Account, r.Mailbox)
		if mail.KindOf(err) == mail.NotFound {
			gone[r.Account] = true
			continue
		}
		if err != nil {
			return err
		}
		r.Mailbox, r.UID, r.ModSeq = box.ID, box.UIDNext, t.change(n, box)
		count(&n.usage, box, r)
		if err := t.insertTarget(m, r, format, parsed); err != nil {
			return err
		}
	}
	if err := t.Exec(`DELETE FROM pending WHERE blob = $1 AND part = $2`, int64(m.Blob), part); err != nil {
		return err
	}
	if len(gone) > 0 {
		// Perhaps nobody is left to have it.
		if err := tidy.Orphan(t.Tx, int64(m.Blob)); err != nil {
			return err
		}
	}
	var left int
	err := t.Row(`SELECT count(*) FROM pending WHERE blob = $1`, int64(m.Blob)).Scan(&left)
	if err != nil || left > 0 && len(gone) == 0 {
		return err
	}
	return t.finishTrace(traceID, gone, left == 0)
}

// box finds the counters of a mailbox; a mailbox that was removed gives way
// to the Inbox.
func (t *tx) box(a mail.AccountID, id mail.MailboxID) (*counters, *store.Mailbox, error) {
	n, err := t.counters(a)
	if err != nil {
		return nil, nil, err
	}
	box, err := t.mailbox(n, a, max(id, store.Inbox))
	if mail.KindOf(err) == mail.NotFound && id > store.Inbox {
		box, err = t.mailbox(n, a, store.Inbox)
	}
	return n, box, err
}

// finishTrace writes into a trace what became of recipients who had only been
// promised their message: those who are gone by now, and after the last part
// all others.
func (t *tx) finishTrace(id int64, gone map[mail.AccountID]bool, last bool) error {
	var at int64
	var data []byte
	err := t.Row(`SELECT time, data FROM trace WHERE id = $1`, id).Scan(&at, &data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // too old to be kept
	}
	if err != nil {
		return err
	}
	told, err := story.Parse(time.UnixMicro(at), data)
	if err != nil {
		return nil // unreadable; the message matters more
	}
	for i := range told.Recipients {
		r := &told.Recipients[i]
		switch {
		case r.Outcome != promised:
		case gone[r.Account]:
			r.Outcome, r.Reason, r.Email = "refused", "the account was removed meanwhile", 0
		case last:
			r.Outcome = "delivered" // a reason tells until when it was held
		}
	}
	return t.Exec(`UPDATE trace SET data = $2 WHERE id = $1`, id, story.Append(nil, told))
}

// promised is the outcome of a recipient whose message is safe but not yet in
// the mailbox.
const promised = "accepted"

// deliverDue delivers the parts that are due, each by do, and tells when the
// next one is; zero is never.
func (s *Store) deliverDue(ctx context.Context, do func(func(*tx) error) error) (
	next time.Time, err error) {
	for {
		parts, err := s.dueParts(ctx)
		if err != nil {
			return next, err
		}
		for _, p := range parts {
			format, parsed := s.reparse(p.body)
			if err := do(finishPart(p.blob, p.part, format, parsed, nil)); err != nil {
				return next, err
			}
		}
		if len(parts) < pendingAtOnce {
			break
		}
	}
	var due sql.NullInt64
	err = s.read.QueryRowContext(ctx, `SELECT min(due) FROM pending`).Scan(&due)
	if due.Valid {
		next = time.UnixMicro(due.Int64)
	}
	return next, err
}

type duePart struct {
	blob mail.BlobID
	part int
	body blob.Location
}

func (s *Store) dueParts(ctx context.Context) ([]duePart, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT p.blob, p.part, b.volume, b.place, b.size, b.sum
		FROM pending p JOIN blob b ON b.id = p.blob WHERE p.due <= $1
		ORDER BY p.due, p.blob, p.part LIMIT $2`, s.now().UnixMicro(), pendingAtOnce)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var parts []duePart
	for rows.Next() {
		var p duePart
		var sum int64
		if err := rows.Scan(&p.blob, &p.part, &p.body.Volume, &p.body.Offset, &p.body.Size,
			&sum); err != nil {
			return nil, err
		}
		p.body.Sum = uint32(sum)
		parts = append(parts, p)
	}
	return parts, rows.Err()
}

// keepPending delivers what is due, without a goroutine or a timer for each.
func (s *Store) keepPending(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.keeper.pending:
		}
		wait := pendingEvery
		next, err := s.deliverDue(ctx, s.inStep)
		if err != nil && ctx.Err() == nil {
			s.log.Warn("delivering what is due", "error", err)
		} else if !next.IsZero() {
			wait = max(0, min(wait, next.Sub(s.now())))
		}
		timer.Reset(wait)
	}
}
