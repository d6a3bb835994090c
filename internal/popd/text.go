package popd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// bufferSize is how much of a message is read at a time, in bytes.
const bufferSize = 32 << 10

// errDamaged is for a message whose body is not the one that was stored.
var errDamaged = mail.Errorf(mail.Damaged, "the message is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A text is a message on its way to the client. Its first piece is read
// before the +OK, so that a message that cannot be read is refused properly;
// and most messages are one piece. When all has been read the checksum of the
// body must be right, or the last piece is not sent.
type text struct {
	srv     *Server
	row     *store.Email
	r       store.MessageReader // nil when all has been read
	buf     *[bufferSize]byte
	piece   []byte // of buf
	at      int64  // where the next piece begins
	size    int64
	sum     uint32    // of the body so far
	checked bool      // sum must be right at the end
	top     *topLines // nil sends all
	number  int       // of the message for RETR, 0 for TOP
}

// newText reads the first piece of the message that r has and row describes.
// R is closed when all of it has been read, or by close.
func (srv *Server) newText(row *store.Email, r store.MessageReader) (*text, error) {
	_, shown := r.(*view) // which was compared already
	t := &text{
		srv: srv, row: row, r: r, size: r.Size(), checked: !shown, buf: srv.buffers.Get().(*[bufferSize]byte),
	}
	if err := t.read(); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// read gets the next piece; an empty one is the end.
func (t *text) read() error {
	n := min(t.size-t.at, bufferSize)
	t.piece = t.buf[:n]
	if n > 0 {
		got, err := t.r.ReadAt(t.piece, t.at)
		if int64(got) < n {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		prefix := max(int64(len(t.row.Prefix))-t.at, 0)
		t.sum = crc32.Update(t.sum, castagnoli, t.piece[min(prefix, n):])
		t.at += n
	}
	if t.at < t.size || t.r == nil {
		return nil
	}
	err := t.r.Close()
	t.r = nil
	if t.checked && t.sum != t.row.Location.Sum {
		return errDamaged
	}
	return err
}

// damaged logs that a body is not what was stored, and which one it is.
func (s *session) damaged(ctx context.Context, row *store.Email) {
	s.srv.cfg.Log.LogAttrs(ctx, slog.LevelError, "pop: a message is damaged",
		slog.String("session", s.conn.ID()),
		slog.String("account", s.who.Address.String()),
		slog.String("email", row.ID.String()),
		slog.Int64("volume", row.Location.Volume),
		slog.Int64("offset", row.Location.Offset))
}

func (t *text) close() {
	if t.r != nil {
		_ = t.r.Close()
		t.r = nil
	}
	if t.buf != nil {
		t.srv.buffers.Put(t.buf)
		t.buf, t.piece = nil, nil
	}
}

// write implements body.
func (t *text) write(ctx context.Context, s *session) error {
	defer t.close()
	out := stuffer{w: s.conn, lineStart: true}
	for len(t.piece) > 0 {
		piece := t.piece
		if t.top != nil {
			piece = t.top.cut(piece)
		}
		if err := out.write(piece); err != nil {
			return err
		}
		if t.top != nil && t.top.done || t.at == t.size {
			break
		}
		if err := s.renew(ctx, s.srv.cfg.Now()); err != nil {
			return err
		}
		if err := t.read(); err != nil {
			if errors.Is(err, errDamaged) {
				s.damaged(ctx, t.row)
			}
			return fmt.Errorf("reading a message: %w", err)
		}
	}
	if err := out.end(); err != nil {
		return err
	}
	t.sent(s)
	return nil
}

// sent counts a message that RETR has sent to its end. One that was cut off
// must not be LAST: the client would never ask for it again.
func (t *text) sent(s *session) {
	if t.number == 0 {
		return
	}
	s.drop.accessed(t.number)
	s.drop.retrieved++
	s.drop.octetsSent += t.size
	s.srv.metrics.messages.Inc()
	s.srv.metrics.octets.Add(float64(t.size))
}

// A stuffer writes a message as a multi-line response: a line that begins
// with a dot gets another (RFC 1939 section 3), and every line ends in CRLF
// however it is stored.
type stuffer struct {
	w         io.Writer
	lineStart bool // the next byte begins a line
	afterCR   bool // the last byte was a CR
}

var dot, cr, crlf = []byte("."), []byte("\r"), []byte("\r\n")

// write passes p on in pieces as large as can be.
func (s *stuffer) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	var err error
	pass := func(b []byte) {
		if len(b) > 0 && err == nil {
			_, err = s.w.Write(b)
		}
	}
	if s.lineStart && p[0] == '.' {
		pass(dot)
	}
	sent, i := 0, 0
	for {
		j := bytes.IndexByte(p[i:], '\n')
		if j < 0 {
			break
		}
		j += i
		if j > 0 && p[j-1] != '\r' || j == 0 && !s.afterCR {
			pass(p[sent:j])
			pass(cr)
			sent = j
		}
		i = j + 1
		if i < len(p) && p[i] == '.' {
			pass(p[sent:i])
			pass(dot)
			sent = i
		}
	}
	pass(p[sent:])
	s.lineStart, s.afterCR = i == len(p), p[len(p)-1] == '\r'
	return err
}

// end completes the last line.
func (s *stuffer) end() error {
	if s.lineStart {
		return nil
	}
	_, err := s.w.Write(crlf)
	return err
}

// topLines finds where TOP stops: so many lines after the first empty one.
type topLines struct {
	left   int  // lines of the body still to send
	body   bool // the header is over
	filled bool // the line at hand has something in it
	done   bool
}

// cut gives the part of a piece that is to be sent.
func (t *topLines) cut(p []byte) []byte {
	for i := 0; i < len(p); {
		if t.body && t.left == 0 {
			t.done = true
			return p[:i]
		}
		j := bytes.IndexByte(p[i:], '\n')
		if j < 0 {
			t.filled = t.filled || len(bytes.TrimRight(p[i:], "\r")) > 0
			return p
		}
		line := p[i : i+j]
		switch {
		case t.body:
			t.left--
		case !t.filled && len(bytes.TrimRight(line, "\r")) == 0:
			t.body = true
		}
		t.filled = false
		i += j + 1
	}
	t.done = t.body && t.left == 0
	return p
}
