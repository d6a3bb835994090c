package smtpd

import (
	"context"
	"log/slog"

	"postrider/internal/journal"
	"postrider/internal/mail"
	"postrider/internal/wire/smtp"
)

// mail is MAIL (RFC 5321 section 4.1.1.2).
func (s *session) mail(ctx context.Context, args []byte) *mail.Reply {
	limits := s.srv.limits.Load()
	rules := s.srv.rules
	rules.RequireTLS = s.visitor.TLS != nil
	from, params, refusal := smtp.ParseMail(args, rules)
	switch {
	case refusal != nil:
		return s.refused(ctx, "return path refused", args, refusal)
	case s.srv.cfg.Mode == Submission && s.visitor.User == nil:
		return s.refused(ctx, "return path refused", args, s.wantLogin())
	case limits.MessageSize > 0 && params.Size > limits.MessageSize: // RFC 1870 section 6.1
		return s.refused(ctx, "return path refused", args, replyTooBig)
	case limits.Messages > 0 && s.messages >= limits.Messages: // RFC 9422 section 4.1
		return replyMessages
	}
	s.visitor.With = s.with(params.UTF8)
	tx, err := s.srv.cfg.Hall.From(ctx, &s.visitor, from, params)
	if err != nil {
		return s.refusal(err)
	}
	s.tx = tx
	s.utf8 = params.UTF8
	s.binary = params.Body == mail.BodyBinaryMIME
	s.phase = sender
	s.messages++
	return replySender
}

// wantLogin refuses who is not logged in (RFC 6409 section 4.3, RFC 4954
// section 6), and says whether TLS must come first.
func (s *session) wantLogin() *mail.Reply {
	if s.visitor.TLS == nil && len(s.mechanisms()) == 0 {
		return replyWantTLS
	}
	return replyWantAuth
}

// The with keywords of the Received line (RFC 3848, RFC 6531 section 4.3),
// by TLS (1) and login (2).
var (
	withSMTP     = [4]string{"SMTP", "ESMTPS", "ESMTPA", "ESMTPSA"}
	withESMTP    = [4]string{"ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA"}
	withLMTP     = [4]string{"LMTP", "LMTPS", "LMTPA", "LMTPSA"}
	withUTF8SMTP = [4]string{"UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA", "UTF8SMTPSA"}
	withUTF8LMTP = [4]string{"UTF8LMTP", "UTF8LMTPS", "UTF8LMTPA", "UTF8LMTPSA"}
)

func (s *session) with(utf8 bool) string {
	i := 0
	if s.visitor.TLS != nil {
		i |= 1
	}
	if s.visitor.User != nil {
		i |= 2
	}
	switch lmtp := s.srv.cfg.Mode == LMTP; {
	case lmtp && utf8:
		return withUTF8LMTP[i]
	case lmtp:
		return withLMTP[i]
	case utf8:
		return withUTF8SMTP[i]
	case s.esmtp:
		return withESMTP[i]
	}
	return withSMTP[i]
}

// rcpt is RCPT (RFC 5321 section 4.1.1.3).
func (s *session) rcpt(ctx context.Context, args []byte) *mail.Reply {
	to, params, refusal := smtp.ParseRcpt(args, s.utf8)
	if refusal != nil {
		return s.refused(ctx, "recipient refused", args, refusal)
	}
	if s.rcpts >= s.srv.limits.Load().Recipients { // RFC 5321 section 4.5.3.1.10
		return s.refused(ctx, "recipient refused", args, replyTooMany)
	}
	if err := s.tx.Rcpt(ctx, to, params); err != nil {
		r := s.refusal(err)
		if r.Code == codeLogin { // it was the transaction of a user who is gone
			s.forget()
		}
		return r
	}
	s.rcpts++
	s.phase = recipients
	return replyRcpt
}

// maxTold is how much of a refused command its record tells, in bytes.
const maxTold = 200

// refused leaves the record of a path that the door itself refuses; the hall
// has its own ones.
func (s *session) refused(ctx context.Context, what string, args []byte,
	r *mail.Reply) *mail.Reply {
	journal.Refused(ctx, s.log(), s.visitor.Remote.Addr(), what,
		slog.String("session", s.visitor.Session), slog.String("door", s.visitor.Door),
		slog.String("peer", s.visitor.Remote.Addr().String()),
		slog.String("command", string(args[:min(len(args), maxTold)])),
		slog.Int("code", r.Code), slog.String("reason", r.Text))
	return r
}
