package intake

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postrider/internal/auth"
	"postrider/internal/blob/volume"
	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/sqlstore"
)

// compose hands in a message as XTND XMIT does.
func (f *fixture) compose(t testing.TB, user, text string) (*Receipt, error) {
	t.Helper()
	v := f.user(t, user)
	v.Door, v.With, v.Helo = "pop", "POP3", ""
	c, err := f.Compose(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Abort()
	for part := range strings.SplitAfterSeq(text, "\n") {
		io.WriteString(c, part) // Commit tells the error
	}
	return c.Commit(t.Context())
}

// A bare name in To is no path: the Received line has the whole address, as
// it has that of postmaster by SMTP.
func TestReceivedForBareName(t *testing.T) {
	f := newFixture(t)
	const head = "From: alice@example.org\r\nDate: x\r\nMessage-ID: <1@x>\r\n"
	if _, err := f.compose(t, "alice@example.org", head+"To: bob\r\n\r\nHi\r\n"); err != nil {
		t.Fatal(err)
	}
	tx, err := f.From(t.Context(), stranger(), mail.Address{}, mail.MailParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Abort()
	if err := tx.Rcpt(t.Context(), mail.Address{Local: "Postmaster"}, mail.RcptParams{}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"bob@example.org", "postmaster@example.org"} {
		if got := f.mails(t, who)[0]; !strings.Contains(got, "\tfor <"+who+">;") {
			t.Errorf("got %s", got)
		}
	}
}

// What stands in a composed message besides these fields is kept.
func TestCompose(t *testing.T) {
	f := newFixture(t)
	const head = "From: alice@example.org\r\nDate: x\r\nMessage-ID: <1@x>\r\n"
	for _, test := range []struct {
		name, text string
		want       string   // of the message; empty: as it came
		to         []string // who gets it
	}{
		{"To", head + "To: bob@example.org\r\n\r\nHi\r\n", "", []string{"bob"}},
		{"To, Cc and Bcc", head + "To: bob@example.org\r\nBcc: carol@example.org\r\n" +
			"Cc: alice@example.org\r\n\r\nHi\r\n",
			head + "To: bob@example.org\r\nCc: alice@example.org\r\n\r\nHi\r\n",
			[]string{"alice", "bob", "carol"}},
		{"Bcc alone", head + "Bcc: carol@example.org\r\n\r\nHi\r\n", head + "\r\nHi\r\n",
			[]string{"carol"}},
		{"folded and repeated Bcc", "bcc: carol@example.org,\r\n\tbob@example.org\r\n" + head +
			"BCC :\r\n alice@example.org\r\n\r\nBcc: this stays\r\n",
			head + "\r\nBcc: this stays\r\n", []string{"alice", "bob", "carol"}},
		{"empty Bcc", head + "To: bob@example.org\r\nBcc:\r\n\r\nHi\r\n",
			head + "To: bob@example.org\r\n\r\nHi\r\n", []string{"bob"}},
		{"sent on", head + "To: bob@example.org\r\nResent-To: carol@example.org\r\n" +
			"Resent-Bcc: alice@example.org\r\n\r\nHi\r\n",
			head + "To: bob@example.org\r\nResent-To: carol@example.org\r\n\r\nHi\r\n",
			[]string{"alice", "carol"}},
		{"group, names and duplicates", head + "To: us: Bob <bob@example.org>, bob@example.org;,\r\n" +
			" \"Carol, C\" <CAROL@example.org>\r\n\r\nHi\r\n", "", []string{"bob", "carol"}},
		{"bare local part", head + "To: bob\r\n\r\nHi\r\n", "", []string{"bob"}},
		{"header only", head + "Bcc: carol@example.org\r\n", head, []string{"carol"}},
		{"bound to another disk", head + "To: far@example.org\r\n\r\nHi\r\n", "", []string{"far"}},
		{"large", head + "To: bob@example.org\r\n\r\n" + strings.Repeat("0123456789abcde\n", 8000), "",
			[]string{"bob"}},
		{"large with Bcc", head + "Bcc: bob@example.org\r\n\r\n" +
			strings.Repeat("0123456789abcde\n", 8000),
			head + "\r\n" + strings.Repeat("0123456789abcde\n", 8000), []string{"bob"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := test.want
			if want == "" {
				want = test.text
			}
			r, err := f.compose(t, "alice@example.org", test.text)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"alice", "bob", "carol", "far"} {
				gets := strings.Contains(","+strings.Join(test.to, ",")+",", ","+name+",")
				got := f.newest(t, name+"@example.org", r.ID)
				if gets != (got != "") || gets && !strings.HasSuffix(got, "+0100\r\n"+want) {
					t.Errorf("%s: got %q, want %q: %v", name, got, want, gets)
				}
			}
		})
	}
}

// newest gives the message with this id, or "".
func (f *fixture) newest(t testing.TB, address, id string) string {
	t.Helper()
	for _, m := range f.mails(t, address) {
		if strings.Contains(m, " with POP3 id "+id) {
			return m
		}
	}
	return ""
}

// A composition is refused as a whole, with a record and a trace, and the
// reply names who is wrong.
func TestComposeRefused(t *testing.T) {
	const from = "From: alice@example.org\r\n"
	for _, test := range []struct{ name, text, want string }{
		{"no recipients", from + "\r\nHi\r\n",
			"553 5.1.3 there is no recipient in To, Cc or Bcc"},
		{"empty", "", "553 5.1.3 there is no recipient in To, Cc or Bcc"},
		{"unknown", from + "To: bob@example.org, nobody@example.org\r\n\r\nHi\r\n",
			"550 5.1.1 no such user here: nobody@example.org"},
		{"foreign", from + "To: bob@example.org, x@example.net\r\n\r\nHi\r\n", "550 5.3.3 " +
			"x@example.net: this server does not send to other domains yet, only to local recipients"},
		{"no address", from + "To: bob@example.org, <x y>\r\n\r\nHi\r\n",
			"553 5.1.3 not an address in To: <x y>"},
		{"of another", "From: bob@example.org\r\nTo: bob@example.org\r\n\r\nHi\r\n",
			"550 5.7.1 alice@example.org may not write as bob@example.org (the From field)"},
		{"above the limit of recipients", from + "To: alice, bob, carol, far, small, postmaster\r\n" +
			"\r\nHi\r\n", "452 4.5.3 postmaster: no more than 5 recipients"},
		{"too large", from + "To: bob@example.org\r\n\r\n" + strings.Repeat("x\n", 150<<10),
			"552 5.3.4 the message is larger than 204800 bytes"},
		{"a loop", strings.Repeat("Received: x\r\n", 4) + from + "To: bob@example.org\r\n\r\nHi\r\n",
			"554 5.4.6 the message has passed more than 3 servers: a loop"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			_, err := f.compose(t, "alice@example.org", test.text)
			if got := said(err); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			traces := f.traces(t)
			if len(traces) != 1 || traces[0].Door != "pop" || traces[0].User != "alice@example.org" {
				t.Fatalf("got traces %+v", traces)
			}
			for _, r := range traces[0].Recipients {
				if r.Outcome != "refused" && r.Outcome != "deferred" {
					t.Errorf("got %+v", r)
				}
			}
			if log := f.close(); strings.Count(log, "refused session=") != 1 {
				t.Errorf("got the log\n%s", log)
			}
			if got := len(f.mails(t, "bob@example.org")); got != 0 {
				t.Errorf("got %d messages, want none", got)
			}
		})
	}
}

