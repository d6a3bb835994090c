package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/commit"
)

// mailboxColumns are those of a store.Mailbox.
const mailboxColumns = `account, id, name, uidvalidity, uidnext, modseq, messages, unseen, bytes`

// An audit is what an account's rows add up to.
type audit struct {
	id       mail.AccountID
	usage    store.Usage // as counted
	boxes    map[mail.MailboxID]*store.Mailbox
	emails   map[mail.EmailID]*references
	old      int64 // emails that were there when the check began
	problems []store.Problem
	wrong    []func(*commit.Tx) error // mend the problems
	modseqs  mail.ModSeq              // the highest of its rows
	modseq   mail.ModSeq              // that the account itself has
}

// references are how many entries an email says it has, and has.
type references struct{ said, has int64 }

// An auditor reads rows: a read transaction, or the committer's connection.
type auditor interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// note adds a problem, with what mends it if anything does.
func (a *audit) note(mend func(*commit.Tx) error, part, format string, args ...any) {
	if mend != nil {
		a.wrong = append(a.wrong, mend)
	}
	a.problems = append(a.problems, store.Problem{What: fmt.Sprintf(format, args...),
		Where: strings.TrimSpace(fmt.Sprintf("account %d %s", a.id, part)), Repaired: mend != nil})
}

func (k *checker) account(id mail.AccountID) error {
	a, err := k.look(id)
	if err == nil && k.repair {
		err = k.mend(a)
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

// look audits an account as it is at one moment, and holds nobody up.
func (k *checker) look(id mail.AccountID) (*audit, error) {
	x, err := k.cfg.Read.BeginTx(k.ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer x.Rollback()
	return k.audit(x, id)
}

const (
	// mendStep is how much one operation mends.
	mendStep = 100
	// mendTries is how often an account is audited again because its mail
	// has changed meanwhile.
	mendTries = 3
)

// mend mends what an audit has found, in steps. Every change of mail raises
// the account's ModSeq: what was counted before is worth nothing then.
func (k *checker) mend(a *audit) (err error) {
	for try := 0; len(a.wrong) > 0; try++ {
		if try == mendTries {
			return k.mendAtOnce(a.id)
		}
		same := true
		for len(a.wrong) > 0 && same {
			n := min(len(a.wrong), mendStep)
			if same, err = k.mendSome(a, a.wrong[:n]); err != nil {
				return err
			}
			a.wrong = a.wrong[n:]
		}
		if same {
			return nil
		}
		if a, err = k.look(a.id); err != nil {
			return err
		}
	}
	return nil
}

// mendSome mends a part of what an audit has found, if the account is still
// the same.
func (k *checker) mendSome(a *audit, some []func(*commit.Tx) error) (same bool, err error) {
	err = k.cfg.Committer.Do(commit.InDatabase, true, func(t *commit.Tx) error {
		same = false
		if err := k.cfg.Write(); err != nil {
			return err
		}
		var now mail.ModSeq
		err := t.Row(`SELECT modseq FROM drop_usage WHERE account = $1`, int64(a.id)).Scan(&now)
		if err != nil || now != a.modseq {
			return err
		}
		for _, mend := range some {
			if err := mend(t); err != nil {
				return err
			}
		}
		k.cfg.Forget(a.id)
		same = true
		return nil
	})
	return same, err
}

// mendAtOnce audits and mends an account while nothing can change, for as
// long as that takes.
func (k *checker) mendAtOnce(id mail.AccountID) error {
	return k.cfg.Committer.Do(commit.InDatabase, true, func(t *commit.Tx) error {
		if err := k.cfg.Write(); err != nil {
			return err
		}
		a, err := k.audit(t.Conn(), id)
		if err != nil {
			return err
		}
		for _, mend := range a.wrong {
			if err := mend(t); err != nil {
				return err
			}
		}
		k.cfg.Forget(id)
		return nil
	})
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
			a.note(func(t *commit.Tx) error {
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
	a.modseq = have.ModSeq
	a.usage.ModSeq = max(have.ModSeq, a.modseqs)
	if want := a.usage; have != want {
		a.note(func(t *commit.Tx) error {
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
			a.note(func(t *commit.Tx) error {
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
		a.note(func(t *commit.Tx) error {
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
		have := new(store.Mailbox)
		if err := rows.Scan(&have.Account, &have.ID, &have.Name, &have.UIDValidity, &have.UIDNext,
			&have.ModSeq, &have.Messages, &have.Unseen, &have.Bytes); err != nil {
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
		a.note(func(t *commit.Tx) error {
			return t.Exec(`UPDATE mailbox SET uidnext = $3, modseq = $4, messages = $5, unseen = $6,
				bytes = $7 WHERE account = $1 AND id = $2`, int64(a.id), int64(want.ID),
				int64(want.UIDNext), int64(want.ModSeq), want.Messages, want.Unseen, want.Bytes)
		}, fmt.Sprintf("mailbox %d", have.ID), "the counters say %+v, the entries %+v", *have, want)
	}
	for id, m := range a.boxes {
		a.note(func(t *commit.Tx) error {
			return t.Exec(`INSERT INTO mailbox (`+mailboxColumns+`)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, int64(a.id), int64(id),
				RecoveredName(id), t.Now.Unix(), int64(m.UIDNext), int64(m.ModSeq), m.Messages,
				m.Unseen, m.Bytes)
		}, fmt.Sprintf("mailbox %d", id), "entries without a mailbox")
	}
	return rows.Err()
}
