package popd

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// message reads a message number. The reply is silent when there is such a
// message and it is not marked as deleted.
func (s *session) message(word []byte) (int, reply) {
	n, isNumber := number(word)
	switch {
	case !isNumber:
		return 0, bad("not a message number")
	case n < 1 || n > len(s.drop.items):
		return 0, fail("", "no such message")
	case s.drop.items[n-1].deleted:
		return 0, fail("", "message is marked as deleted")
	}
	return n, reply{}
}

// stat is STAT of RFC 1939 section 5.
func (s *session) stat(context.Context, args) reply {
	return ok(numbers(int64(s.drop.live), s.drop.octets))
}

// list is LIST of RFC 1939 section 5.
func (s *session) list(_ context.Context, a args) reply {
	if a.n == 0 {
		r := ok(s.drop.summary(""))
		r.body = (*sizes)(s.drop)
		return r
	}
	n, r := s.message(a.words[0])
	if r.status != silent {
		return r
	}
	return ok(numbers(int64(n), s.drop.items[n-1].size))
}

// uidl is UIDL of RFC 1939 section 7. The unique-id is the EmailID, which a
// message keeps for ever.
func (s *session) uidl(_ context.Context, a args) reply {
	if a.n == 0 {
		r := ok(s.drop.summary(""))
		r.body = (*uniqueIDs)(s.drop)
		return r
	}
	n, r := s.message(a.words[0])
	if r.status != silent {
		return r
	}
	return ok(strconv.Itoa(n) + " " + s.drop.items[n-1].email.String())
}

// sizes is the maildrop as the body of LIST.
type sizes maildrop

func (d *sizes) write(_ context.Context, s *session) error {
	for i := range d.items {
		it := &d.items[i]
		if it.deleted {
			continue
		}
		b := strconv.AppendInt(s.conn.AvailableBuffer(), int64(i+1), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, it.size, 10)
		b = append(b, "\r\n"...)
		if _, err := s.conn.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// uniqueIDs is the maildrop as the body of UIDL.
type uniqueIDs maildrop

func (d *uniqueIDs) write(_ context.Context, s *session) error {
	for i := range d.items {
		it := &d.items[i]
		if it.deleted {
			continue
		}
		b := strconv.AppendInt(s.conn.AvailableBuffer(), int64(i+1), 10)
		b = append(b, ' ')
		b = append(b, it.email.String()...)
		b = append(b, "\r\n"...)
		if _, err := s.conn.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// retr is RETR of RFC 1939 section 5.
func (s *session) retr(ctx context.Context, a args) reply {
	n, r := s.message(a.words[0])
	if r.status != silent {
		return r
	}
	t, r := s.open(ctx, n)
	if t == nil {
		return r
	}
	t.number = n
	r = ok(strconv.FormatInt(t.size, 10) + " octets")
	r.body = t
	return r
}

// top is TOP of RFC 1939 section 7: the header, the empty line, and so many
// lines of the body.
func (s *session) top(ctx context.Context, a args) reply {
	n, r := s.message(a.words[0])
	if r.status != silent {
		return r
	}
	count, isNumber := number(a.words[1])
	if !isNumber {
		return bad("not a number of lines")
	}
	t, r := s.open(ctx, n)
	if t == nil {
		return r
	}
	t.top = &topLines{left: count}
	r = ok("top of message follows")
	r.body = t
	return r
}

// open makes message n ready to be sent. Without a text, the reply says why.
func (s *session) open(ctx context.Context, n int) (*text, reply) {
	st := s.srv.cfg.Store
	row, err := s.drop.row(ctx, st, n)
	if err != nil {
		return nil, s.trouble(ctx, "reading a message's row", err)
	}
	if row == nil {
		return nil, fail("", "message has been removed by another program")
	}
	r, err := st.OpenEmail(row)
	if err != nil {
		return nil, s.trouble(ctx, "opening a message", err)
	}
	if s.drop.items[n-1].binary {
		r, err = s.shown(ctx, row, r)
	}
	var t *text
	if err == nil {
		t, err = s.srv.newText(row, r)
	}
	switch {
	case errors.Is(err, errDamaged):
		s.damaged(ctx, row)
		return nil, fail("SYS/PERM", errDamaged.Text)
	case err != nil:
		return nil, s.trouble(ctx, "reading a message", err)
	}
	return t, reply{}
}

// dele is DELE of RFC 1939 section 5.
func (s *session) dele(_ context.Context, a args) reply {
	n, r := s.message(a.words[0])
	if r.status != silent {
		return r
	}
	it := &s.drop.items[n-1]
	it.deleted = true
	s.drop.accessed(n)
	s.drop.live--
	s.drop.octets -= it.size
	return ok("marked as deleted")
}

// rset is RSET of RFC 1939 section 5 and RFC 1460: marks are taken back, and
// so is what LAST tells.
func (s *session) rset(context.Context, args) reply {
	d := s.drop
	d.live, d.octets, d.last = len(d.items), 0, 0
	for i := range d.items {
		d.items[i].deleted = false
		d.octets += d.items[i].size
	}
	return ok(d.summary("maildrop has "))
}

// noop is NOOP of RFC 1939 section 5.
func (s *session) noop(context.Context, args) reply { return ok("") }

// last is LAST of RFC 1460: the highest message number accessed, by RETR or
// DELE, in this session or an earlier one that came to its QUIT. Fetchers use
// it to leave mail on the server.
func (s *session) last(ctx context.Context, _ args) reply {
	d := s.drop
	uid, err := s.srv.cfg.Store.Fetched(ctx, d.account)
	if err != nil {
		return s.trouble(ctx, "reading what was fetched", err)
	}
	n, _ := slices.BinarySearchFunc(d.items, uid, func(it item, uid mail.UID) int {
		return cmp.Compare(it.uid, uid+1)
	})
	return ok(strconv.Itoa(max(n, d.last)))
}

// quit is QUIT of RFC 1939 sections 4 and 6. Only here are marked messages
// removed; what could not be removed is there again the next time.
func (s *session) quit(ctx context.Context, _ args) reply {
	r := ok("bye")
	if s.state == transaction {
		if n := s.drop.high; n > 0 {
			s.srv.cfg.Store.NoteFetched(s.drop.account, s.drop.items[n-1].uid)
		}
		r = s.update(ctx)
		s.leave(ctx)
	}
	r.end = true
	return r
}

func (s *session) update(ctx context.Context) reply {
	d := s.drop
	if d.live == len(d.items) {
		return ok("bye")
	}
	uids := make([]mail.UID, 0, len(d.items)-d.live)
	for i := range d.items {
		if d.items[i].deleted {
			uids = append(uids, d.items[i].uid)
		}
	}
	if err := s.srv.cfg.Store.Expunge(ctx, d.account, store.Inbox, uids); err != nil {
		r := s.trouble(ctx, "removing messages", err)
		r.text = "not all marked messages are removed; " + r.text
		return r
	}
	s.srv.metrics.deleted.Add(float64(len(uids)))
	return ok(strconv.Itoa(len(uids)) + " messages removed, bye")
}
