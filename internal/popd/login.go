package popd

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"

	"postrider/internal/auth"
	"postrider/internal/mail"
)

func (s *session) channel() *auth.Channel {
	return &auth.Channel{
		Service: "pop",
		Session: s.conn.ID(),
		Remote:  s.conn.Remote().Addr(),
		Local:   s.conn.Local().Addr(),
		TLS:     s.conn.TLS(),
	}
}

// user is USER of RFC 1939 section 7. Any name is welcome: who exists here is
// for nobody to find out.
func (s *session) user(_ context.Context, a args) reply {
	if !s.srv.cfg.Auth.Plaintext(s.channel()) {
		return s.notHere(auth.ErrPlaintext)
	}
	s.name = string(bytes.Trim(a.rest, " "))
	return ok("password, please")
}

// pass is PASS of RFC 1939 section 7: all that follows is the password,
// spaces included.
func (s *session) pass(ctx context.Context, a args) reply {
	name := s.name
	s.name = ""
	if name == "" {
		return bad("USER comes first")
	}
	id, err := s.srv.cfg.Auth.Password(ctx, s.channel(), name, string(a.rest))
	if err != nil {
		return s.refused(ctx, err)
	}
	return s.enter(ctx, id)
}

// apop is APOP of RFC 1939 section 7: name and digest. A name may hold
// spaces in quotes, so the digest is the last word.
func (s *session) apop(ctx context.Context, a args) reply {
	if s.stamp == "" {
		return bad("APOP is not offered")
	}
	rest := bytes.Trim(a.rest, " ")
	at := bytes.LastIndexByte(rest, ' ')
	name, digest := bytes.TrimRight(rest[:at], " "), rest[at+1:]
	id, err := s.srv.cfg.Auth.APOP(ctx, s.channel(), string(name), s.stamp, string(digest))
	if err != nil {
		return s.refused(ctx, err)
	}
	return s.enter(ctx, id)
}

// stls is STLS of RFC 2595 section 4. What came before it in clear text
// counts no more.
func (s *session) stls(context.Context, args) reply {
	switch {
	case s.conn.TLS() != nil:
		return bad("TLS is active already")
	case !s.conn.HasTLS():
		return bad("TLS is not available")
	}
	r := ok("begin TLS now")
	r.then = func(ctx context.Context) reply {
		if err := s.conn.StartTLS(ctx); err != nil {
			return reply{end: true}
		}
		s.name = ""
		return reply{}
	}
	return r
}

// auth is AUTH of RFC 5034. Without an argument it lists the mechanisms, as
// clients from before CAPA expect it.
func (s *session) auth(ctx context.Context, a args) reply {
	channel := s.channel()
	if a.n == 0 {
		r := ok("mechanisms follow")
		r.body = lines(s.srv.cfg.Auth.Mechanisms(channel))
		return r
	}
	exchange, err := s.srv.cfg.Auth.Start(channel, string(a.words[0]))
	if err != nil {
		return s.notHere(err)
	}
	var response []byte // nil: none given
	switch {
	case a.n == 2 && string(a.words[1]) == "=":
		response = []byte{} // RFC 5034 section 4: given, and of no octets
	case a.n == 2:
		if response, err = decode(a.words[1]); err != nil {
			return bad(auth.ErrSyntax.Text)
		}
	}
	s.exchange = exchange
	return s.step(ctx, response)
}

// respond takes a line of a SASL exchange under way.
func (s *session) respond(ctx context.Context, line []byte) reply {
	if string(line) == "*" {
		s.exchange = nil
		return bad(auth.ErrCancelled.Text)
	}
	response, err := decode(line)
	if err != nil {
		s.exchange = nil
		return bad(auth.ErrSyntax.Text)
	}
	return s.step(ctx, response)
}

func (s *session) step(ctx context.Context, response []byte) reply {
	question, id, err := s.exchange.Next(response)
	switch {
	case err != nil:
		s.exchange = nil
		return s.refused(ctx, err)
	case id != nil:
		s.exchange = nil
		return s.enter(ctx, id)
	}
	return reply{status: challenge, text: base64.StdEncoding.EncodeToString(question)}
}

// decode reads a SASL response. The result is never nil without an error.
func decode(b []byte) ([]byte, error) {
	out := make([]byte, base64.StdEncoding.DecodedLen(len(b)))
	n, err := base64.StdEncoding.Strict().Decode(out, b)
	return out[:n], err
}

// notHere gives the reply for a way to log in that this channel does not
// offer.
func (s *session) notHere(err error) reply {
	if e, isOurs := errors.AsType[*mail.Error](err); isOurs {
		return bad(oneLine(e.Text))
	}
	return bad("not available")
}

// refused gives the reply for a login that failed. RFC 3206: after [AUTH] a
// client asks for another password, after [SYS/TEMP] it tries again later.
func (s *session) refused(ctx context.Context, err error) reply {
	s.srv.metrics.logins.WithLabelValues("refused").Inc()
	r := fail("", "login failed")
	if errors.Is(err, auth.ErrNeedsAPOP) && s.stamp == "" {
		err = auth.ErrPlaintext
	}
	if e, isOurs := errors.AsType[*mail.Error](err); isOurs {
		r.text = oneLine(e.Text)
	}
	switch mail.KindOf(err) {
	case mail.Denied, mail.NotFound:
		r.code = "AUTH"
	case mail.Temporary:
		r.code = "SYS/TEMP"
	case mail.Internal, mail.Full, mail.Damaged:
		r = s.trouble(ctx, "login", err)
	}
	r.bad = true
	if s.failed++; s.failed >= s.srv.limits.Load().FailedLogins {
		r.text += "; too many failed logins, bye"
		r.end = true
	}
	return r
}
