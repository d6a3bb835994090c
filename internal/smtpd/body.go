package smtpd

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"postrider/internal/link"
	"postrider/internal/mail"
	"postrider/internal/wire/smtp"
)

// data is DATA (RFC 5321 section 4.1.1.4).
func (s *session) data(ctx context.Context, _ []byte) *mail.Reply {
	if s.binary { // RFC 3030 section 3
		return replyBinary
	}
	if err := s.open(ctx); err != nil {
		return s.drop(ctx, s.refusal(err), false)
	}
	s.write(replyStart)
	size, bare, err := s.readData(ctx)
	switch {
	case err != nil:
		return s.broken(ctx, err, bare)
	case bare != 0:
		// After such a message it is not certain where the peer thinks that
		// it ended; no further command is taken from it.
		s.closing = true
		return s.drop(ctx, replyBareLine, true)
	case s.tooBig(size):
		return s.drop(ctx, replyTooBig, true)
	}
	return s.commit(ctx, size)
}

// open makes the hall ready for the message. It may have to wait for memory
// that others hold; not for a peer that is gone, nor when the server stops.
func (s *session) open(ctx context.Context) error {
	defer s.conn.Unwatch()
	return s.tx.Open(s.conn.Watch(ctx))
}

// readData hands the message to the hall up to its end. When the message
// will be refused in any case, the rest is read and thrown away.
func (s *session) readData(ctx context.Context) (size int64, bare smtp.Bare, err error) {
	var d smtp.Decoder
	r := s.conn.Reader()
	writing := true
	for {
		if _, err := r.Peek(1); err != nil {
			return size, d.Bare(), err
		}
		p, _ := r.Peek(r.Buffered())
		used, end := 0, false
		for used < len(p) && !end {
			var out []byte
			var n int
			out, n, end = d.Next(p[used:])
			used += n
			size += int64(len(out))
			writing = writing && s.pass(out)
		}
		r.Discard(used)
		if end {
			return size, d.Bare(), nil
		}
		switch { // the hall may have its memory back at once
		case !writing:
		case d.Bare() != 0:
			writing = false
			s.tx.Refuse(ctx, replyBareLine)
		case s.tooBig(size):
			writing = false
			s.tx.Refuse(ctx, replyTooBig)
		}
	}
}

// pass hands a part of the message to the hall. When it reports false the
// hall will take no more; it tells the reason at Commit.
func (s *session) pass(p []byte) bool {
	if len(p) == 0 {
		return true
	}
	_, err := s.tx.Write(p)
	return err == nil
}

func (s *session) tooBig(size int64) bool {
	limit := s.srv.limits.Load().MessageSize
	return limit > 0 && size > limit
}

// drop ends the transaction with a refusal of the message. When that was
// whole, LMTP says it once for each recipient.
func (s *session) drop(ctx context.Context, r *mail.Reply, whole bool) *mail.Reply {
	if r == replyBareLine || r == replyTooBig { // of all others the hall knows
		s.tx.Refuse(ctx, r)
	}
	if whole && s.srv.cfg.Mode == LMTP {
		for range s.rcpts - 1 {
			s.each = append(s.each, r)
		}
	}
	s.forget()
	return r
}

// broken is the end of a session that failed within a message.
func (s *session) broken(ctx context.Context, err error, bare smtp.Bare) *mail.Reply {
	s.closing = true
	s.log().Info("message broken off", s.attrs(
		slog.String("remote", s.visitor.Remote.String()),
		slog.String("error", err.Error()))...)
	farewell := replyTimeout
	switch {
	case errors.Is(err, link.ErrOverlong):
		farewell = replyOverlong
	case !errors.Is(err, os.ErrDeadlineExceeded):
		s.forget()
		return nil
	}
	if bare != 0 {
		// Who ends messages otherwise waits for this answer.
		return s.drop(ctx, replyBareLine, true)
	}
	s.forget()
	return farewell
}

// commit asks the hall to take the message.
func (s *session) commit(ctx context.Context, size int64) *mail.Reply {
	receipt, err := s.tx.Commit(ctx)
	if err != nil {
		return s.drop(ctx, s.refusal(err), true)
	}
	rcpts := s.rcpts
	s.forget()
	s.srv.count.messages.Inc()
	s.srv.count.bytes.Add(float64(size))
	s.reply = mail.Reply{Code: 250, Enhanced: "2.0.0", Text: "accepted as " + receipt.ID}
	if s.srv.cfg.Mode != LMTP {
		return &s.reply
	}
	// RFC 2033 section 4.2: a reply for each recipient that was accepted.
	s.each = receipt.Recipients
	for len(s.each) < rcpts {
		s.each = append(s.each, &s.reply)
	}
	return nil
}

// chunks is what is known of a message that comes by BDAT.
type chunks struct {
	size  int64
	lines smtp.Lines
	hall  bool // it wants no more
}

// bdat is BDAT (RFC 3030 section 2). The data is read in any case, because
// what follows it is the next command.
func (s *session) bdat(ctx context.Context, args []byte) *mail.Reply {
	size, last, ok := smtp.ParseBDAT(args)
	if !ok {
		s.closing = true
		return replyBDATArgs
	}
	refusal := s.beginChunk(ctx, size, last)
	if err := s.readChunk(size, refusal == nil); err != nil {
		return s.broken(ctx, err, 0)
	}
	switch {
	case refusal != nil:
		return refusal
	case !s.binary && s.body.lines.Bare(last) != 0:
		return s.drop(ctx, replyBareLine, last)
	case last:
		return s.commit(ctx, s.body.size)
	}
	return replyChunk
}

// beginChunk says why a chunk cannot be taken, or nil.
func (s *session) beginChunk(ctx context.Context, size int64, last bool) *mail.Reply {
	switch s.phase {
	case chunked:
	case recipients:
		if err := s.open(ctx); err != nil {
			return s.drop(ctx, s.refusal(err), last)
		}
		s.phase = chunked
	default:
		return s.outOfOrder(recipients)
	}
	if s.tooBig(s.body.size + size) {
		return s.drop(ctx, replyTooBig, last)
	}
	return nil
}

// readChunk reads size bytes and hands them to the hall, if it shall.
func (s *session) readChunk(size int64, taken bool) error {
	r := s.conn.Reader()
	for size > 0 {
		if _, err := r.Peek(1); err != nil {
			return err
		}
		p, _ := r.Peek(int(min(size, int64(r.Buffered()))))
		if taken {
			s.chunk(p)
		}
		size -= int64(len(p))
		if _, err := r.Discard(len(p)); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) chunk(p []byte) {
	s.body.size += int64(len(p))
	if !s.binary {
		s.body.lines.Check(p)
	}
	if !s.body.hall {
		s.body.hall = !s.pass(p)
	}
}
