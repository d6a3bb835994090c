package smtpd

import (
	"bytes"
	"context"
	"errors"
	"log/slog"

	"postrider/internal/auth"
	"postrider/internal/intake"
	"postrider/internal/link"
	"postrider/internal/mail"
	"postrider/internal/wire/smtp"
)

// A session is one connection's dialogue.
type session struct {
	srv     *Server
	conn    *link.Conn
	visitor intake.Visitor
	phase   phase
	esmtp   bool // EHLO or LHLO, not HELO
	utf8    bool // MAIL had SMTPUTF8
	binary  bool // MAIL had BODY=BINARYMIME
	closing bool // ends after the reply at hand

	tx       intake.Transaction // nil outside of a mail transaction
	rcpts    int                // accepted in it
	body     chunks             // of BDAT
	exchange auth.Exchange      // nil outside of AUTH

	each     []*mail.Reply // LMTP: the replies of the recipients, to be written
	reply    mail.Reply    // room for one that is made for the occasion
	messages int           // transactions begun
	commands int
	errors   int
	unknown  int
	failed   int // logins
}

// A phase is where a session stands. Commands name a set of them.
type phase uint8

const (
	fresh      phase = 1 << iota // before EHLO
	greeted                      // outside of a transaction
	sender                       // after MAIL
	recipients                   // after a RCPT that was accepted
	chunked                      // after the first BDAT
	anytime    = fresh | greeted | sender | recipients | chunked
)

// Line handles one line: a command, or a response of AUTH.
func (s *session) Line(ctx context.Context, line []byte, bare bool) bool {
	if isHandshake(line) {
		s.closing = true
		return s.finish(replyHandshake)
	}
	if bare {
		// RFC 5321 section 2.3.8: LF alone ends no line. What looks like a
		// command may be a part of a message that another server split.
		s.exchange = nil
		return s.finish(replyCRLF)
	}
	if s.exchange != nil {
		return s.finish(s.response(line))
	}
	s.commands++
	if limit := s.srv.limits.Load().Commands; limit > 0 && s.commands > limit {
		return s.finish(replyCommands)
	}
	return s.finish(s.command(ctx, line))
}

// TooLong handles a line that was above link.Limits.Line.
func (s *session) TooLong(context.Context) bool {
	if s.exchange != nil { // RFC 4954 section 4
		s.exchange = nil
		return s.finish(replyAuthLong)
	}
	return s.finish(replyTooLong)
}

// Expire says farewell.
func (s *session) Expire(why link.Reason) {
	switch why {
	case link.Shutdown:
		s.finish(replyShutdown)
	case link.Overlong:
		s.finish(replyOverlong)
	default:
		s.finish(replyTimeout)
	}
}

// Waiting lets others have the memory of a message that does not come on.
func (s *session) Waiting() {
	if s.tx != nil {
		s.tx.Yield()
	}
}

// Close gives back all that the session holds.
func (s *session) Close() {
	s.forget()
	s.logout()
	if s.enabled(slog.LevelDebug) {
		s.debug("session closed", slog.Int("messages", s.messages),
			slog.Int("commands", s.commands), slog.Int("errors", s.errors))
	}
}

// command finds the command in its table, checks what the table says, and
// runs it.
func (s *session) command(ctx context.Context, line []byte) *mail.Reply {
	var buf [smtp.MaxVerb]byte
	verb, args := smtp.SplitVerb(line, &buf)
	cmd, ok := commands[string(verb)]
	if !ok || !cmd.modes.has(s.srv.cfg.Mode) {
		return s.notRecognized()
	}
	switch {
	case len(line) > smtp.MaxCommand && !cmd.long:
		return replyTooLong
	case bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0:
		return replyBareCR
	case cmd.phases&s.phase == 0:
		return s.outOfOrder(cmd.phases)
	case cmd.noArgs && len(args) > 0:
		return replyNoArgs
	}
	return cmd.run(s, ctx, args)
}

// isHandshake knows a client that speaks TLS at once, on a port where
// STARTTLS is the way. What follows would be noise.
func isHandshake(line []byte) bool { return len(line) > 1 && line[0] == 0x16 && line[1] == 3 }

// notRecognized counts what is no command.
func (s *session) notRecognized() *mail.Reply {
	s.unknown++
	if limit := s.srv.limits.Load().Unknown; limit > 0 && s.unknown > limit {
		return replyUnknowns
	}
	return replyUnknown
}

