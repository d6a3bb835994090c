package intake

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postrider/internal/blob"
	"postrider/internal/blob/blobtest"
	"postrider/internal/mail"
	"postrider/internal/store"
)

// stored delivers a message and gives it as one recipient has it, with the
// transaction's id replaced.
func (f *fixture) stored(t *testing.T, v *Visitor, from, body string, to ...string) string {
	t.Helper()
	r, err := f.send(t, v, from, body, to...)
	if err != nil {
		t.Fatal(err)
	}
	all := f.mails(t, to[0])
	return strings.ReplaceAll(all[len(all)-1], r.ID, "ID")
}

// RFC 5321 section 4.4, and RFC 3848 for the protocol's name.
func TestReceived(t *testing.T) {
	f := newFixture(t)
	secure := &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}
	const top = "Return-Path: <x@example.net>\r\nDelivered-To: bob@example.org\r\n"
	const own = "Return-Path: <alice@example.org>\r\nDelivered-To: bob@example.org\r\n"
	const end = ";\r\n\tWed, 04 Mar 2026 12:00:00 +0100\r\n"
	for _, test := range []struct {
		name string
		user string
		set  func(v *Visitor)
		to   []string
		want string
	}{
		{"plain", "", func(*Visitor) {}, nil, top +
			"Received: from client.example.net ([203.0.113.9])\r\n" +
			"\tby mx.example.org with ESMTP id ID\r\n\tfor <bob@example.org>" + end},
		{"TLS", "", func(v *Visitor) { v.TLS, v.With = secure, "ESMTPS" }, nil, top +
			"Received: from client.example.net ([203.0.113.9])\r\n" +
			"\tby mx.example.org with ESMTPS id ID\r\n\t(TLS 1.3 TLS_AES_128_GCM_SHA256)\r\n" +
			"\tfor <bob@example.org>" + end},
		{"login and TLS", "alice@example.org",
			func(v *Visitor) { v.TLS, v.With = secure, "ESMTPSA" }, nil, own +
				"Received: from client.example.net ([203.0.113.9])\r\n" +
				"\t(authenticated as alice@example.org)\r\n" +
				"\tby mx.example.org with ESMTPSA id ID\r\n\t(TLS 1.3 TLS_AES_128_GCM_SHA256)\r\n" +
				"\tfor <bob@example.org>" + end},
		{"IPv6", "", func(v *Visitor) { v.Remote = netip.MustParseAddrPort("[2001:db8::9]:1") }, nil,
			top + "Received: from client.example.net ([IPv6:2001:db8::9])\r\n" +
				"\tby mx.example.org with ESMTP id ID\r\n\tfor <bob@example.org>" + end},
		{"IPv4 within IPv6", "",
			func(v *Visitor) { v.Remote = netip.MustParseAddrPort("[::ffff:203.0.113.9]:1") }, nil,
			top + "Received: from client.example.net ([203.0.113.9])\r\n" +
				"\tby mx.example.org with ESMTP id ID\r\n\tfor <bob@example.org>" + end},
		{"Unix socket", "", func(v *Visitor) {
			v.Door, v.With, v.Remote, v.Local = "lmtp", "LMTP", netip.AddrPort{}, netip.AddrPort{}
		}, nil, top + "Received: from client.example.net\r\n" +
			"\tby mx.example.org with LMTP id ID\r\n\tfor <bob@example.org>" + end},
		{"several recipients", "", func(*Visitor) {}, []string{"alice@example.org"}, top +
			"Received: from client.example.net ([203.0.113.9])\r\n" +
			"\tby mx.example.org with ESMTP id ID" + end},
		{"no name", "", func(v *Visitor) { v.Helo = "" }, nil, top +
			"Received: from unknown ([203.0.113.9])\r\n" +
			"\tby mx.example.org with ESMTP id ID\r\n\tfor <bob@example.org>" + end},
		{"a name that breaks out", "", func(v *Visitor) { v.Helo = "a)\r\nX: (b;é\x00\"<>" }, nil,
			top + "Received: from a???X:??b?????? ([203.0.113.9])\r\n" +
				"\tby mx.example.org with ESMTP id ID\r\n\tfor <bob@example.org>" + end},
	} {
		t.Run(test.name, func(t *testing.T) {
			v, from := stranger(), "x@example.net"
			if test.user != "" {
				v, from = f.user(t, test.user), test.user
			}
			test.set(v)
			got := f.stored(t, v, from, letter, append([]string{"bob@example.org"}, test.to...)...)
			if d := cmp.Diff(test.want+letter, got); d != "" {
				t.Errorf("want -, got +:\n%s", d)
			}
		})
	}
}

