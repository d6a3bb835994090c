package smtpd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"postrider/internal/intake"
	"postrider/internal/mail"
	"postrider/internal/wire/smtp"
)

// A sink takes every message and keeps only its size.
type sink struct {
	tx    sinkTx
	bytes atomic.Int64
}

func (s *sink) From(context.Context, *intake.Visitor, mail.Address, mail.MailParams) (
	intake.Transaction, error,
) {
	return &s.tx, nil
}

func (s *sink) Compose(context.Context, *intake.Visitor) (intake.Composition, error) {
	return nil, nil
}

type sinkTx struct {
	sink    *sink
	receipt intake.Receipt
}

func (t *sinkTx) Rcpt(context.Context, mail.Address, mail.RcptParams) error { return nil }
func (t *sinkTx) Open(context.Context) error                                { return nil }
func (t *sinkTx) Refuse(context.Context, *mail.Reply)                       {}
func (t *sinkTx) Yield()                                                    {}
func (t *sinkTx) Abort()                                                    {}

func (t *sinkTx) Write(p []byte) (int, error) {
	t.sink.bytes.Add(int64(len(p)))
	return len(p), nil
}

func (t *sinkTx) Commit(context.Context) (*intake.Receipt, error) {
	return &t.receipt, nil
}

// A talker is a client that allocates nothing while it talks.
type talker struct {
	conn net.Conn
	in   *bufio.Reader
}

func (c *talker) say(tb testing.TB, p []byte, codes ...string) {
	if _, err := c.conn.Write(p); err != nil {
		tb.Fatal(err)
	}
	for _, code := range codes {
		c.hear(tb, code)
	}
}

func (c *talker) hear(tb testing.TB, code string) {
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			tb.Fatal(err)
		}
		if len(line) < 4 || string(line[:3]) != code {
			tb.Fatalf("got %q, want %s", line, code)
		}
		if line[3] == ' ' {
			return
		}
	}
}

func newTalker(tb testing.TB, addr string) *talker {
	tb.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	c := &talker{conn: conn, in: bufio.NewReader(conn)}
	c.hear(tb, "220")
	c.say(tb, []byte("EHLO bench.example.net\r\n"), "250")
	return c
}

// newSinkBench serves into a sink.
func newSinkBench(tb testing.TB) (addr string, s *sink) {
	tb.Helper()
	s = &sink{}
	s.tx.sink = s
	s.tx.receipt.ID = "0123456789abc"
	b := newBench(tb, nil)
	b.srv.cfg.Hall = s
	b.srv.log = slog.New(slog.DiscardHandler)
	limits := DefaultLimits()
	limits.Commands = 0
	b.srv.SetLimits(limits)
	return b.start(tb), s
}

func testMessage(size int) []byte {
	line := strings.Repeat("x", 74) + "\r\n"
	body := "Subject: test\r\n\r\n" + strings.Repeat(line, size/len(line)) + ".\r\n"
	return []byte(body)
}

// BenchmarkMessage is one message of 4 kB through loopback into a sink, with
// pipelining as the common senders use it: two round trips.
func BenchmarkMessage(b *testing.B) {
	addr, _ := newSinkBench(b)
	c := newTalker(b, addr)
	envelope := []byte("MAIL FROM:<sender@example.net> SIZE=4096\r\n" +
		"RCPT TO:<user12@example.org>\r\nDATA\r\n")
	message := testMessage(4096)
	b.ReportAllocs()
	for b.Loop() {
		c.say(b, envelope, "250", "250", "354")
		c.say(b, message, "250")
	}
}

// BenchmarkLarge is a message of 8 MB.
func BenchmarkLarge(b *testing.B) {
	addr, _ := newSinkBench(b)
	c := newTalker(b, addr)
	envelope := []byte("MAIL FROM:<sender@example.net>\r\nRCPT TO:<user12@example.org>\r\nDATA\r\n")
	message := testMessage(8 << 20)
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		c.say(b, envelope, "250", "250", "354")
		c.say(b, message, "250")
	}
}

// What a message costs beyond what is kept: two addresses (one string each)
// and the text of the last reply.
func TestAllocations(t *testing.T) {
	addr, s := newSinkBench(t)
	c := newTalker(t, addr)
	envelope := []byte("MAIL FROM:<Sender@example.net> SIZE=4096 BODY=8BITMIME\r\n" +
		"RCPT TO:<user12@Example.org>\r\nDATA\r\n")
	message := testMessage(4096)
	got := testing.AllocsPerRun(500, func() {
		c.say(t, envelope, "250", "250", "354")
		c.say(t, message, "250")
	})
	if got > 3 {
		t.Errorf("got %v allocations for a message, want 3", got)
	}
	if s.bytes.Load() == 0 {
		t.Error("no message arrived")
	}
}

// FuzzSession says anything to a server. It must answer in replies, and never
// panic; what it commits must have no bare CR or LF.
func FuzzSession(f *testing.F) {
	for _, s := range []string{
		"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n",
		"EHLO x\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<c@d>\r\nBDAT 3\r\nabcBDAT 0 LAST\r\n",
		"HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<virus@d>\r\nRSET\r\nAUTH PLAIN\r\nAAAA\r\nVRFY x\r\n",
		"EHLO x\r\nSTARTTLS\r\nNOOP\r\nHELP\r\nGET / HTTP/1.1\r\n",
		"LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<full@d>\r\nDATA\r\n.\r\n",
	} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, input string, lmtp bool) {
		b := newBench(t, nil)
		b.srv.cfg.Auth = fakeAuth{plaintext: true}
		if lmtp {
			b.srv.cfg.Mode = LMTP
		}
		out := converse(t, b, input)
		r := bufio.NewReaderSize(bytes.NewReader(out), smtp.MaxReply)
		for {
			_, err := smtp.ReadReply(r)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%q: %v in %q", input, err, out)
			}
		}
		for _, m := range b.hall.messages {
			var lines smtp.Lines
			lines.Check(m.body.Bytes())
			if m.params.Body != mail.BodyBinaryMIME && lines.Bare(true) != 0 {
				t.Fatalf("%q: took the message %q", input, m.body.String())
			}
		}
	})
}