// outOfOrder says what should have come first.
func (s *session) outOfOrder(wanted phase) *mail.Reply {
	switch {
	case s.phase == fresh && s.srv.cfg.Mode == LMTP:
		return replyLHLOFirst
	case s.phase == fresh:
		return replyGreetFirst
	case s.phase == greeted:
		return replyMailFirst
	case s.phase == chunked:
		return replyChunks
	case s.phase == sender && wanted == recipients && s.srv.cfg.Mode == LMTP:
		return replyNoRcptLMTP
	case s.phase == sender && wanted == recipients:
		return replyNoRcpt
	}
	return replyInside
}

// finish writes the reply at hand and reports whether the session goes on.
func (s *session) finish(r *mail.Reply) bool {
	for _, e := range s.each {
		s.write(e)
	}
	s.each = nil
	if r == nil {
		return !s.closing
	}
	if s.tooManyErrors(r) {
		s.write(r)
		r = replyErrors
	}
	s.write(r)
	if r.Code == 421 {
		s.ended(r)
	}
	return r.Code != 421 && r.Code != 221 && !s.closing
}

// tooManyErrors counts a refusal. That of a recipient above the limit is
// none: its sender does as RFC 5321 section 4.5.3.1.10 wants it. Nor are
// those of LMTP, whose client passes on the mistakes of others.
func (s *session) tooManyErrors(r *mail.Reply) bool {
	if r.Code < 400 || r.Code == 421 || r == replyTooMany {
		return false
	}
	s.errors++
	limit := s.srv.limits.Load().Errors
	return limit > 0 && s.errors > limit && s.srv.cfg.Mode != LMTP
}

// ended logs why the server ends the session. Who was only slow is no news.
func (s *session) ended(r *mail.Reply) {
	level := slog.LevelInfo
	if r == replyTimeout || r == replyShutdown {
		level = slog.LevelDebug
	}
	if s.enabled(level) {
		s.log().Log(context.Background(), level, "session ended by the server", s.attrs(
			slog.String("remote", s.visitor.Remote.String()), slog.String("reply", r.Error()))...)
	}
}

// write is the only place where replies go to the connection.
func (s *session) write(r *mail.Reply) {
	s.srv.count.reply(r.Code)
	s.conn.Write(smtp.AppendReply(s.conn.AvailableBuffer(), r))
	if r.Code >= 500 && s.enabled(slog.LevelDebug) {
		s.debug("refused", slog.String("reply", r.Error()))
	}
}

// refusal makes a reply of an error of the hall, which is one mostly. When the
// hall does not know the login any more (530), AUTH is possible again.
func (s *session) refusal(err error) *mail.Reply {
	r, ok := errors.AsType[*mail.Reply](err)
	if ok && r.Code >= 400 && r.Code <= 599 {
		if r.Code == codeLogin {
			s.logout()
		}
		return r
	}
	s.log().Error("unexpected error", s.attrs(slog.String("error", err.Error()))...)
	s.reply = mail.Reply{
		Code: 451, Enhanced: "4.3.0", Err: err,
		Text: "internal error, try again later; in the log it is session " + s.visitor.Session,
	}
	return &s.reply
}

// codeLogin is RFC 4954 section 6: authentication required.
const codeLogin = 530

// forget ends the mail transaction, if there is one (RFC 5321 section 4.1.4).
func (s *session) forget() {
	if s.tx != nil {
		s.tx.Abort()
		s.tx = nil
	}
	s.utf8, s.binary = false, false
	s.rcpts = 0
	s.body = chunks{}
	if s.phase != fresh {
		s.phase = greeted
	}
}

// logout forgets who the user is.
func (s *session) logout() {
	if id := s.visitor.User; id != nil {
		s.visitor.User = nil
		s.srv.leave(id.Account)
	}
}

func (s *session) log() *slog.Logger { return s.srv.log }

func (s *session) enabled(l slog.Level) bool { return s.srv.log.Enabled(context.Background(), l) }

func (s *session) attrs(more ...any) []any {
	return append([]any{slog.String("session", s.visitor.Session),
		slog.String("door", s.visitor.Door)}, more...)
}

func (s *session) debug(msg string, attrs ...any) {
	if s.enabled(slog.LevelDebug) {
		s.log().Debug(msg, s.attrs(attrs...)...)
	}
}