// The id in the Received line is that of receipt and trace.
func TestReceiptAndTrace(t *testing.T) {
	f := newFixture(t)
	r, err := f.send(t, stranger(), "x@example.net", letter, "bob@example.org", "alice@example.org")
	if err != nil {
		t.Fatal(err)
	}
	traces := f.traces(t)
	if len(traces) != 1 {
		t.Fatalf("got %d traces, want 1", len(traces))
	}
	got := traces[0]
	if !strings.Contains(f.mails(t, "bob@example.org")[0], " id "+r.ID+";") {
		t.Errorf("the Received line lacks %s", r.ID)
	}
	for i := range got.Recipients {
		if got.Recipients[i].Email == 0 || got.Recipients[i].Account == 0 {
			t.Errorf("got %+v", got.Recipients[i])
		}
		got.Recipients[i].Email, got.Recipients[i].Account = 0, 0
	}
	want := store.Trace{ID: r.ID, Time: got.Time, Door: "smtp", Peer: "203.0.113.9",
		Helo: "client.example.net", From: "x@example.net", MessageID: "<1@example.org>",
		Size: int64(len(letter)), Recipients: []store.TraceRecipient{
			{Address: "bob@example.org", Outcome: "delivered"},
			{Address: "alice@example.org", Outcome: "delivered"}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("want -, got +:\n%s", d)
	}
	if !got.Time.Equal(noon) {
		t.Errorf("got %v, want %v", got.Time, noon)
	}
}

// RFC 6409 section 8: a submission gets what it lacks; a relayed message is
// left alone. The message itself is never touched.
func TestCompletion(t *testing.T) {
	f := newFixture(t)
	const date = "Date: Wed, 04 Mar 2026 12:00:00 +0100\r\n"
	const id = "Message-ID: <ID@mx.example.org>\r\n"
	const author = "From: alice@example.org\r\n"
	for _, test := range []struct{ name, user, body, want string }{
		{"all missing", "alice@example.org", "Subject: x\r\n\r\nHi\r\n", author + date + id},
		{"no date", "alice@example.org", author + "message-id: <1@x>\r\n\r\nHi\r\n", date},
		{"no id", "alice@example.org", "from: alice@example.org\r\nDATE: today\r\n\r\nHi\r\n", id},
		{"no author", "alice@example.org", "message-id: <1@x>\r\nDate: today\r\n\r\nHi\r\n", author},
		{"an author behind a byte order mark", "alice@example.org",
			"\ufeffFrom: bob@example.org\r\nmessage-id: <1@x>\r\nDate: today\r\n\r\n", author},
		{"nothing missing", "alice@example.org", letter, ""},
		{"no header at all", "alice@example.org", "\r\nHi\r\n", author + date + id},
		{"empty message", "alice@example.org", "", author + date + id},
		{"stranger", "", "Subject: x\r\n\r\nHi\r\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			v, from := stranger(), ""
			if test.user != "" {
				v, from = f.user(t, test.user), test.user
			}
			got := f.stored(t, v, from, test.body, "bob@example.org")
			_, after, _ := strings.Cut(got, "+0100\r\n")
			if want := test.want + test.body; after != want {
				t.Errorf("got %q, want %q", after, want)
			}
		})
	}
}

// What the sender wrote is kept bit for bit, in memory and on disk.
func TestBytesUntouched(t *testing.T) {
	f := newFixture(t)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, body := range []string{letter, "no line end", "\r\n", ".\r\n..\r\n",
		"bare \n and \r\r\n", "X: \xff\x00\r\n\r\n" + string(every),
		letter + strings.Repeat(string(every), 400)} {
		got := f.stored(t, stranger(), "x@example.net", body, "bob@example.org")
		if !strings.HasSuffix(got, "+0100\r\n"+body) {
			t.Errorf("%d bytes of %.20q came out otherwise: %d bytes", len(body), body, len(got))
		}
	}
}

