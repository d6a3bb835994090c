package smtpd

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"

	"postrider/internal/auth"
	"postrider/internal/mail"
	"postrider/internal/wire/smtp"
)

// The failures of package auth as SMTP says them (RFC 4954 sections 4 and 6,
// RFC 5248).
var authReplies = []struct {
	err   *mail.Error
	reply *mail.Reply
}{
	{auth.ErrCredentials, mail.NewReply(535, "5.7.8", auth.ErrCredentials.Text)},
	{auth.ErrPlaintext, mail.NewReply(538, "5.7.11", auth.ErrPlaintext.Text)},
	{auth.ErrTemporary, mail.NewReply(454, "4.7.0", auth.ErrTemporary.Text)},
	{auth.ErrTooMany, mail.NewReply(454, "4.7.0", auth.ErrTooMany.Text)},
	{auth.ErrMechanism, mail.NewReply(504, "5.5.4", auth.ErrMechanism.Text)},
	{auth.ErrCancelled, replyCancelled},
	{auth.ErrSyntax, mail.NewReply(501, "5.5.2", auth.ErrSyntax.Text)},
}

// auth is AUTH (RFC 4954 section 4).
func (s *session) auth(_ context.Context, args []byte) *mail.Reply {
	switch {
	case s.srv.cfg.Auth == nil:
		return replyNoAuth
	case s.visitor.User != nil:
		return replyAuthTwice
	}
	mechanism, initial, ok := smtp.ParseAuth(args)
	if !ok {
		return replyAuthArgs
	}
	var response []byte // nil: none was given
	if initial != nil {
		if response, ok = smtp.DecodeResponse(initial, true); !ok {
			return s.loginFailed(auth.ErrSyntax)
		}
	}
	exchange, err := s.srv.cfg.Auth.Start(s.channel(), mechanism)
	if err != nil {
		return s.loginFailed(err)
	}
	s.exchange = exchange
	return s.next(response)
}

// response handles a line that answers a challenge.
func (s *session) response(line []byte) *mail.Reply {
	if len(line) == 1 && line[0] == '*' {
		s.exchange = nil
		return replyCancelled
	}
	response, ok := smtp.DecodeResponse(line, false)
	if !ok {
		s.exchange = nil
		return s.loginFailed(auth.ErrSyntax)
	}
	return s.next(response)
}

// next takes the exchange one step further.
func (s *session) next(response []byte) *mail.Reply {
	challenge, id, err := s.exchange.Next(response)
	clear(response)
	if err != nil {
		s.exchange = nil
		return s.loginFailed(err)
	}
	if id == nil {
		s.reply = mail.Reply{Code: 334, Text: base64.StdEncoding.EncodeToString(challenge)}
		return &s.reply
	}
	s.exchange = nil
	if !s.srv.join(id.Account) {
		return replyUserFull
	}
	s.visitor.User = id
	s.debug("login", slog.String("user", id.Address.String()), slog.String("method", id.Method))
	return replyLogin
}

// loginFailed finds the reply for a failure, and ends the session of one who
// tries too often. Package auth writes the log records of refused logins.
func (s *session) loginFailed(err error) *mail.Reply {
	s.failed++
	if limit := s.srv.limits.Load().AuthAttempts; limit > 0 && s.failed > limit {
		return replyAttempts
	}
	for _, a := range authReplies {
		if errors.Is(err, a.err) {
			return a.reply
		}
	}
	switch mail.KindOf(err) {
	case mail.Denied, mail.NotFound:
		return authReplies[0].reply
	case mail.Temporary, mail.Full, mail.Locked:
		return authReplies[2].reply
	case mail.Invalid:
		return authReplies[len(authReplies)-1].reply
	}
	s.log().Error("login failed unexpectedly", s.attrs(slog.String("error", err.Error()))...)
	return authReplies[2].reply
}
