package popd

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"postrider/internal/auth"
	"postrider/internal/mail"
	"postrider/internal/store"
)

// leaseTime is how long a maildrop stays locked when its session vanishes
// without a trace; more than a session may be idle. A lease is renewed when
// renewEvery of it has passed.
const (
	leaseTime  = 15 * time.Minute
	renewEvery = 3 * time.Minute
)

// pageSize is how many entries are asked for at a time, and readAhead for how
// many messages the rows are: a client that retrieves one mostly retrieves
// the next.
const (
	pageSize  = 500
	readAhead = 16
)

// An item is a message of the maildrop. It is small: there may be a hundred
// thousand of them.
type item struct {
	email   mail.EmailID
	size    int64
	uid     mail.UID
	deleted bool
	binary  bool // shown in base64, which size accounts for
}

// A maildrop is the inbox as it was at login.
type maildrop struct {
	account mail.AccountID
	items   []item
	live    int   // messages not marked as deleted
	octets  int64 // of those
	last    int   // the highest message accessed since login or RSET, RFC 1460
	high    int   // the same since login; what QUIT remembers
	renewed time.Time

	// Rows of the messages from number first on, each handed out once.
	rows  []*store.Email
	first int

	retrieved  int // for the log
	octetsSent int64
}

func leaseName(a mail.AccountID) string { return "pop/" + strconv.FormatInt(int64(a), 10) }

// enter is what every login ends with: lock the maildrop and list it.
func (s *session) enter(ctx context.Context, id *auth.Identity) reply {
	cfg := &s.srv.cfg
	owner := s.conn.ID()
	err := s.srv.lock(ctx, leaseName(id.Account), owner)
	switch {
	case mail.KindOf(err) == mail.Locked:
		return s.turnedAway("in-use", fail("IN-USE", "another session has the maildrop open"))
	case err != nil:
		return s.turnedAway("trouble", s.trouble(ctx, "locking a maildrop", err))
	}
	now := cfg.Now()
	s.drop = &maildrop{account: id.Account, renewed: now}
	if r := s.delayed(ctx, now); r.status != silent {
		s.leave(ctx)
		return r
	}
	if err := s.drop.load(ctx, cfg.Store); err != nil {
		s.leave(ctx)
		return s.turnedAway("trouble", s.trouble(ctx, "listing a maildrop", err))
	}
	s.state, s.who = transaction, id
	s.srv.metrics.logins.WithLabelValues("ok").Inc()
	cfg.Log.LogAttrs(ctx, slog.LevelInfo, "pop: login", slog.String("session", owner),
		slog.String("account", id.Address.String()), slog.String("method", id.Method),
		slog.String("remote", s.conn.Remote().String()))
	return ok(s.drop.summary("maildrop has "))
}

// firstPause is how long a login waits before it tries again to lock the
// maildrop; the pauses double.
const firstPause = 10 * time.Millisecond

