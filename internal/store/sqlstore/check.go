package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"postrider/internal/blob"
	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/commit"
)

// A checker walks the whole store and collects what is wrong.
type checker struct {
	s        *Store
	ctx      context.Context
	repair   bool
	progress store.Progress
	problems []store.Problem
	newest   int64                    // the highest email id when the check began
	emails   map[mail.AccountID]int64 // up to newest, that entries led to
}

// maxProblems bounds what Check reports; a store with more is to be rebuilt.
const maxProblems = 10_000

// Check implements store.Store. It may run while the store serves: each
// account is looked at in one read transaction of its own.
func (s *Store) Check(ctx context.Context, repair bool, p store.Progress) ([]store.Problem, error) {
	if p == nil {
		p = func(string, int64, int64) {}
	}
	k := &checker{s: s, ctx: ctx, repair: repair, progress: p, emails: map[mail.AccountID]int64{}}
	err := s.read.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) FROM email`).Scan(&k.newest)
	if err != nil {
		return nil, err
	}
	for _, step := range []func() error{k.engine, k.accounts, k.unlisted, k.strays, k.bodies} {
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
	if err := k.s.dialect.Verify(k.ctx, conn); err != nil {
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
	id       mail.AccountID
	usage    store.Usage // as counted
	boxes    map[mail.MailboxID]*store.Mailbox
	emails   map[mail.EmailID]*references
	old      int64 // emails that were there when the check began
	problems []store.Problem
	wrong    []func(*tx) error // mend the problems
	modseqs  mail.ModSeq
}

// references are how many entries an email says it has, and has.
type references struct{ said, has int64 }

// An auditor reads rows: a read transaction, or the committer's connection.
type auditor interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// note adds a problem, with what mends it if anything does.
func (a *audit) note(mend func(*tx) error, part, format string, args ...any) {
	if mend != nil {
		a.wrong = append(a.wrong, mend)
	}
	a.problems = append(a.problems, store.Problem{What: fmt.Sprintf(format, args...),
		Where: strings.TrimSpace(fmt.Sprintf("account %d %s", a.id, part)), Repaired: mend != nil})
}

func (k *checker) account(id mail.AccountID) error {
	x, err := k.s.read.BeginTx(k.ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	a, err := k.audit(x, id)
	x.Rollback()
	if err == nil && len(a.wrong) > 0 && k.repair {
		a, err = k.mend(id)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return nil // removed since it was listed
	}
	if err != nil {
		return err
	}
	k.emails[id] = a.old
	for _, p := range a.problems {
		k.found(p.Repaired && k.repair, p.Where, "%s", p.What)
	}
	return nil
}

// mend audits an account once more where nothing can change meanwhile, and
// mends what it finds: what was counted a moment ago may be wrong by now.
func (k *checker) mend(id mail.AccountID) (a *audit, err error) {
	err = k.s.do(commit.InDatabase, true, func(t *tx) (err error) {
		if err := t.flushCounters(); err != nil {
			return err
		}
		if a, err = k.audit(t.Conn(), id); err != nil {
			return err
		}
		for _, mend := range a.wrong {
			if err := mend(t); err != nil {
				return err
			}
		}
		delete(t.cached.byAccount, id)
		delete(t.touched, id)
		return nil
	})
	return a, err
}

func (k *checker) audit(x auditor, id mail.AccountID) (*audit, error) {
	a := &audit{id: id, boxes: map[mail.MailboxID]*store.Mailbox{},
		emails: map[mail.EmailID]*references{}}
	if err := k.countEntries(x, a); err != nil {
		return nil, err
	}
	if err := k.compareMailboxes(x, a); err != nil {
		return nil, err
	}
	for email, r := range a.emails {
		if r.said != r.has {
			a.note(func(t *tx) error {
				return t.Exec(`UPDATE email SET refs = $3 WHERE account = $1 AND id = $2`, int64(id),
					int64(email), r.has)
			}, "email "+email.String(), "it counts %d entries and has %d", r.said, r.has)
		}
	}
	var have store.Usage
	err := x.QueryRowContext(k.ctx, `SELECT messages, bytes, modseq FROM drop_usage
		WHERE account = $1`, int64(id)).Scan(&have.Messages, &have.Bytes, &have.ModSeq)
	if err != nil {
		return nil, err
	}
	a.usage.ModSeq = max(have.ModSeq, a.modseqs)
	if want := a.usage; have != want {
		a.note(func(t *tx) error {
			return t.Exec(`UPDATE drop_usage SET messages = $2, bytes = $3, modseq = $4
				WHERE account = $1`, int64(id), want.Messages, want.Bytes, int64(want.ModSeq))
		}, "", "usage says %+v, the messages %+v", have, want)
	}
	return a, nil
}

// An entryRow is an entry with what its message says; size and body are -1
// where there is none.
type entryRow struct {
	box                        mail.MailboxID
	uid                        mail.UID
	email                      mail.EmailID
	flags                      mail.Flags
	modseq                     mail.ModSeq
	listed, size, refs, prefix int64
	body                       int64
}

func (e *entryRow) where() string { return fmt.Sprintf("mailbox %d uid %d", e.box, e.uid) }

const auditQuery = `SELECT n.mailbox, n.uid, n.email, n.flags, n.modseq, n.size,
	coalesce(e.size, -1), coalesce(e.refs, 0), coalesce(length(e.prefix), 0),
	coalesce(b.size, -1) FROM entry n
	LEFT JOIN email e ON e.account = n.account AND e.id = n.email
	LEFT JOIN blob b ON b.id = e.blob WHERE n.account = $1`

// countEntries reaches the messages through the entries: there is no index of
// messages by account.
func (k *checker) countEntries(x auditor, a *audit) error {
	rows, err := x.QueryContext(k.ctx, auditQuery, int64(a.id))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var e entryRow
		if err := rows.Scan(&e.box, &e.uid, &e.email, &e.flags, &e.modseq, &e.listed, &e.size,
			&e.refs, &e.prefix, &e.body); err != nil {
			return err
		}
		if e.size < 0 {
			a.note(func(t *tx) error {
				return t.Exec(`DELETE FROM entry WHERE account = $1 AND mailbox = $2 AND uid = $3`,
					int64(a.id), int64(e.box), int64(e.uid))
			}, e.where(), "the entry has no message")
			continue
		}
		k.countEntry(a, &e)
	}
	return rows.Err()
}

func (k *checker) countEntry(a *audit, e *entryRow) {
	if e.listed != e.size {
		a.note(func(t *tx) error {
			return t.Exec(`UPDATE entry SET size = $4 WHERE account = $1 AND mailbox = $2
				AND uid = $3`, int64(a.id), int64(e.box), int64(e.uid), e.size)
		}, e.where(), "the entry says %d bytes, the message has %d", e.listed, e.size)
	}
	m := a.boxes[e.box]
	if m == nil {
		m = &store.Mailbox{Account: a.id, ID: e.box}
		a.boxes[e.box] = m
	}
	m.Messages++
	m.Bytes += e.size
	m.UIDNext = max(m.UIDNext, e.uid+1)
	m.ModSeq = max(m.ModSeq, e.modseq)
	if e.flags&mail.Seen == 0 {
		m.Unseen++
	}
	a.modseqs = max(a.modseqs, e.modseq)
	if r := a.emails[e.email]; r != nil {
		r.has++
		return
	}
	a.emails[e.email] = &references{said: e.refs, has: 1}
	a.usage.Messages++
	a.usage.Bytes += e.size
	if int64(e.email) <= k.newest {
		a.old++
	}
	if e.body < 0 {
		a.note(nil, "email "+e.email.String(), "the message's body is not known any more")
	} else if e.size != e.prefix+e.body {
		a.note(nil, "email "+e.email.String(), "the size is %d, prefix and body have %d", e.size,
			e.prefix+e.body)
	}
}

func (k *checker) compareMailboxes(x auditor, a *audit) error {
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
		a.note(func(t *tx) error {
			return t.Exec(`UPDATE mailbox SET uidnext = $3, modseq = $4, messages = $5, unseen = $6,
				bytes = $7 WHERE account = $1 AND id = $2`, int64(a.id), int64(want.ID),
				int64(want.UIDNext), int64(want.ModSeq), want.Messages, want.Unseen, want.Bytes)
		}, fmt.Sprintf("mailbox %d", have.ID), "the counters say %+v, the entries %+v", *have, want)
	}
	for id, m := range a.boxes {
		a.note(func(t *tx) error {
			return t.Exec(`INSERT INTO mailbox (`+mailboxColumns+`)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, int64(a.id), int64(id),
				recoveredName(id), t.Now.Unix(), int64(m.UIDNext), int64(m.ModSeq), m.Messages,
				m.Unseen, m.Bytes)
		}, fmt.Sprintf("mailbox %d", id), "entries without a mailbox")
	}
	return rows.Err()
}