func TestComposeNeedsLogin(t *testing.T) {
	f, s := newTrapped(t)
	if _, err := f.Compose(t.Context(), stranger()); said(err) !=
		"530 5.7.0 authentication required" {
		t.Errorf("got %v", err)
	}
	v := f.user(t, "alice@example.org")
	s.draft = mail.Errorf(mail.Full, "no memory")
	if _, err := f.Compose(t.Context(), v); said(err) !=
		"452 4.3.1 not enough room now, try again later" {
		t.Errorf("got %v", err)
	}
	s.draft = nil
	c, err := f.Compose(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	a := *f.account(t, "alice@example.org")
	a.Version++
	f.write(t, a)
	io.WriteString(c, letter)
	if _, err := c.Commit(t.Context()); !strings.Contains(said(err), "no longer valid") {
		t.Errorf("after a new password: got %v", err)
	}
	c.Abort()
	c.Abort()
}

// Compositions that hold all the memory there is still come to their end.
func TestComposeWithLittleMemory(t *testing.T) {
	dir := t.TempDir()
	blobs, err := volume.Open(volume.Config{Dirs: []string{filepath.Join(dir, "v")},
		Memory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{Blobs: blobs, Quiet: true,
		Path: filepath.Join(dir, "db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f := &fixture{store: s}
	f.fill(t)
	h := New(Config{Store: s, Hostname: func() string { return "mx" }})
	alice := f.account(t, "alice@example.org")
	v := stranger()
	v.User = &auth.Identity{Account: alice.ID, Address: alice.Address, Version: alice.Version}
	var open []Composition
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		c, err := h.Compose(ctx, v)
		cancel()
		if err != nil {
			break
		}
		io.WriteString(c, "From: alice@example.org\r\nBcc: bob@example.org\r\n\r\n")
		open = append(open, c)
	}
	if len(open) < 2 {
		t.Fatalf("got %d compositions, want several", len(open))
	}
	for _, c := range open {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if _, err := c.Commit(ctx); err != nil {
			t.Fatal(err)
		}
		c.Abort()
		cancel()
	}
	entries, err := s.Entries(t.Context(), f.account(t, "bob@example.org").ID, store.Inbox, 0, 10000)
	if err != nil || len(entries) != len(open) {
		t.Errorf("got %d messages and %v, want %d", len(entries), err, len(open))
	}
}
