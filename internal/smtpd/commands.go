package smtpd

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"postrider/internal/auth"
	"postrider/internal/mail"
	"postrider/internal/wire/smtp"
)

// A command is one line of the table.
type command struct {
	run    func(s *session, ctx context.Context, args []byte) *mail.Reply
	phases phase // where it is allowed
	modes  modes // where it exists
	noArgs bool
	long   bool // its line may be above smtp.MaxCommand
}

// modes is a set of Modes; the empty one means all.
type modes uint8

const (
	notLMTP  modes = 1<<SMTP | 1<<Submission
	onlyLMTP modes = 1 << LMTP
)

func (m modes) has(mode Mode) bool { return m == 0 || m&(1<<mode) != 0 }

// commands is the table of all commands. BDAT looks after its phase itself,
// because its data must be read whatever the answer is.
var commands = map[string]command{
	"HELO":     {run: (*session).helo, phases: anytime, modes: notLMTP},
	"EHLO":     {run: (*session).ehlo, phases: anytime, modes: notLMTP},
	"LHLO":     {run: (*session).ehlo, phases: anytime, modes: onlyLMTP},
	"MAIL":     {run: (*session).mail, phases: greeted},
	"RCPT":     {run: (*session).rcpt, phases: sender | recipients},
	"DATA":     {run: (*session).data, phases: recipients, noArgs: true},
	"BDAT":     {run: (*session).bdat, phases: anytime},
	"RSET":     {run: (*session).rset, phases: anytime, noArgs: true},
	"NOOP":     {run: (*session).noop, phases: anytime},
	"QUIT":     {run: (*session).quit, phases: anytime, noArgs: true},
	"HELP":     {run: (*session).help, phases: anytime},
	"VRFY":     {run: (*session).vrfy, phases: anytime},
	"STARTTLS": {run: (*session).startTLS, phases: fresh | greeted, noArgs: true},
	"AUTH":     {run: (*session).auth, phases: greeted, long: true},

	"EXPN": {run: (*session).notHere, phases: anytime},
	"ETRN": {run: (*session).notHere, phases: anytime},
	"ATRN": {run: (*session).notHere, phases: anytime},
	"TURN": {run: (*session).notHere, phases: anytime},
	"SEND": {run: (*session).notHere, phases: anytime},
	"SOML": {run: (*session).notHere, phases: anytime},
	"SAML": {run: (*session).notHere, phases: anytime},

	// A browser made to post a form to this port must not get to the lines
	// that follow.
	"GET":     {run: (*session).web, phases: anytime},
	"HEAD":    {run: (*session).web, phases: anytime},
	"POST":    {run: (*session).web, phases: anytime},
	"PUT":     {run: (*session).web, phases: anytime},
	"OPTIONS": {run: (*session).web, phases: anytime},
	"CONNECT": {run: (*session).web, phases: anytime},
}

// helo is HELO (RFC 5321 section 4.1.1.1).
func (s *session) helo(_ context.Context, args []byte) *mail.Reply {
	if r := s.greet(args); r != nil {
		return r
	}
	s.esmtp = false
	s.reply = mail.Reply{Code: 250, Text: s.srv.cfg.Hostname}
	return &s.reply
}

// ehlo is EHLO (RFC 5321 section 4.1.1.1), and LHLO (RFC 2033 section 4.1).
func (s *session) ehlo(_ context.Context, args []byte) *mail.Reply {
	if r := s.greet(args); r != nil {
		return r
	}
	s.esmtp = true
	s.reply = mail.Reply{Code: 250, Text: s.extensions()}
	return &s.reply
}

// greet begins anew, as RSET does (RFC 5321 section 4.1.4).
func (s *session) greet(args []byte) *mail.Reply {
	name, ok := smtp.ParseHello(args)
	if !ok {
		return replyHello
	}
	s.forget()
	s.visitor.Helo = name
	s.phase = greeted
	return nil
}

