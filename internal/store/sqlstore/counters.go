package sqlstore

import (
	"database/sql"
	"errors"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// counters are the numbers of one account that change with every delivery.
// Their truth is in the rows; the committer, the only writer of this
// database, keeps those of busy accounts at hand.
type counters struct {
	usage     store.Usage
	mailboxes map[mail.MailboxID]*store.Mailbox
	dirty     bool
	boxes     map[mail.MailboxID]bool // dirty ones
}

// cachedAccounts bounds the counterCache.
const cachedAccounts = 4096

type counterCache struct {
	byAccount map[mail.AccountID]*counters
}

func newCounterCache() *counterCache {
	return &counterCache{byAccount: map[mail.AccountID]*counters{}}
}

// forget drops accounts whose rows may differ from what is cached.
func (cc *counterCache) forget(touched map[mail.AccountID]*counters) {
	for id := range touched {
		delete(cc.byAccount, id)
	}
}

// counters gives an account's counters; NotFound if it has none.
func (t *tx) counters(id mail.AccountID) (*counters, error) {
	if n := t.touched[id]; n != nil {
		return n, nil
	}
	cc := t.cached
	n := cc.byAccount[id]
	if n == nil {
		n = &counters{mailboxes: map[mail.MailboxID]*store.Mailbox{}}
		err := t.Row(`SELECT modseq, messages, bytes FROM drop_usage WHERE account = $1`, id).
			Scan(&n.usage.ModSeq, &n.usage.Messages, &n.usage.Bytes)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, mail.Errorf(mail.NotFound, "no such account")
		}
		if err != nil {
			return nil, err
		}
		if len(cc.byAccount) >= cachedAccounts {
			for other := range cc.byAccount {
				if t.touched[other] == nil {
					delete(cc.byAccount, other)
					break
				}
			}
		}
		cc.byAccount[id] = n
	}
	if t.touched == nil {
		t.touched = map[mail.AccountID]*counters{}
	}
	t.touched[id] = n
	return n, nil
}

const mailboxColumns = `account, id, name, uidvalidity, uidnext, modseq, messages, unseen, bytes`

func scanMailbox(row interface{ Scan(...any) error }) (*store.Mailbox, error) {
	m := new(store.Mailbox)
	err := row.Scan(&m.Account, &m.ID, &m.Name, &m.UIDValidity, &m.UIDNext, &m.ModSeq,
		&m.Messages, &m.Unseen, &m.Bytes)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, mail.Errorf(mail.NotFound, "no such mailbox")
	}
	return m, err
}

// mailbox gives a mailbox's counters within n.
func (t *tx) mailbox(n *counters, a mail.AccountID, id mail.MailboxID) (*store.Mailbox, error) {
	if m := n.mailboxes[id]; m != nil {
		return m, nil
	}
	m, err := scanMailbox(t.Row(`SELECT `+mailboxColumns+` FROM mailbox
		WHERE account = $1 AND id = $2`, a, id))
	if err != nil {
		return nil, err
	}
	n.mailboxes[id] = m
	return m, nil
}

// change notes that a mailbox and its account get a new ModSeq, which it
// returns.
func (t *tx) change(n *counters, m *store.Mailbox) mail.ModSeq {
	t.Touch()
	n.usage.ModSeq++
	m.ModSeq = n.usage.ModSeq
	n.dirty = true
	if n.boxes == nil {
		n.boxes = map[mail.MailboxID]bool{}
	}
	n.boxes[m.ID] = true
	if t.events == nil {
		t.events = map[mail.AccountID]mail.ModSeq{}
	}
	t.events[m.Account] = n.usage.ModSeq
	return n.usage.ModSeq
}

// flushCounters writes what change has noted, once for each account and
// mailbox however often a batch touched them.
func (t *tx) flushCounters() error {
	for id, n := range t.touched {
		if !n.dirty {
			continue
		}
		u := &n.usage
		err := t.Exec(`UPDATE drop_usage SET modseq = $2, messages = $3, bytes = $4
			WHERE account = $1`, id, u.ModSeq, u.Messages, u.Bytes)
		if err != nil {
			return err
		}
		for box := range n.boxes {
			m := n.mailboxes[box]
			err := t.Exec(`UPDATE mailbox SET uidnext = $3, modseq = $4, messages = $5, unseen = $6,
				bytes = $7 WHERE account = $1 AND id = $2`,
				id, box, m.UIDNext, m.ModSeq, m.Messages, m.Unseen, m.Bytes)
			if err != nil {
				return err
			}
		}
		n.dirty = false
		clear(n.boxes)
	}
	return nil
}
