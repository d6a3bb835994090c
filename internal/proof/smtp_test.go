package proof

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"postrider/internal/trial"
)

// A sender is one SMTP connection.
type sender struct {
	conn   net.Conn
	r      *bufio.Reader
	ledger *ledger
	chunks bool // CHUNKING was announced
	// heard is called with how long each reply to a message took; may be nil.
	heard func(time.Duration)
}

// dialSMTP connects and says EHLO.
func dialSMTP(address string, l *ledger) (*sender, error) {
	conn, err := net.DialTimeout("tcp", address, trial.Patience)
	if err != nil {
		return nil, err
	}
	s := &sender{conn: conn, r: bufio.NewReader(conn), ledger: l}
	s.conn.SetDeadline(time.Now().Add(2 * trial.Patience))
	if _, _, err = s.expect(220); err == nil {
		_, err = fmt.Fprint(conn, "EHLO load.example.net\r\n")
	}
	var text string
	if err == nil {
		_, text, err = s.expect(250)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	s.chunks = strings.Contains(text, "CHUNKING")
	return s, nil
}

// reply reads one reply with all its lines.
func (s *sender) reply() (code int, text string, err error) {
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return 0, text, err
		}
		text += line
		if len(line) < 4 {
			return 0, text, fmt.Errorf("reply %q", line)
		}
		if line[3] != '-' {
			code, err = strconv.Atoi(line[:3])
			return code, text, err
		}
	}
}

// A refusal is a reply that was not the one that was wanted.
type refusal struct {
	code int
	text string
}

func (r *refusal) Error() string { return strings.TrimSpace(r.text) }

// expect reads a reply, which must have this code.
func (s *sender) expect(want int) (int, string, error) {
	code, text, err := s.reply()
	if err == nil && code != want {
		err = &refusal{code, text}
	}
	return code, text, err
}

// envelope is all that goes before the body.
func (m *message) envelope(last string) []byte {
	var b bytes.Buffer
	b.WriteString("MAIL FROM:<load@example.net>\r\n")
	for _, to := range m.to {
		fmt.Fprintf(&b, "RCPT TO:<%s>\r\n", to)
	}
	b.WriteString(last)
	return b.Bytes()
}

// opened reads the replies to MAIL and every RCPT.
func (s *sender) opened(m *message) error {
	for range 1 + len(m.to) {
		if _, _, err := s.expect(250); err != nil {
			return err
		}
	}
	return nil
}

// data sends messages with DATA. The end of each goes together with the
// commands of the next, as RFC 2920 section 3.1 allows.
func (s *sender) data(flight []*message) error {
	var out []byte
	for i, m := range flight {
		out = append(out, m.envelope("DATA\r\n")...)
		if _, err := s.conn.Write(out); err != nil {
			return err
		}
		if i > 0 {
			if err := s.answer(flight[i-1]); err != nil {
				return err
			}
		}
		if err := s.opened(m); err != nil {
			return err
		}
		if _, _, err := s.expect(354); err != nil {
			return err
		}
		body := m.bytes()
		m.sum, m.exact = sha256.Sum256(body), int64(len(body))
		out = bytes.ReplaceAll(body, []byte("\r\n."), []byte("\r\n.."))
		out = append(out, ".\r\n"...)
		s.ledger.sending(m)
	}
	if _, err := s.conn.Write(out); err != nil {
		return err
	}
	return s.answer(flight[len(flight)-1])
}

// bdat sends messages with BDAT, all before the first reply is read
// (RFC 3030).
func (s *sender) bdat(flight []*message) error {
	for _, m := range flight {
		body := m.bytes()
		m.sum, m.exact = sha256.Sum256(body), int64(len(body))
		half := len(body) / 2
		out := m.envelope(fmt.Sprintf("BDAT %d\r\n%sBDAT %d LAST\r\n%s", half, body[:half],
			len(body)-half, body[half:]))
		s.ledger.sending(m)
		if _, err := s.conn.Write(out); err != nil {
			return err
		}
	}
	for _, m := range flight {
		if err := s.opened(m); err != nil {
			return err
		}
		if _, _, err := s.expect(250); err != nil { // the first chunk
			return err
		}
		if err := s.answer(m); err != nil {
			return err
		}
	}
	return nil
}

// receiptText stands before the server's id of a message in its reply.
const receiptText = "accepted as "

// answer reads the reply to the end of a message. A refusal is no error.
func (s *sender) answer(m *message) error {
	began := time.Now()
	code, text, err := s.reply()
	if err != nil {
		return err
	}
	if s.heard != nil {
		s.heard(time.Since(began))
	}
	if _, receipt, ok := strings.Cut(strings.TrimSpace(text), receiptText); ok {
		m.receipt = receipt
	}
	m.code = code
	s.ledger.replied(m, code, text)
	if code == 421 {
		return &refusal{code, text}
	}
	return nil
}

// load sends messages over one connection until ctx ends or the connection
// does. Of three connections one speaks without pipelining, one with, and
// one sends chunks.
func load(ctx context.Context, address string, l *ledger, k *maker, number int,
	heard func(time.Duration)) error {
	s, err := dialSMTP(address, l)
	if err != nil {
		return err
	}
	defer s.conn.Close()
	s.heard = heard
	for ctx.Err() == nil && (k.limit == 0 || k.last < k.limit) {
		many := 1
		if number%3 > 0 {
			many = 1 + k.rand.IntN(6)
		}
		if k.limit > 0 {
			many = min(many, k.limit-k.last)
		}
		var flight []*message
		for range many {
			flight = append(flight, k.next())
		}
		send := s.data
		if number%3 == 2 && s.chunks {
			send = s.bdat
		}
		if err := send(flight); err != nil {
			return err
		}
		s.conn.SetDeadline(time.Now().Add(2 * trial.Patience))
	}
	return nil
}