// unlisted finds messages that no mailbox has. All messages are counted by
// account in one pass; only where there are more than the entries led to are
// they looked at one by one.
func (k *checker) unlisted() error {
	counts := map[mail.AccountID]int64{}
	after, n := int64(-1<<63), maxRows
	for n == maxRows {
		rows, err := k.s.read.QueryContext(k.ctx, `SELECT id, account FROM email
			WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3`, after, k.newest, maxRows)
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

func (k *checker) unlistedOf(id mail.AccountID) error {
	type stray struct{ email, blob int64 }
	var list []stray
	read := func(x auditor) error {
		list = nil
		rows, err := x.QueryContext(k.ctx, `SELECT id, blob FROM email WHERE account = $1
			AND id NOT IN (SELECT email FROM entry WHERE account = $1)`, int64(id))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var s stray
			if err := rows.Scan(&s.email, &s.blob); err != nil {
				return err
			}
			list = append(list, s)
		}
		return rows.Err()
	}
	err := read(k.s.read)
	if err == nil && len(list) > 0 && k.repair {
		err = k.s.do(commit.InDatabase, true, func(t *tx) error {
			if err := read(t.Conn()); err != nil {
				return err
			}
			for _, s := range list {
				if err := t.dropEmail(id, s.email, s.blob); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for _, s := range list {
		k.found(k.repair, fmt.Sprintf("account %d email %s", id, mail.EmailID(s.email)),
			"no mailbox has the message")
	}
	return err
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
			err := k.s.do(commit.InDatabase, true, func(t *tx) error {
				return t.Exec(`INSERT INTO purge (account) VALUES ($1) ON CONFLICT DO NOTHING`, id)
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
