package intake

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/wire/smtp"
)

// path reads what a client writes after RCPT TO:.
func path(t interface{ Fatalf(string, ...any) }, s string) mail.Address {
	a, rest, refusal := smtp.ParsePath([]byte(s))
	if refusal != nil || len(rest) > 0 {
		t.Fatalf("%s is no path: %v, rest %q", s, refusal, rest)
	}
	return a
}

// The visitor of these tests came to 192.0.2.1. Facts T12: what counts is
// the final address.
func TestRecipient(t *testing.T) {
	const (
		route   = "550 5.7.1 relaying denied: routes in addresses lead nowhere"
		unknown = "550 5.1.1 no such user here: "
	)
	denied := func(domain string) string {
		return "550 5.7.1 relaying denied: " + domain + " is not served here"
	}
	f := newFixture(t)
	for _, test := range []struct{ name, path, want string }{
		{"local", "<bob@example.org>", "ok"},
		{"capitals", "<BOB@EXAMPLE.ORG>", "ok"},
		{"quoted", `<"bob"@example.org>`, "ok"},
		{"unknown", "<nobody@example.org>", unknown + "nobody@example.org"},
		{"of another domain of ours", "<bob@example.com>", unknown + "bob@example.com"},
		{"sub-domain", "<bob@mx.example.org>", denied("mx.example.org")},
		{"disabled", "<disabled@example.org>",
			"550 5.2.1 the mailbox of disabled@example.org is disabled"},
		{"foreign", "<victim@example.net>", denied("example.net")},
		{"UTF-8 domain", "<erin@bücher.example>", "ok"},
		{"UTF-8 domain, capitals", "<erin@BÜCHER.example>", "ok"},
		{"UTF-8 domain in ASCII", "<erin@xn--bcher-kva.example>", "ok"},
		{"UTF-8 local part", "<érin@bücher.example>", unknown + "érin@bücher.example"},
		{"foreign UTF-8 domain", "<erin@küche.example>", denied("küche.example")},

		{"postmaster alone", "<Postmaster>", "ok"},
		{"postmaster of a domain", "<POSTMASTER@example.org>", "ok"},
		{"postmaster where there is none", "<PostMaster@example.com>", "ok"},

		{"percent at a domain of ours", "<victim%example.net@example.org>", route},
		{"percent that leads back", "<bob%example.org@example.org>", route},
		{"percent at another", "<bob%example.org@example.net>", denied("example.net")},
		{"percent at our own address", "<user%victim@[192.0.2.1]>", route},
		{"address in quotes", `<"user@victim"@example.org>`, route},
		{"own address in quotes", `<"bob@example.org"@example.org>`, route},
		{"quoted percent", `<"victim%example.net"@example.org>`, route},
		{"bang at a domain of ours", "<example.net!victim@example.org>", route},
		{"bang at another", "<example.org!bob@example.net>", denied("example.net")},
		{"source route by us to another", "<@example.org:victim@example.net>", denied("example.net")},
		{"source route by another to us", "<@example.net:bob@example.org>", "ok"},
		{"source route with percent", "<@example.org:victim%example.net@example.org>", route},
		{"source route in quotes", `<"@example.org:user@victim"@example.org>`, route},

		{"own IP address", "<bob@[192.0.2.1]>", "ok"},
		{"own IP address without brackets", "<bob@192.0.2.1>", "ok"},
		{"unknown at own IP address", "<nobody@[192.0.2.1]>", unknown + "nobody@[192.0.2.1]"},
		{"postmaster at own IP address", "<postmaster@[192.0.2.1]>", "ok"},
		{"other IP address", "<bob@[192.0.2.2]>", denied("[192.0.2.2]")},
		{"other IP address without brackets", "<bob@192.0.2.2>", denied("[192.0.2.2]")},
		{"an address that is set as own", "<bob@[198.51.100.7]>", "ok"},
		{"an address that is set as own, without brackets", "<bob@198.51.100.7>", "ok"},
		{"an IPv6 address that is set as own", "<postmaster@[IPv6:2001:db8::7]>", "ok"},
		{"loopback", "<bob@[127.0.0.1]>", "ok"},
		{"all of loopback", "<bob@[127.8.9.10]>", "ok"},
		{"unspecified", "<bob@[0.0.0.0]>", "ok"},
		{"IPv6 loopback", "<bob@[IPv6:::1]>", "ok"},
		{"other IPv6 address", "<bob@[IPv6:2001:db8::1]>", denied("[ipv6:2001:db8::1]")},
		{"own IPv4 address as IPv6", "<bob@[IPv6:::ffff:192.0.2.1]>", "ok"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tx, err := f.From(t.Context(), stranger(), addr("x@example.net"), mail.MailParams{})
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Abort()
			err = tx.Rcpt(t.Context(), path(t, test.path), mail.RcptParams{})
			if got := said(err); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// At a Unix socket or behind IPv6 the own addresses are others.
func TestOwnAddress(t *testing.T) {
	f := newFixture(t)
	for _, test := range []struct {
		local, path string
		want        bool
	}{
		{"", "<bob@[192.0.2.1]>", false},
		{"", "<bob@[127.0.0.1]>", true},
		{"[2001:db8::1]:25", "<bob@[IPv6:2001:db8::1]>", true},
		{"[2001:db8::1]:25", "<bob@[192.0.2.1]>", false},
		{"[::ffff:192.0.2.1]:25", "<bob@[192.0.2.1]>", true},
	} {
		v := stranger()
		v.Local, _ = netip.ParseAddrPort(test.local)
		tx, err := f.From(t.Context(), v, mail.Address{}, mail.MailParams{})
		if err != nil {
			t.Fatal(err)
		}
		err = tx.Rcpt(t.Context(), path(t, test.path), mail.RcptParams{})
		if got := err == nil; got != test.want {
			t.Errorf("%s at %q: got %v, want %v", test.path, test.local, err, test.want)
		}
		tx.Abort()
	}
}

// One who has logged in is told that other domains have to wait.
func TestRecipientOfUser(t *testing.T) {
	f := newFixture(t)
	tx, err := f.From(t.Context(), f.user(t, "alice@example.org"), addr("alice@example.org"),
		mail.MailParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Abort()
	err = tx.Rcpt(t.Context(), addr("friend@example.net"), mail.RcptParams{})
	want := "550 5.3.3 this server does not send to other domains yet, only to local recipients"
	if got := said(err); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRecipientQuota(t *testing.T) {
	f := newFixture(t)
	const full = "452 4.2.2 the mailbox is full"
	rcpt := func(size int64) string {
		tx, err := f.From(t.Context(), stranger(), mail.Address{}, mail.MailParams{Size: size})
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Abort()
		return said(tx.Rcpt(t.Context(), addr("small@example.org"), mail.RcptParams{}))
	}
	for _, test := range []struct {
		size int64
		want string
	}{{0, "ok"}, {1000, "ok"}, {1001, full}} {
		if got := rcpt(test.size); got != test.want {
			t.Errorf("empty mailbox, SIZE=%d: got %s, want %s", test.size, got, test.want)
		}
	}
	// Without SIZE it is known at the end only.
	_, err := f.send(t, stranger(), "", strings.Repeat("x", 998)+"\r\n", "small@example.org")
	if got := said(err); got != full {
		t.Errorf("too large: got %s, want %s", got, full)
	}
	for len(f.mails(t, "small@example.org")) < 2 {
		if _, err := f.send(t, stranger(), "", letter, "small@example.org"); err != nil {
			if got := said(err); got != full {
				t.Errorf("got %s, want %s", got, full)
			}
			break
		}
	}
	if got := rcpt(900); got != full {
		t.Errorf("mailbox with mail, SIZE=900: got %s, want %s", got, full)
	}
}

func TestRecipientLimit(t *testing.T) {
	f := newFixture(t)
	f.limits.Recipients = 2
	_, err := f.send(t, stranger(), "", letter, "bob@example.org", "bob@example.org",
		"alice@example.org")
	if got, want := said(err), "452 4.5.3 no more than 2 recipients"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A mailbox that is named twice gets the message once, and two replies.
func TestSameRecipients(t *testing.T) {
	f := newFixture(t)
	f.limits.Recipients = 200
	var to []string
	for range 50 {
		to = append(to, "bob@example.org", "BOB@Example.Org", "bob@[192.0.2.1]", "alice@example.org")
	}
	r, err := f.send(t, stranger(), "x@example.net", letter, to...)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(r.Recipients); got != len(to) {
		t.Errorf("got %d replies, want %d", got, len(to))
	}
	for _, a := range []string{"bob@example.org", "alice@example.org"} {
		if got := len(f.mails(t, a)); got != 1 {
			t.Errorf("%s: got %d messages, want 1", a, got)
		}
	}
}

// Many different recipients are told apart as well as few.
func TestManyRecipients(t *testing.T) {
	f := newFixture(t)
	f.limits.Recipients = 0
	const many = 150 // more than the store delivers to in one step
	tx, err := f.From(t.Context(), stranger(), mail.Address{}, mail.MailParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Abort()
	var accounts []store.Account
	for i := range many {
		accounts = append(accounts, store.Account{Enabled: true,
			Address: addr(fmt.Sprintf("u%d@example.com", i))})
	}
	f.write(t, accounts...)
	for range 2 {
		for _, a := range accounts {
			if err := tx.Rcpt(t.Context(), a.Address, mail.RcptParams{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, r := range tx.(*transaction).recipients {
		if r.same != i%many {
			t.Fatalf("recipient %d is the same as %d, want %d", i, r.same, i%many)
		}
	}
	if err := tx.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	io.WriteString(tx, letter)
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, r := range f.traces(t)[0].Recipients {
		if r.Outcome != "delivered" || r.Email == 0 {
			t.Fatalf("recipient %d of the trace: got %+v", i, r)
		}
	}
}

func TestRecipientTrouble(t *testing.T) {
	const later = "451 4.3.0 temporary trouble, try again later"
	broken := errors.New("disk on fire")
	full := mail.Errorf(mail.Full, "no space")
	for _, test := range []struct {
		name, to, want string
		set            func(*trap)
	}{
		{"domains", "bob@example.org", later, func(s *trap) { s.local = broken }},
		{"account", "bob@example.org", later, func(s *trap) { s.account = broken }},
		{"main domain", "bob@[192.0.2.1]", later, func(s *trap) { s.main = broken }},
		{"usage", "small@example.org", later, func(s *trap) { s.usage = broken }},
		{"room", "bob@example.org", "452 4.3.1 not enough room now, try again later",
			func(s *trap) { s.account = full }},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, s := newTrapped(t)
			test.set(s)
			_, err := f.send(t, stranger(), "", letter, test.to)
			if got := said(err); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// Every refusal has its record of level 1; one source cannot flood the log;
// and a transaction that nobody was accepted for has a trace if it has a record.
func TestRefusalsAreTold(t *testing.T) {
	f := newFixture(t)
	for range 50 {
		f.send(t, stranger(), "spam@example.net", letter, "victim@example.net")
	}
	other := stranger()
	other.Remote = netip.MustParseAddrPort("203.0.113.77:1")
	f.send(t, other, "spam@example.net", letter, "victim2@example.net")
	f.send(t, f.user(t, "alice@example.org"), "bob@example.org", letter, "bob@example.org")
	traces := f.traces(t)
	if len(traces) != 12 { // as many as records
		t.Fatalf("got %d traces, want 12", len(traces))
	}
	sender, rcpt := traces[0], traces[1]
	if sender.From != "bob@example.org" || sender.User != "alice@example.org" ||
		sender.Recipients[0].Outcome != "refused" ||
		!strings.Contains(sender.Recipients[0].Reason, "may not send as") {
		t.Errorf("got %+v", sender)
	}
	if len(rcpt.Recipients) != 1 || rcpt.Recipients[0].Address != "victim2@example.net" ||
		rcpt.Recipients[0].Outcome != "refused" || rcpt.Peer != "203.0.113.77" {
		t.Errorf("got %+v", rcpt)
	}
	log := f.close()
	if got := strings.Count(log, "victim@example.net"); got != 10 {
		t.Errorf("got %d records of one source, want 10:\n%s", got, log)
	}
	for _, want := range []string{"victim2@example.net", "recipient refused", "return path refused",
		"count=40", "203.0.113.9", "session=s-1"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
}

// The refusals of one transaction in its trace are bounded.
func TestRefusalsInTrace(t *testing.T) {
	f := newFixture(t)
	tx, err := f.From(t.Context(), stranger(), mail.Address{}, mail.MailParams{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 * maxRefusals {
		tx.Rcpt(t.Context(), addr("victim@example.net"), mail.RcptParams{})
	}
	tx.Abort()
	tx.Abort()
	traces := f.traces(t)
	if len(traces) != 1 || len(traces[0].Recipients) != maxRefusals {
		t.Errorf("got %d traces, first %+v", len(traces), traces)
	}
}

// mayReceive is the rule of relaying, said in another way than the hall
// does: the whole address, or the local part at an address of this machine,
// is that of an account that is enabled.
func (f *fixture) mayReceive(t testing.TB, to mail.Address) bool {
	enabled := map[string]bool{"alice@example.org": true, "bob@example.org": true,
		"carol@example.org": true, "postmaster@example.org": true, "small@example.org": true,
		"far@example.org": true, "erin@xn--bcher-kva.example": true, "erin@bücher.example": true}
	domain := strings.ToLower(to.Domain)
	switch domain {
	case "", "[192.0.2.1]", "192.0.2.1", "[127.0.0.1]", "127.0.0.1", "[0.0.0.0]", "0.0.0.0",
		"[ipv6:::1]", "[ipv6:::ffff:192.0.2.1]", "[198.51.100.7]", "[ipv6:2001:db8::7]":
		domain = "example.org"
	}
	if strings.EqualFold(to.Local, "postmaster") {
		return slices.Contains([]string{"example.org", "example.com", "xn--bcher-kva.example",
			"bücher.example"}, domain)
	}
	return enabled[strings.ToLower(to.Local)+"@"+domain]
}

func (f *fixture) tryRelay(t testing.TB, to mail.Address) {
	t.Helper()
	tx, err := f.From(t.Context(), stranger(), addr("x@example.net"), mail.MailParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Abort()
	err = tx.Rcpt(t.Context(), to, mail.RcptParams{})
	want := f.mayReceive(t, to)
	if got := err == nil; got != want {
		t.Fatalf("%q: got %s, want accepted: %v", to, said(err), want)
	}
	if _, ok := errors.AsType[*mail.Reply](err); err != nil && !ok {
		t.Fatalf("%q: got no reply: %v", to, err)
	}
}

// Whatever a stranger says, only accounts of this server are accepted.
func TestNoRelay(t *testing.T) {
	f := newFixture(t)
	f.Hall.cfg.Log = discard()
	rapid.Check(t, func(t2 *rapid.T) {
		name := rapid.SampledFrom([]string{"alice", "bob", "victim", "postmaster", "disabled", "Erin",
			"", "a b", "x.y", "..", "%", "!"})
		domain := rapid.SampledFrom([]string{"example.org", "example.com", "example.net", "EXAMPLE.org",
			"[192.0.2.1]", "192.0.2.1", "[192.0.2.9]", "192.0.2.9", "[127.0.0.1]", "[IPv6:::1]",
			"[IPv6:2001:db8::1]", "bücher.example", "xn--bcher-kva.example", "org", "localhost", ""})
		sign := rapid.SampledFrom([]string{"%", "!", "@", ":", ",", ".", "+", ""})
		local := name.Draw(t2, "name")
		for range rapid.IntRange(0, 3).Draw(t2, "steps") {
			switch rapid.IntRange(0, 2).Draw(t2, "step") {
			case 0:
				local += sign.Draw(t2, "sign") + domain.Draw(t2, "in")
			case 1:
				local = domain.Draw(t2, "in") + sign.Draw(t2, "sign") + local
			case 2:
				local = `"` + local + `"`
			}
		}
		to := mail.Address{Local: local, Domain: domain.Draw(t2, "domain")}
		f.tryRelay(t, to)
		text := "<" + to.String() + ">"
		if a, rest, refusal := smtp.ParsePath([]byte(text)); refusal == nil && len(rest) == 0 {
			f.tryRelay(t, a)
		}
	})
}

func FuzzRcpt(f *testing.F) {
	for _, s := range []string{"<bob@example.org>", "<user%victim@[192.0.2.1]>",
		`<"user@victim"@example.org>`, "<@example.org:user@victim.net>", "<victim!bob@example.org>",
		"<Postmaster>", "<bob@192.0.2.1>", "<bob@[IPv6:::1]>", "<erin@bücher.example>"} {
		f.Add([]byte(s))
	}
	fx := newFixture(f)
	fx.Hall.cfg.Log = discard()
	f.Fuzz(func(t *testing.T, in []byte) {
		a, _, refusal := smtp.ParsePath(in)
		if refusal != nil || a.IsZero() {
			return
		}
		tx, err := fx.From(t.Context(), stranger(), mail.Address{}, mail.MailParams{})
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Abort()
		if err := tx.Rcpt(t.Context(), a, mail.RcptParams{}); err != nil {
			return
		}
		// Who was accepted must be an enabled account, found by its number.
		got := tx.(*transaction).recipients[0].account
		if !got.Enabled || !strings.EqualFold(got.Address.Local, a.Local) ||
			strings.ContainsAny(a.Local, "@%!") {
			t.Errorf("%q was accepted as %v", in, got)
		}
	})
}