// extensions is the text of the reply to EHLO: what is offered here and now.
func (s *session) extensions() string {
	cfg, limits := &s.srv.cfg, s.srv.limits.Load()
	var b strings.Builder
	b.Grow(512)
	b.WriteString(cfg.Hostname)
	b.WriteString("\nPIPELINING\n8BITMIME\nSMTPUTF8\nCHUNKING\nBINARYMIME\nENHANCEDSTATUSCODES\nSIZE")
	if limits.MessageSize > 0 {
		b.WriteByte(' ')
		b.WriteString(strconv.FormatInt(limits.MessageSize, 10))
	}
	if s.visitor.TLS == nil && s.conn.HasTLS() {
		b.WriteString("\nSTARTTLS")
	}
	if s.visitor.TLS != nil { // RFC 8689 section 2
		b.WriteString("\nREQUIRETLS")
	}
	if m := s.mechanisms(); len(m) > 0 {
		b.WriteString("\nAUTH ")
		b.WriteString(strings.Join(m, " "))
	}
	// RFC 9422 section 3
	b.WriteString("\nLIMITS")
	if limits.Messages > 0 {
		b.WriteString(" MAILMAX=")
		b.WriteString(strconv.Itoa(limits.Messages))
	}
	b.WriteString(" RCPTMAX=")
	b.WriteString(strconv.Itoa(limits.Recipients))
	if cfg.Queue {
		b.WriteString("\nDSN\nFUTURERELEASE ") // RFC 3461, RFC 4865 section 2
		b.WriteString(strconv.FormatInt(int64(cfg.MaxHold/time.Second), 10))
		b.WriteByte(' ')
		b.WriteString(cfg.Now().Add(cfg.MaxHold).UTC().Format(time.RFC3339))
	}
	b.WriteString("\nHELP")
	return b.String()
}

// mechanisms are those that may be used now.
func (s *session) mechanisms() []string {
	if s.srv.cfg.Auth == nil || s.visitor.User != nil {
		return nil
	}
	return s.srv.cfg.Auth.Mechanisms(s.channel())
}

// channel tells package auth where a login comes from.
func (s *session) channel() *auth.Channel {
	return &auth.Channel{
		Service: s.visitor.Door,
		Session: s.visitor.Session,
		Remote:  s.visitor.Remote.Addr(),
		Local:   s.visitor.Local.Addr(),
		TLS:     s.visitor.TLS,
	}
}

// rset is RSET (RFC 5321 section 4.1.1.5).
func (s *session) rset(context.Context, []byte) *mail.Reply {
	s.forget()
	return replyOK
}

// noop is NOOP (RFC 5321 section 4.1.1.9).
func (s *session) noop(context.Context, []byte) *mail.Reply { return replyOK }

// quit is QUIT (RFC 5321 section 4.1.1.10).
func (s *session) quit(context.Context, []byte) *mail.Reply { return replyBye }

// help is HELP (RFC 5321 section 4.1.1.8).
func (s *session) help(context.Context, []byte) *mail.Reply {
	if s.srv.cfg.Mode == LMTP {
		return replyHelpLMTP
	}
	return replyHelp
}

// vrfy is VRFY, which tells strangers nothing (RFC 5321 section 7.3).
func (s *session) vrfy(context.Context, []byte) *mail.Reply { return replyVerify }

// notHere is a command that is known and off. TURN would hand mail to
// anybody (RFC 1985 section 1).
func (s *session) notHere(context.Context, []byte) *mail.Reply { return replyNotHere }

func (s *session) web(context.Context, []byte) *mail.Reply {
	s.closing = true
	return replyWeb
}

// startTLS is STARTTLS (RFC 3207 section 4). All that was said before the
// handshake is forgotten, logins too.
func (s *session) startTLS(ctx context.Context, _ []byte) *mail.Reply {
	switch {
	case s.visitor.TLS != nil:
		return replyTLSTwice
	case !s.conn.HasTLS():
		return replyNoTLS
	}
	s.write(replyStarted)
	if err := s.conn.StartTLS(ctx); err != nil {
		s.log().Info("TLS handshake failed", s.attrs(
			slog.String("remote", s.visitor.Remote.String()),
			slog.String("error", err.Error()))...)
		s.closing = true
		return nil
	}
	s.forget()
	s.logout()
	s.visitor.Helo = ""
	s.visitor.TLS = s.conn.TLS()
	s.phase = fresh
	return nil
}
