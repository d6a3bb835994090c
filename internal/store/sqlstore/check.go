package sqlstore

import (
	"context"
	"database/sql"
	"fmt"

	"postrider/internal/blob"
	"postrider/internal/mail"
	"postrider/internal/store"
)

// A checker walks the whole store and collects what is wrong.
type checker struct {
	s        *Store
	ctx      context.Context
	repair   bool
	progress store.Progress
	problems []store.Problem
}

// maxProblems bounds what Check reports; a store with more is to be rebuilt.
const maxProblems = 10_000

// Check implements store.Store. It may run while the store serves: each
// account is looked at in one read transaction of its own.
func (s *Store) Check(ctx context.Context, repair bool, p store.Progress) ([]store.Problem, error) {
	if p == nil {
		p = func(string, int64, int64) {}
	}
	k := &checker{s: s, ctx: ctx, repair: repair, progress: p}
	for _, step := range []func() error{k.engine, k.accounts, k.strays, k.bodies} {
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
	conn, err := k.s.read.Conn(k.ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := k.s.dialect.verify(k.ctx, conn); err != nil {
		k.found(false, k.s.cfg.Path, "the database file is damaged: %v", err)
	}
	return nil
}

// accounts proves the counters and references of every account.
func (k *checker) accounts() error {
	var total int64
	err := k.s.read.QueryRowContext(k.ctx, `SELECT count(*) FROM drop_usage`).Scan(&total)
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
	rows, err := k.s.read.QueryContext(k.ctx, query, after, maxRows)
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

// An audit is what an account's rows add up to.
type audit struct {
	id      mail.AccountID
	usage   store.Usage // as counted
	boxes   map[mail.MailboxID]*store.Mailbox
	refs    map[int64]int64 // entries of each email
	strays  []strayEntry    // entries without email
	wrong   []func(*tx, *counters) error
	modseqs mail.ModSeq
}

type strayEntry struct {
	mailbox mail.MailboxID
	uid     mail.UID
}

func (k *checker) account(id mail.AccountID) error {
	x, err := k.s.read.BeginTx(k.ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	a := &audit{id: id, boxes: map[mail.MailboxID]*store.Mailbox{}, refs: map[int64]int64{}}
	err = k.audit(x, a)
	x.Rollback()
	if err != nil || len(a.wrong) == 0 || !k.repair {
		return err
	}
	return k.s.committer.do(inDatabase, true, func(t *tx) error {
		n, err := t.counters(id)
		if err != nil {
			return err
		}
		for _, mend := range a.wrong {
			if err := mend(t, n); err != nil {
				return err
			}
		}
		return nil
	})
}

func (k *checker) audit(x *sql.Tx, a *audit) error {
	if err := k.countEntries(x, a); err != nil {
		return err
	}
	if err := k.compareMailboxes(x, a); err != nil {
		return err
	}
	if err := k.countEmails(x, a); err != nil {
		return err
	}
	var have store.Usage
	err := x.QueryRowContext(k.ctx, `SELECT messages, bytes, modseq FROM drop_usage
		WHERE account = $1`, int64(a.id)).Scan(&have.Messages, &have.Bytes, &have.ModSeq)
	if err != nil {
		return err
	}
	a.usage.ModSeq = max(have.ModSeq, a.modseqs)
	if have != a.usage {
		want := a.usage
		k.found(k.repair, fmt.Sprintf("account %d", a.id), "usage says %+v, the messages %+v", have, want)
		a.wrong = append(a.wrong, func(t *tx, n *counters) error {
			n.usage, n.dirty = want, true
			return t.exec(`UPDATE drop_usage SET messages = $2, bytes = $3, modseq = $4
				WHERE account = $1`, int64(a.id), want.Messages, want.Bytes, int64(want.ModSeq))
		})
	}
	return nil
}

func (k *checker) countEntries(x *sql.Tx, a *audit) error {
	rows, err := x.QueryContext(k.ctx, `SELECT n.mailbox, n.uid, n.email, n.flags, n.modseq,
		n.size, coalesce(e.size, -1) FROM entry n
		LEFT JOIN email e ON e.account = n.account AND e.id = n.email WHERE n.account = $1`, int64(a.id))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var box mail.MailboxID
		var uid mail.UID
		var flags mail.Flags
		var modseq mail.ModSeq
		var email, listed, size int64
		if err := rows.Scan(&box, &uid, &email, &flags, &modseq, &listed, &size); err != nil {
			return err
		}
		if size < 0 {
			a.strays = append(a.strays, strayEntry{box, uid})
			continue
		}
		if listed != size {
			k.wrongSize(a, strayEntry{box, uid}, listed, size)
		}
		m := a.boxes[box]
		if m == nil {
			m = &store.Mailbox{Account: a.id, ID: box}
			a.boxes[box] = m
		}
		m.Messages++
		m.Bytes += size
		m.UIDNext = max(m.UIDNext, uid+1)
		m.ModSeq = max(m.ModSeq, modseq)
		if flags&mail.Seen == 0 {
			m.Unseen++
		}
		a.modseqs = max(a.modseqs, modseq)
		a.refs[email]++
	}
	for _, st := range a.strays {
		k.found(k.repair, fmt.Sprintf("account %d mailbox %d uid %d", a.id, st.mailbox, st.uid),
			"the entry has no message")
		a.wrong = append(a.wrong, func(t *tx, _ *counters) error {
			return t.exec(`DELETE FROM entry WHERE account = $1 AND mailbox = $2 AND uid = $3`,
				int64(a.id), int64(st.mailbox), int64(st.uid))
		})
	}
	return rows.Err()
}

func (k *checker) wrongSize(a *audit, e strayEntry, listed, size int64) {
	k.found(k.repair, fmt.Sprintf("account %d mailbox %d uid %d", a.id, e.mailbox, e.uid),
		"the entry says %d bytes, the message has %d", listed, size)
	a.wrong = append(a.wrong, func(t *tx, _ *counters) error {
		return t.exec(`UPDATE entry SET size = $4 WHERE account = $1 AND mailbox = $2 AND uid = $3`,
			int64(a.id), int64(e.mailbox), int64(e.uid), size)
	})
}

func (k *checker) compareMailboxes(x *sql.Tx, a *audit) error {
	rows, err := x.QueryContext(k.ctx, `SELECT `+mailboxColumns+` FROM mailbox WHERE account = $1`,
		int64(a.id))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		have, err := scanMailbox(rows)
		if err != nil {
			return err
		}
		want := *have
		want.Messages, want.Unseen, want.Bytes = 0, 0, 0
		if m := a.boxes[have.ID]; m != nil {
			want.Messages, want.Unseen, want.Bytes = m.Messages, m.Unseen, m.Bytes
			want.UIDNext, want.ModSeq = max(want.UIDNext, m.UIDNext), max(want.ModSeq, m.ModSeq)
		}
		delete(a.boxes, have.ID)
		a.modseqs = max(a.modseqs, have.ModSeq)
		if want == *have {
			continue
		}
		k.found(k.repair, fmt.Sprintf("account %d mailbox %d", a.id, have.ID),
			"the counters say %+v, the entries %+v", *have, want)
		a.wrong = append(a.wrong, func(t *tx, n *counters) error {
			n.mailboxes[want.ID] = &want
			return t.exec(`UPDATE mailbox SET uidnext = $3, modseq = $4, messages = $5, unseen = $6,
				bytes = $7 WHERE account = $1 AND id = $2`, int64(a.id), int64(want.ID),
				int64(want.UIDNext), int64(want.ModSeq), want.Messages, want.Unseen, want.Bytes)
		})
	}
	for id, counted := range a.boxes {
		k.found(k.repair, fmt.Sprintf("account %d mailbox %d", a.id, id), "entries without a mailbox")
		a.wrong = append(a.wrong, func(t *tx, n *counters) error {
			box, err := t.recoveredMailbox(n, a.id, id)
			if err != nil {
				return err
			}
			t.change(n, box)
			box.UIDNext, box.Messages = counted.UIDNext, counted.Messages
			box.Unseen, box.Bytes = counted.Unseen, counted.Bytes
			return nil
		})
	}
	return rows.Err()
}

func (k *checker) countEmails(x *sql.Tx, a *audit) error {
	rows, err := x.QueryContext(k.ctx, `SELECT e.id, e.refs, e.size, length(e.prefix),
		coalesce(b.size, -1) FROM email e LEFT JOIN blob b ON b.id = e.blob WHERE e.account = $1`,
		int64(a.id))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, refs, size, prefix, body int64
		if err := rows.Scan(&id, &refs, &size, &prefix, &body); err != nil {
			return err
		}
		where := fmt.Sprintf("account %d email %s", a.id, mail.EmailID(id))
		if body < 0 {
			k.found(false, where, "the message's body is not known any more")
		} else if size != prefix+body {
			k.found(false, where, "the size is %d, prefix and body have %d", size, prefix+body)
		}
		a.usage.Messages++
		a.usage.Bytes += size
		want := a.refs[id]
		delete(a.refs, id)
		if refs == want {
			continue
		}
		k.found(k.repair, where, "it counts %d entries and has %d", refs, want)
		a.wrong = append(a.wrong, func(t *tx, _ *counters) error {
			return t.exec(`UPDATE email SET refs = $3 WHERE account = $1 AND id = $2`, int64(a.id), id, want)
		})
	}
	return rows.Err()
}

// strays finds messages of accounts that are neither there nor being purged.
func (k *checker) strays() error {
	rows, err := k.s.read.QueryContext(k.ctx, `SELECT DISTINCT account FROM mailbox
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
			err := k.s.committer.do(inDatabase, true, func(t *tx) error {
				return t.exec(`INSERT INTO purge (account) VALUES ($1) ON CONFLICT DO NOTHING`, id)
			})
			if err != nil {
				return err
			}
		}
	}
	return rows.Err()
}

// bodies reads every body and compares its checksum.
func (k *checker) bodies() error {
	var total int64
	if err := k.s.read.QueryRowContext(k.ctx, `SELECT count(*) FROM blob`).Scan(&total); err != nil {
		return err
	}
	after, done := int64(-1<<63), int64(0)
	for {
		ids, locs, err := k.bodyPage(after)
		if err != nil || len(ids) == 0 {
			return err
		}
		for i, id := range ids {
			if err := k.s.blobs.Verify(k.ctx, locs[i]); err != nil {
				if k.ctx.Err() != nil {
					return k.ctx.Err()
				}
				if k.gone(id, locs[i]) {
					continue
				}
				k.found(false, fmt.Sprintf("volume %d offset %d", locs[i].Volume, locs[i].Offset),
					"the body %d cannot be read as it was written: %v", id, err)
			}
			after = id
			done++
		}
		k.progress("bodies", done, total)
	}
}

// gone says whether a body was moved or removed since its row was read.
func (k *checker) gone(id int64, was blob.Location) bool {
	now, err := k.s.location(mail.BlobID(id))
	return err != nil || now != was && k.s.blobs.Verify(k.ctx, now) == nil
}

func (k *checker) bodyPage(after int64) (ids []int64, locs []blob.Location, err error) {
	rows, err := k.s.read.QueryContext(k.ctx, `SELECT id, volume, place, size, sum FROM blob
		WHERE id > $1 ORDER BY id LIMIT $2`, after, maxRows)
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
