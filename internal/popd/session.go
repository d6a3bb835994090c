package popd

import (
	"context"
	"log/slog"
	"time"

	"postrider/internal/auth"
	"postrider/internal/intake"
	"postrider/internal/link"
	"postrider/internal/mail"
)

// closeTime bounds the release of the maildrop of a lost connection.
const closeTime = 5 * time.Second

// A session is one connection's dialogue.
type session struct {
	srv   *Server
	conn  *link.Conn
	stamp string // of the greeting; empty without APOP
	state state

	// Before the login.
	name     string        // given by USER
	exchange auth.Exchange // a SASL dialogue under way
	method   string        // its mechanism
	bad      int
	failed   int

	// After it.
	who  *auth.Identity
	drop *maildrop

	upload intake.Composition // the message that is coming by XTND XMIT
}

var _ link.Session = (*session)(nil)

// Line implements link.Session.
func (s *session) Line(ctx context.Context, line []byte, _ bool) bool {
	var r reply
	if s.exchange != nil {
		r = s.respond(ctx, line)
	} else {
		r = s.command(ctx, line)
	}
	return s.answer(ctx, r)
}

// TooLong implements link.Session.
func (s *session) TooLong(ctx context.Context) bool {
	s.exchange = nil
	return s.answer(ctx, bad("line too long"))
}

// Expire implements link.Session. RFC 1939 section 3: an idle session ends
// without a word and without deletions.
func (s *session) Expire(why link.Reason) {
	if why == link.Shutdown {
		s.write(context.Background(), fail("SYS/TEMP", "server is shutting down"))
	}
}

// Waiting implements link.Session.
func (s *session) Waiting() {
	if s.upload != nil {
		s.upload.Yield()
	}
}

// Close implements link.Session.
func (s *session) Close() {
	if s.drop == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	s.leave(ctx)
}

func (s *session) command(ctx context.Context, line []byte) reply {
	cmd, a := split(line)
	switch {
	case cmd.handle == nil:
		return bad("unknown command")
	case len(line) > maxCommand && !cmd.long:
		return bad("line too long")
	case cmd.states&s.state == 0 && s.state == authorization:
		return bad("log in first")
	case cmd.states&s.state == 0:
		return bad("already logged in")
	case a.n < cmd.min:
		return bad("argument missing")
	case a.n > cmd.max:
		return bad("too many arguments")
	}
	if s.state == transaction {
		if r := s.check(ctx); r.status != silent {
			return r
		}
	}
	return cmd.handle(s, ctx, a)
}

// check sees before a command that the account still lets the session go on,
// and keeps the maildrop's lease alive. The store has the account in memory.
func (s *session) check(ctx context.Context) reply {
	account, err := s.srv.cfg.Store.Account(ctx, s.who.Address)
	switch {
	case err == nil && (account.ID != s.who.Account || account.Version > s.who.Version),
		err != nil && mail.KindOf(err) == mail.NotFound:
		r := fail("AUTH", "the account has changed, log in again")
		r.end = true
		return r
	case err != nil:
		s.log(ctx, slog.LevelError, "looking an account up", err)
	}
	if err := s.renew(ctx, s.srv.cfg.Now()); err != nil {
		r := fail("SYS/TEMP", "the lock of the maildrop is lost")
		r.end = true
		return r
	}
	return reply{}
}

// answer writes a reply and what follows from it, and reports whether the
// session goes on.
func (s *session) answer(ctx context.Context, r reply) bool {
	if r.bad {
		s.bad++
		if most := s.srv.limits.Load().BadCommands; most > 0 && s.bad >= most && !r.end {
			r.text += "; too many errors, bye"
			r.end = true
		}
	}
	for {
		written := s.write(ctx, r)
		if r.then == nil {
			return written && !r.end
		}
		r = r.then(ctx)
	}
}

// write puts one reply with its body on the connection. It reports false when
// that failed.
func (s *session) write(ctx context.Context, r reply) bool {
	if r.status == silent {
		return true
	}
	b := s.conn.AvailableBuffer()
	switch r.status {
	case positive:
		b = append(b, "+OK"...)
	case negative:
		b = append(b, "-ERR"...)
	default:
		b = append(b, '+')
	}
	if r.code != "" {
		b = append(b, " ["...)
		b = append(b, r.code...)
		b = append(b, ']')
	}
	if r.text != "" || r.status == challenge {
		b = append(b, ' ')
		b = append(b, r.text...)
	}
	b = append(b, "\r\n"...)
	_, err := s.conn.Write(b)
	if r.body == nil {
		return err == nil
	}
	if err := r.body.write(ctx, s); err != nil {
		s.log(ctx, slog.LevelInfo, "reply broken off", err)
		return false
	}
	_, err = s.conn.WriteString(".\r\n")
	return err == nil
}

// trouble logs a failure on our side and gives the reply for it, with the id
// under which the log has it. RFC 3206 section 3: damaged data will not heal
// by waiting.
func (s *session) trouble(ctx context.Context, doing string, err error) reply {
	s.log(ctx, slog.LevelError, doing, err)
	if mail.KindOf(err) == mail.Damaged {
		return fail("SYS/PERM", "stored data is damaged, tell the administrator: "+s.conn.ID())
	}
	return fail("SYS/TEMP", "trouble on the server, try again later; its log says "+s.conn.ID())
}

func (s *session) log(ctx context.Context, level slog.Level, doing string, err error) {
	s.srv.cfg.Log.LogAttrs(ctx, level, "pop: "+doing,
		slog.String("session", s.conn.ID()),
		slog.String("remote", s.conn.Remote().String()),
		slog.Any("error", err))
}
