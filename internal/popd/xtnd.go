package popd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"

	"postrider/internal/intake"
	"postrider/internal/mail"
)

// xtnd is XTND of RFC 1082, with the sub-commands that mail programs of the
// 1990s know: XMIT of the Berkeley popper and XLST. Texts are the popper's,
// since some of those programs show or compare them.
func (s *session) xtnd(ctx context.Context, a args) reply {
	switch strings.ToUpper(string(a.words[0])) {
	case "XMIT":
		if a.n > 1 {
			return bad("Too many arguments for the XTND XMIT command.")
		}
		return s.xmit(ctx)
	case "XLST":
		if a.n < 2 {
			return bad("Too few arguments for the XTND XLST command.")
		}
		return s.xlst(a)
	}
	return bad("unknown XTND command")
}

// xmit takes a message to be sent to those named in its header. It is a
// submission in disguise and enters the same hall. Like a password, it wants
// TLS where clear text is not allowed.
func (s *session) xmit(ctx context.Context) reply {
	if s.srv.cfg.Composer == nil || s.srv.limits.Load().NoXMIT {
		return fail("", "sending is not available")
	}
	if !s.srv.cfg.Auth.Plaintext(s.channel()) {
		return fail("", "sending needs TLS")
	}
	defer s.conn.Unwatch() // it may wait for memory
	m, err := s.srv.cfg.Composer.Compose(s.conn.Watch(ctx), &intake.Visitor{
		Door:    "pop",
		Session: s.conn.ID(),
		Remote:  s.conn.Remote(),
		Local:   s.conn.Local(),
		TLS:     s.conn.TLS(),
		User:    s.who,
		With:    "POP3",
	})
	if err != nil {
		return s.notSent(ctx, err)
	}
	r := ok("Start sending the message.")
	r.then = func(ctx context.Context) reply { return s.receive(ctx, m) }
	return r
}

// receive reads the message up to its dot. Clients take -ERR to mean that a
// recipient is wrong, so the reply says which.
func (s *session) receive(ctx context.Context, m intake.Composition) reply {
	s.upload = m
	defer func() {
		s.upload = nil
		m.Abort()
	}()
	u := upload{in: s.conn.Reader(), to: m}
	if err := u.run(); err != nil {
		return reply{end: true}
	}
	if u.undoubled {
		s.srv.cfg.Log.LogAttrs(ctx, slog.LevelDebug, "pop: a line sent began with one dot",
			slog.String("session", s.conn.ID()))
	}
	if u.bare {
		return fail("", "message refused: lines must end in CRLF")
	}
	if _, err := m.Commit(ctx); err != nil {
		return s.notSent(ctx, err)
	}
	s.srv.metrics.sent.Inc()
	return ok("Message sent successfully")
}

// notSent puts a refusal of the hall in POP3's terms.
func (s *session) notSent(ctx context.Context, err error) reply {
	refusal, isReply := errors.AsType[*mail.Reply](err)
	if !isReply {
		return s.trouble(ctx, "taking a message", err)
	}
	r := fail("", oneLine(strings.TrimSpace(refusal.Enhanced+" "+refusal.Text)))
	if refusal.Temporary() {
		r.code = "SYS/TEMP"
	}
	return r
}

// An upload carries a multi-line text of the client to a composition. Only a
// line of one dot between two CRLF ends it. A line that begins with a dot
// loses it if another follows; a single one is kept, as the popper did.
type upload struct {
	in        *bufio.Reader
	to        intake.Composition
	undoubled bool // a line began with a single dot
	bare      bool // CR or LF came alone; what was written is of no use
}

// run reads to the end, also when the composition takes no more: its Commit
// tells why. The error is that of the connection.
func (u *upload) run() error {
	lineStart, afterCR, full := true, false, false
	for {
		p, err := u.in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if lineStart && p[0] == '.' {
			if string(p) == ".\r\n" {
				return nil
			}
			if p[1] == '.' {
				p = p[1:]
			} else {
				u.undoubled = true
			}
		}
		u.bare = u.bare || !crlfOnly(p, afterCR)
		lineStart = bytes.HasSuffix(p, crlf) || afterCR && string(p) == "\n"
		afterCR = p[len(p)-1] == '\r'
		if !u.bare && !full {
			_, err := u.to.Write(p)
			full = err != nil
		}
	}
}

// crlfOnly says whether CR and LF stand in p only together. P holds at most
// one LF, at its end; a CR at its end is left to the next call.
func crlfOnly(p []byte, afterCR bool) bool {
	if afterCR {
		return string(p) == "\n"
	}
	line, whole := bytes.CutSuffix(p, crlf)
	if !whole {
		line = bytes.TrimSuffix(p, cr)
	}
	return bytes.IndexByte(line, '\r') < 0 && bytes.IndexByte(line, '\n') < 0
}

// xlst lists a header field of all messages, or of one: Netscape's way to
// recognise messages where UIDL is missing.
func (s *session) xlst(a args) reply {
	l := &fieldList{name: bytes.Clone(a.words[1]), from: 1, to: len(s.drop.items)}
	if a.n == 3 {
		n, r := s.message(a.words[2])
		switch {
		case r.bad:
			return r
		case r.status != silent:
			return fail("", "Message "+oneLine(string(a.words[2]))+" does not exist.")
		}
		l.from, l.to = n, n
	}
	r := ok("xlst command accepted; headers coming.")
	r.body = l
	return r
}

// A fieldList is the body of XTND XLST: the number and the field of each
// message that has it. It looks at the first 32 kB of a message. One that
// cannot be read is passed over.
type fieldList struct {
	name     []byte
	from, to int
}

func (l *fieldList) write(ctx context.Context, s *session) error {
	for n := l.from; n <= l.to; n++ {
		if s.drop.items[n-1].deleted {
			continue
		}
		t, _ := s.open(ctx, n)
		if t == nil {
			continue
		}
		err := l.line(s, n, field(t.piece, l.name))
		t.close()
		if err == nil {
			err = s.renew(ctx, s.srv.cfg.Now())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *fieldList) line(s *session, n int, f []byte) error {
	if len(f) == 0 {
		return nil
	}
	if _, err := s.conn.WriteString(strconv.Itoa(n) + " "); err != nil {
		return err
	}
	out := stuffer{w: s.conn}
	if err := out.write(f); err != nil {
		return err
	}
	return out.end()
}

// field finds the first field of that name in a header, in any case of
// letters, with its continuation lines.
func field(header, name []byte) []byte {
	for len(header) > 0 {
		end := fieldEnd(header)
		f := header[:end]
		if f[0] == '\r' || f[0] == '\n' {
			return nil // the empty line
		}
		if colon := bytes.IndexByte(f, ':'); colon > 0 &&
			bytes.EqualFold(bytes.TrimRight(f[:colon], " \t"), name) {
			return f
		}
		header = header[end:]
	}
	return nil
}

// fieldEnd is where the field at the beginning of header ends.
func fieldEnd(header []byte) int {
	end := 0
	for {
		i := bytes.IndexByte(header[end:], '\n')
		if i < 0 {
			return len(header)
		}
		end += i + 1
		if end == len(header) || header[end] != ' ' && header[end] != '\t' {
			return end
		}
	}
}