// The prefix stays within what the store takes, whatever anybody says.
func TestPrefixLimit(t *testing.T) {
	f, s := newTrapped(t)
	long := strings.Repeat("ü", 5000)
	v := f.user(t, "alice@example.org")
	v.Helo, v.TLS = long, &tls.ConnectionState{Version: 0xffff, CipherSuite: 0xffff}
	tx, err := f.From(t.Context(), v, mail.Address{}, mail.MailParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Abort()
	if err := tx.Rcpt(t.Context(), addr("bob@example.org"), mail.RcptParams{}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	prefix := s.delivered.Targets[0].Prefix
	if len(prefix) > store.MaxPrefix {
		t.Errorf("got %d bytes, want %d at most", len(prefix), store.MaxPrefix)
	}
	for line := range strings.SplitSeq(string(prefix), "\r\n") {
		if len(line) > 998 { // RFC 5322 section 2.1.1
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}

func TestSizeLimit(t *testing.T) {
	f := newFixture(t)
	f.limits.Size = 100
	tx, err := f.From(t.Context(), stranger(), mail.Address{}, mail.MailParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Abort()
	if err := tx.Rcpt(t.Context(), addr("bob@example.org"), mail.RcptParams{}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	const want = "552 5.3.4 the message is larger than 100 bytes"
	if n, err := tx.Write(make([]byte, 100)); n != 100 || err != nil {
		t.Errorf("at the limit: got %d, %v", n, err)
	}
	for range 2 {
		if n, err := tx.Write([]byte("x")); n != 0 || said(err) != want {
			t.Errorf("above the limit: got %d, %v, want %s", n, err, want)
		}
	}
	if _, err := tx.Commit(t.Context()); said(err) != want {
		t.Errorf("at the end: got %v, want %s", err, want)
	}
	traces := f.traces(t)
	if len(traces) != 1 || traces[0].Recipients[0].Outcome != "refused" ||
		!strings.Contains(traces[0].Recipients[0].Reason, "larger than") {
		t.Errorf("got %+v", traces)
	}
	if log := f.close(); !strings.Contains(log, "message refused") ||
		!strings.Contains(log, "code=552") {
		t.Errorf("got the log\n%s", log)
	}
	if got := f.mails(t, "bob@example.org"); len(got) != 0 {
		t.Errorf("got %d messages, want none", len(got))
	}
}

// RFC 5321 section 6.3
func TestHops(t *testing.T) {
	f := newFixture(t)
	const want = "554 5.4.6 the message has passed more than 3 servers: a loop"
	const hop = "received: from a\r\n by b;\r\n Wed, 4 Mar 2026 11:00:00 +0000\r\n"
	if _, err := f.send(t, stranger(), "", strings.Repeat(hop, 3)+letter,
		"bob@example.org"); err != nil {
		t.Errorf("three hops: got %v", err)
	}
	_, err := f.send(t, stranger(), "", strings.Repeat(hop, 4)+letter, "bob@example.org")
	if got := said(err); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	f.limits.Hops = 0
	if _, err := f.send(t, stranger(), "", strings.Repeat(hop, 60)+letter,
		"bob@example.org"); err != nil {
		t.Errorf("without a limit: got %v", err)
	}
}

func TestNoRecipient(t *testing.T) {
	f := newFixture(t)
	_, err := f.send(t, stranger(), "", letter)
	if got, want := said(err), "554 5.5.1 no valid recipients"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	tx, err := f.From(t.Context(), stranger(), mail.Address{}, mail.MailParams{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err == nil {
		t.Error("a message that was never opened is taken")
	}
	tx.Abort()
}

// LMTP answers for each recipient (RFC 2033 section 4.2); a door with one
// answer takes the message only if everybody has room for it.
func TestReplies(t *testing.T) {
	const taken, full = "250 2.1.5 delivered", "452 4.2.2 the mailbox is full"
	big := letter + strings.Repeat("x", 998) + "\r\n"
	for _, test := range []struct {
		name, door string
		to         []string
		want       []string // the only one: the error of Commit
	}{
		{"LMTP, one full", "lmtp", []string{"small@example.org", "bob@example.org",
			"SMALL@example.org"}, []string{full, taken, full}},
		{"LMTP, all full", "lmtp", []string{"small@example.org"}, []string{full}},
		{"SMTP, one full among several", "smtp", []string{"bob@example.org", "small@example.org"},
			[]string{"452 4.2.2 the mailbox of small@example.org is full"}},
		{"SMTP, no grace for one", "smtp", []string{"small@example.org"}, []string{full}},
		{"SMTP, no grace for one named twice", "smtp",
			[]string{"small@example.org", "small@example.org"}, []string{full}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			v := stranger()
			v.Door = test.door
			before := len(f.mails(t, "bob@example.org"))
			r, err := f.send(t, v, "x@example.net", big, test.to...)
			if n := len(f.mails(t, "bob@example.org")); err != nil && n != before {
				t.Errorf("bob got %d messages of one that was refused", n-before)
			}
			var got []string
			if err != nil {
				got = []string{said(err)}
			} else {
				for _, reply := range r.Recipients {
					got = append(got, reply.Error())
				}
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Errorf("want -, got +:\n%s", d)
			}
		})
	}
}

// What the store says of one target, as the peer hears it.
func TestOutcomes(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{nil, "250 2.1.5 delivered"},
		{mail.Errorf(mail.OverQuota, "x"), "452 4.2.2 the mailbox is full"},
		{mail.Errorf(mail.Denied, "x"), "550 5.2.1 the mailbox is disabled"},
		{mail.Errorf(mail.NotFound, "x"), "550 5.1.1 no such user here"},
		{mail.Errorf(mail.Full, "x"), "452 4.3.1 not enough room now, try again later"},
		{mail.Errorf(mail.Temporary, "x"), "451 4.3.0 temporary trouble, try again later"},
		{fmt.Errorf("wrapped: %w", mail.Errorf(mail.Full, "x")),
			"452 4.3.1 not enough room now, try again later"},
		{errors.New("secret path"), "451 4.3.0 temporary trouble, try again later"},
	} {
		if got := replyTo(test.err).Error(); got != test.want {
			t.Errorf("%v: got %s, want %s", test.err, got, test.want)
		}
	}
}

// A temporary refusal is stronger: the peer tries again, and who is gone is
// told then.
func TestNobodyGotIt(t *testing.T) {
	f, s := newTrapped(t)
	s.results = func(r []store.Result) []store.Result {
		return []store.Result{{Err: mail.Errorf(mail.NotFound, "x")},
			{Err: mail.Errorf(mail.Temporary, "x")}, {Err: mail.Errorf(mail.Denied, "x")}}[:len(r)]
	}
	_, err := f.send(t, stranger(), "", letter, "bob@example.org", "alice@example.org",
		"carol@example.org")
	if got, want := said(err), "451 4.3.0 temporary trouble, try again later"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := len(f.traces(t)); got != 1 {
		t.Errorf("got %d traces, want 1", got)
	}
}

// A message that was judged delivered, in a batch that could not be written,
// was not.
func TestDeliveryTakenBack(t *testing.T) {
	f, s := newTrapped(t)
	s.lost = mail.Errorf(mail.Temporary, "flush failed")
	_, err := f.send(t, stranger(), "", letter, "bob@example.org")
	if got, want := said(err), "451 4.3.0 temporary trouble, try again later"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, tr := range f.traces(t) {
		if r := tr.Recipients[0]; r.Outcome == "deferred" && r.Email == 0 && tr.MessageID != "" {
			return
		}
	}
	t.Errorf("no trace tells that it was deferred: %+v", f.traces(t))
}

// A badDraft is one that fails.
type badDraft struct {
	blob.Draft
	write, finish, read error
}

func (d *badDraft) Write(p []byte) (int, error) {
	if d.write != nil {
		return 0, d.write
	}
	return d.Draft.Write(p)
}

func (d *badDraft) Finish(ctx context.Context) error {
	if d.finish != nil {
		return d.finish
	}
	return d.Draft.Finish(ctx)
}

func (d *badDraft) Bytes() []byte {
	if d.read != nil {
		return nil
	}
	return d.Draft.Bytes()
}

func (d *badDraft) ReadAt(p []byte, off int64) (int, error) {
	if d.read != nil {
		return 0, d.read
	}
	return d.Draft.ReadAt(p, off)
}

// badDrafts hands out one bad draft after the other.
type badDrafts struct {
	blob.Store
	draft badDraft
}

func (b *badDrafts) NewDraft(ctx context.Context, group int) (blob.Draft, error) {
	d := b.draft
	var err error
	d.Draft, err = b.Store.NewDraft(ctx, group)
	return &d, err
}

// Trouble of the disk or the database is told as such: a full one with 452,
// everything else with 451, the cause to the log alone; and nothing stays.
func TestTrouble(t *testing.T) {
	const later = "451 4.3.0 temporary trouble, try again later"
	const noRoom = "452 4.3.1 not enough room now, try again later"
	broken, full := errors.New("disk on fire"), mail.Errorf(mail.Full, "disk full")
	drafts := func(d badDraft) func(*trap) {
		return func(s *trap) { s.blobs = &badDrafts{blobtest.NewFake(2), d} }
	}
	for _, test := range []struct {
		name, want string
		set        func(*trap)
		logged     bool // a message was there, so it leaves record and trace
	}{
		{"no memory", noRoom, func(s *trap) { s.draft = full }, false},
		{"no draft", later, func(s *trap) { s.draft = broken }, false},
		{"write", later, drafts(badDraft{write: broken}), true},
		{"disk full while writing", noRoom, drafts(badDraft{write: full}), true},
		{"finish", later, drafts(badDraft{finish: broken}), true},
		{"disk full at the end", noRoom, drafts(badDraft{finish: full}), true},
		{"reading back", later, drafts(badDraft{read: broken}), true},
		{"database", later, func(s *trap) { s.deliver = broken }, true},
		{"database full", noRoom, func(s *trap) { s.deliver = full }, true},
		{"database busy", later,
			func(s *trap) { s.deliver = mail.Errorf(mail.Temporary, "disk on fire") }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, s := newTrapped(t)
			test.set(s)
			_, err := f.send(t, stranger(), "x@example.net", letter, "bob@example.org")
			if got := said(err); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if !test.logged {
				return
			}
			traces := f.traces(t)
			if len(traces) != 1 || traces[0].Recipients[0].Outcome != "deferred" {
				t.Errorf("got traces %+v", traces)
			}
			if log := f.close(); !strings.Contains(log, "error=\"disk ") {
				t.Errorf("the cause is not in the log:\n%s", log)
			}
			if got := f.mails(t, "bob@example.org"); len(got) != 0 {
				t.Errorf("got %d messages, want none", len(got))
			}
		})
	}
}

// A new body goes where the first recipient's account is bound to.
func TestVolumeOfAccount(t *testing.T) {
	f := newFixture(t)
	if _, err := f.send(t, stranger(), "", letter, "far@example.org"); err != nil {
		t.Fatal(err)
	}
	for _, v := range f.store.Blobs().Volumes() {
		if v.Group == 1 && v.Size > 0 {
			return
		}
	}
	t.Error("the second directory holds nothing")
}

// Transaction ids rise and carry the time.
func TestIDs(t *testing.T) {
	now := noon
	h := New(Config{Now: func() time.Time { return now }})
	last := ""
	for i := range 1000 {
		if i == 500 {
			now = now.Add(-time.Hour) // a clock that is set back
		}
		id := h.nextID()
		if id <= last {
			t.Fatalf("got %s after %s", id, last)
		}
		last = id
	}
}

// A refusal of the door's own leaves a record and a trace, once.
func TestRefuse(t *testing.T) {
	f := newFixture(t)
	tx, err := f.From(t.Context(), stranger(), addr("x@example.net"), mail.MailParams{})
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"bob@example.org", "alice@example.org"} {
		if err := tx.Rcpt(t.Context(), addr(to), mail.RcptParams{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Write([]byte(letter)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		tx.Refuse(t.Context(), mail.NewReply(554, "5.6.0", "bare LF"))
	}
	tx.Abort()
	traces := f.traces(t)
	if len(traces) != 1 || len(traces[0].Recipients) != 2 || traces[0].From != "x@example.net" {
		t.Fatalf("got %+v, want one trace with two recipients", traces)
	}
	for _, r := range traces[0].Recipients {
		if r.Outcome != "refused" || r.Reason != "bare LF" {
			t.Errorf("got %+v", r)
		}
	}
	if got := f.mails(t, "bob@example.org"); len(got) > 0 {
		t.Errorf("got %q delivered", got)
	}
	log := f.close()
	if n := strings.Count(log, " 1 intake message refused "); n != 1 ||
		!strings.Contains(log, "code=554 reason=\"bare LF\"") {
		t.Errorf("got %d records: %s", n, log)
	}
}
