package clients

import (
	"io"
	"net"
	"net/textproto"
	"regexp"
	"strings"
	"testing"
	"time"

	"postrider/internal/trial"
)

// mailbox fetches everything an account has, byte for byte, by POP3 in its
// simplest form, and leaves it there.
func (s *server) mailbox(t *testing.T, user string) []string {
	t.Helper()
	return s.mailboxWith(t, user, password)
}

func (s *server) mailboxWith(t *testing.T, user, password string) []string {
	t.Helper()
	p, err := trial.DialPOP(s.Address(t, "pop"), user, password)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Conn.Close()
	all, err := p.All()
	if err == nil {
		err = p.Quit()
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// added is what the server puts in front of a message.
var added = regexp.MustCompile(
	`^Return-Path: <[^>]*>\r\n(?:Delivered-To: [^\r]*\r\n)?Received: [^\r]*(?:\r\n[ \t][^\r]*)*\r\n`)

// original takes off what the server put in front of a message.
func original(t *testing.T, message string) string {
	t.Helper()
	head := added.FindString(message)
	if head == "" {
		t.Fatalf("no Return-Path and Received in front of %.500q", message)
	}
	return message[len(head):]
}

// wantMail fails the test unless the account has exactly these messages, in
// this order.
func (s *server) wantMail(t *testing.T, user string, want ...string) {
	t.Helper()
	got := s.mailbox(t, user)
	if len(got) != len(want) {
		t.Fatalf("%s has %d messages, want %d: %.2000q", user, len(got), len(want), got)
	}
	for i := range want {
		if text := original(t, got[i]); text != want[i] {
			t.Errorf("message %d of %s: %s", i+1, user, difference(text, want[i]))
		}
	}
}

// send gives the server a message for an account, by SMTP in its simplest form.
func (s *server) send(t *testing.T, to, message string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.Address(t, "smtp"), trial.Patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(trial.Patience))
	c := textproto.NewConn(conn)
	ask := func(code int, line string) {
		t.Helper()
		if line != "" {
			if _, err := io.WriteString(conn, line+"\r\n"); err != nil {
				t.Fatal(err)
			}
		}
		if _, text, err := c.ReadResponse(code); err != nil {
			t.Fatalf("%.60s: got %v %s", line, err, text)
		}
	}
	ask(220, "")
	ask(250, "HELO client.example.net")
	ask(250, "MAIL FROM:<sender@example.net>")
	ask(250, "RCPT TO:<"+to+">")
	ask(354, "DATA")
	ask(250, stuffed(message)+".")
	ask(221, "QUIT")
}

// stuffed doubles the dots at the begin of lines.
func stuffed(text string) string {
	return strings.ReplaceAll("\r\n"+text, "\r\n.", "\r\n..")[2:]
}