// lock takes a maildrop's lease, and waits for it for as long as the patience
// lasts. The error is that of the last attempt.
func (srv *Server) lock(ctx context.Context, name, owner string) error {
	left := srv.cfg.Patience
	for pause := firstPause; ; pause *= 2 {
		err := srv.cfg.Store.Acquire(ctx, name, owner, srv.cfg.Now().Add(leaseTime))
		if mail.KindOf(err) != mail.Locked || left <= 0 {
			return err
		}
		pause = min(pause, left)
		left -= pause
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// delayed enforces LOGIN-DELAY: a lease that nobody releases. It belongs to
// this session, so that only another one is turned away by it.
func (s *session) delayed(ctx context.Context, now time.Time) reply {
	delay := s.srv.limits.Load().LoginDelay.Truncate(time.Second)
	if delay <= 0 {
		return reply{}
	}
	name := leaseName(s.drop.account) + "/delay"
	err := s.srv.cfg.Store.Acquire(ctx, name, s.conn.ID(), now.Add(delay))
	switch {
	case mail.KindOf(err) == mail.Locked:
		return s.turnedAway("delay", fail("LOGIN-DELAY", "too soon after the last login"))
	case err != nil:
		return s.turnedAway("trouble", s.trouble(ctx, "noting the login", err))
	}
	return reply{}
}

func (s *session) turnedAway(result string, r reply) reply {
	s.srv.metrics.logins.WithLabelValues(result).Inc()
	return r
}

// leave gives the maildrop back. It may be called more than once.
func (s *session) leave(ctx context.Context) {
	if s.drop == nil {
		return
	}
	if s.who != nil {
		s.srv.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "pop: session ends",
			slog.String("session", s.conn.ID()),
			slog.String("account", s.who.Address.String()),
			slog.Int("retrieved", s.drop.retrieved),
			slog.Int64("octets", s.drop.octetsSent))
	}
	err := s.srv.cfg.Store.Release(ctx, leaseName(s.drop.account), s.conn.ID())
	if err != nil {
		s.log(ctx, slog.LevelError, "unlocking a maildrop", err)
	}
	s.drop = nil
}

// renew prolongs the lease when it is time. It fails when somebody else has
// got it meanwhile.
func (s *session) renew(ctx context.Context, now time.Time) error {
	if now.Sub(s.drop.renewed) < renewEvery {
		return nil
	}
	s.drop.renewed = now
	err := s.srv.cfg.Store.Acquire(ctx, leaseName(s.drop.account), s.conn.ID(), now.Add(leaseTime))
	if err == nil {
		return nil
	}
	s.log(ctx, slog.LevelError, "renewing the lock of a maildrop", err)
	if mail.KindOf(err) == mail.Locked {
		return err
	}
	return nil // what is left of the lease still holds
}

// load lists the inbox in pages.
func (d *maildrop) load(ctx context.Context, st Store) error {
	var after mail.UID
	for {
		page, err := st.Entries(ctx, d.account, store.Inbox, after, pageSize)
		if err != nil {
			return err
		}
		if d.items == nil {
			d.items = make([]item, 0, len(page))
		}
		for i := range page {
			e := &page[i]
			it := item{email: e.Email, size: e.Size, uid: e.UID, binary: e.Flags&mail.Binary != 0}
			if it.binary {
				if err := d.measure(ctx, st, &it); err != nil {
					return err
				}
			}
			d.items = append(d.items, it)
			d.octets += it.size
		}
		d.live = len(d.items)
		if len(page) < pageSize {
			return nil
		}
		after = page[len(page)-1].UID
	}
}

// measure finds out how long a message with binary parts is as it is shown.
// One that is gone or cannot be read keeps its size; RETR will tell.
func (d *maildrop) measure(ctx context.Context, st Store, it *item) error {
	rows, err := st.Emails(ctx, d.account, []mail.EmailID{it.email}, true)
	if err != nil || rows[0] == nil {
		return err
	}
	r, err := st.OpenEmail(rows[0])
	if err != nil {
		return nil
	}
	defer r.Close()
	if v, err := inLines(ctx, rows[0], r); err == nil {
		it.size = v.Size()
	}
	return nil
}

// accessed notes that the client has a message, or does not want it.
func (d *maildrop) accessed(n int) { d.last, d.high = max(d.last, n), max(d.high, n) }

// row gives the row of message n, reading ahead when the client goes through
// the maildrop in order. It is nil when the message is gone.
func (d *maildrop) row(ctx context.Context, st Store, n int) (*store.Email, error) {
	if i := n - d.first; i >= 0 && i < len(d.rows) && d.rows[i] != nil {
		e := d.rows[i]
		d.rows[i] = nil
		return e, nil
	}
	count := 1
	if skipped := n - d.first - len(d.rows); n == 1 || 0 <= skipped && skipped < readAhead {
		count = min(readAhead, len(d.items)-n+1)
	}
	var room [readAhead]mail.EmailID
	ids := room[:count]
	for i := range ids {
		ids[i] = d.items[n-1+i].email
	}
	rows, err := st.Emails(ctx, d.account, ids, false)
	if err != nil {
		return nil, err
	}
	d.rows, d.first = rows, n
	e := rows[0]
	rows[0] = nil
	return e, nil
}

// summary is the text about how much mail there is.
func (d *maildrop) summary(before string) string {
	b := make([]byte, 0, 64)
	b = append(b, before...)
	b = strconv.AppendInt(b, int64(d.live), 10)
	if d.live == 1 {
		b = append(b, " message ("...)
	} else {
		b = append(b, " messages ("...)
	}
	b = strconv.AppendInt(b, d.octets, 10)
	b = append(b, " octets)"...)
	return string(b)
}
