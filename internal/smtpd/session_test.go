package smtpd

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	client "github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"

	"postrider/internal/golden"
	"postrider/internal/link"
)

// converse sends input, ends sending, and returns what came back.
func converse(t *testing.T, b *bench, input string) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	b.limits.LineTime, b.limits.ReadTime = 50*time.Millisecond, 50*time.Millisecond
	server := link.New(b.link)
	server.ServeConn(theirs)
	var wg sync.WaitGroup
	// A pipe cannot be closed in one direction. What is added ends the
	// session, or else a short time-out does.
	wg.Go(func() { io.WriteString(ours, input+"\r\n.\r\nQUIT\r\n") })
	out, _ := io.ReadAll(ours)
	ours.Close()
	wg.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	server.Shutdown(ctx)
	if n := server.Stats().Panics; n > 0 {
		t.Fatalf("%d panics on %q\n%s", n, input, b.log.String())
	}
	return out
}

// A foreign client, go-smtp, gets its mail through, by SMTP and LMTP, with
// and without TLS.
func TestForeignClient(t *testing.T) {
	text := "Subject: x\r\n\r\n.leading dot\r\n..two\r\n.\r\nend\r\n"
	tests := []struct {
		name  string
		setup golden.Setup
		dial  func(t *testing.T, addr string) (*client.Client, error)
		want  string
	}{
		{"SMTP", nil, func(_ *testing.T, addr string) (*client.Client, error) {
			return client.Dial(addr)
		}, "ESMTP client.example.net bob@example.net >alice@example.org >carol@example.org"},
		{"STARTTLS", golden.Setup{{Key: "tls", Value: "starttls"}},
			func(t *testing.T, addr string) (*client.Client, error) {
				return client.DialStartTLS(addr, clientTLS(t))
			}, "ESMTPS client.example.net bob@example.net >alice@example.org >carol@example.org"},
		{"TLS", golden.Setup{{Key: "tls", Value: "implicit"}},
			func(t *testing.T, addr string) (*client.Client, error) {
				return client.DialTLS(addr, clientTLS(t))
			}, "ESMTPS client.example.net bob@example.net >alice@example.org >carol@example.org"},
		{"LMTP", golden.Setup{{Key: "mode", Value: "lmtp"}},
			func(_ *testing.T, addr string) (*client.Client, error) {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					return nil, err
				}
				return client.NewClientLMTP(conn), nil
			}, "LMTP client.example.net bob@example.net >alice@example.org >carol@example.org"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, tt.setup)
			c, err := tt.dial(t, b.start(t))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if !strings.HasPrefix(tt.name, "START") {
				if err := c.Hello("client.example.net"); err != nil {
					t.Fatal(err)
				}
			} else {
				tt.want = strings.Replace(tt.want, "client.example.net", "localhost", 1)
			}
			to := []string{"alice@example.org", "carol@example.org"}
			if err := c.SendMail("bob@example.net", to, strings.NewReader(text)); err != nil {
				t.Fatal(err)
			}
			if err := c.Quit(); err != nil {
				t.Fatal(err)
			}
			m := b.hall.last()
			if m == nil {
				t.Fatal("no message was accepted")
			}
			if got := m.String(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if got := m.body.String(); got != text {
				t.Errorf("got  %q\nwant %q", got, text)
			}
		})
	}
}

// The same client with the parameters of MAIL and RCPT.
func TestForeignClientExtensions(t *testing.T) {
	b := newBench(t, golden.Setup{{Key: "tls", Value: "implicit"}, {Key: "queue", Value: "yes"}})
	c, err := client.DialTLS(b.start(t), clientTLS(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = errors.Join(
		c.Hello("client.example.net"),
		c.Mail("jörg@bücher.example", &client.MailOptions{
			Size: 6, UTF8: true, RequireTLS: true, Body: client.Body8BitMIME,
			Return: client.DSNReturnHeaders, EnvelopeID: "a b+c",
		}),
		c.Rcpt("alice@example.org", &client.RcptOptions{
			Notify:                []client.DSNNotify{client.DSNNotifyFailure, client.DSNNotifyDelayed},
			OriginalRecipientType: client.DSNAddressTypeRFC822, OriginalRecipient: "old@example.org",
		}),
	)
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, "text\r\n")
	if err := errors.Join(w.Close(), c.Quit()); err != nil {
		t.Fatal(err)
	}
	m := b.hall.last()
	want := "UTF8SMTPS client.example.net jörg@bücher.example >alice@example.org"
	if got := m.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	want = `size=6 body=1 utf8=true tls=true auth="" ret="HDRS" envid="a b+c"` +
		` notify="FAILURE,DELAY" orcpt="rfc822;old@example.org"`
	if got := m.describe(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Every command of the table has been said in a transcript.
func TestEveryCommandHasATranscript(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	for verb := range commands {
		if !strings.Contains(all.String(), "C: "+verb) {
			t.Errorf("%s stands in no transcript", verb)
		}
	}
}

// One who sends a byte now and then holds up nobody.
func TestSlowBesideFast(t *testing.T) {
	addr, s := newSinkBench(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 20 {
		slow := newTalker(t, addr)
		slow.say(t, []byte("MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"),
			"250", "250", "354")
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
					slow.conn.Write([]byte("x"))
				}
			}
		})
	}
	fast := newTalker(t, addr)
	message := testMessage(4096)
	for range 200 {
		fast.say(t, []byte("MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"),
			"250", "250", "354")
		fast.say(t, message, "250")
	}
	close(stop)
	wg.Wait()
	if got := s.bytes.Load(); got < 200*4000 {
		t.Errorf("got %d bytes", got)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	b := newBench(t, nil)
	cfg := b.srv.cfg
	cfg.Metrics = NewMetrics(reg)
	b.srv = New(cfg)
	b.link.Handler = b.srv
	c := newTalker(t, b.start(t))
	c.say(t, []byte("FOO\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"),
		"500", "250", "250", "354")
	c.say(t, []byte("text\r\n.\r\n"), "250")
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			key := f.GetName()
			for _, l := range m.GetLabel() {
				key += " " + l.GetValue()
			}
			got[key] = m.GetCounter().GetValue()
		}
	}
	for key, want := range map[string]float64{
		"postrider_smtpd_sessions_total smtp":      1,
		"postrider_smtpd_messages_total smtp":      1,
		"postrider_smtpd_message_bytes_total smtp": 6,
		"postrider_smtpd_replies_total 2 smtp":     5,
		"postrider_smtpd_replies_total 3 smtp":     1,
		"postrider_smtpd_replies_total 5 smtp":     1,
	} {
		if got[key] != want {
			t.Errorf("%s: got %v, want %v", key, got[key], want)
		}
	}
}

// A session that waits is part of what 10 000 of them cost.
func TestSessionIsSmall(t *testing.T) {
	if got := unsafe.Sizeof(session{}); got > 640 {
		t.Errorf("got %d bytes", got)
	}
}
