package intake

import (
	"errors"
	"strings"
	"testing"

	"postrider/internal/mail"
)

func TestSender(t *testing.T) {
	f := newFixture(t)
	alice := func() *Visitor { return f.user(t, "alice@example.org") }
	nobody := stranger()
	nobody.Door = "submission"
	for _, test := range []struct {
		name    string
		visitor *Visitor
		from    mail.Address
		size    int64
		want    string
	}{
		{"stranger", stranger(), addr("x@example.net"), 0, "ok"},
		{"stranger with a local address", stranger(), addr("alice@example.org"), 0, "ok"},
		{"null path", stranger(), mail.Address{}, 0, "ok"},
		{"unqualified", stranger(), mail.Address{Local: "alice"}, 0,
			"553 5.1.7 the sender's address needs a domain"},
		{"announced too large", stranger(), addr("x@example.net"), 200<<10 + 1,
			"552 5.3.4 the message is larger than 204800 bytes"},
		{"announced at the limit", stranger(), addr("x@example.net"), 200 << 10, "ok"},
		{"submission without login", nobody, addr("x@example.net"), 0,
			"530 5.7.0 authentication required"},
		{"own address", alice(), addr("alice@example.org"), 0, "ok"},
		{"own address in capitals", alice(), addr("ALICE@example.org"), 0, "ok"},
		{"user with the null path", alice(), mail.Address{}, 0, "ok"},
		{"user with the address of another", alice(), addr("bob@example.org"), 0,
			"553 5.7.1 alice@example.org may not send as bob@example.org"},
		{"user in another domain", alice(), addr("alice@example.com"), 0,
			"553 5.7.1 alice@example.org may not send as alice@example.com"},
		{"user with an extension", alice(), addr("alice+x@example.org"), 0,
			"553 5.7.1 alice@example.org may not send as alice+x@example.org"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tx, err := f.From(t.Context(), test.visitor, test.from, mail.MailParams{Size: test.size})
			if got := said(err); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if tx != nil {
				tx.Abort()
			}
		})
	}
}

// A login ends with its account's rights, between two messages of one
// session too.
func TestLoginEnds(t *testing.T) {
	const gone = "530 5.7.0 the login is no longer valid, authenticate again"
	f := newFixture(t)
	for _, test := range []struct {
		name   string
		change func(t *testing.T)
		want   string
	}{
		{"nothing changed", func(*testing.T) {}, "ok"},
		{"full name changed", func(t *testing.T) {
			a := *f.account(t, "alice@example.org")
			a.FullName = "Alice"
			f.write(t, a)
		}, "ok"},
		{"password changed", func(t *testing.T) {
			a := *f.account(t, "alice@example.org")
			a.Version++
			f.write(t, a)
		}, gone},
		{"login taken", func(t *testing.T) {
			a := *f.account(t, "alice@example.org")
			a.Login = false
			f.write(t, a)
		}, gone},
		{"disabled", func(t *testing.T) {
			a := *f.account(t, "alice@example.org")
			a.Enabled, a.Login = false, true
			f.write(t, a)
		}, gone},
		{"made again under the same address", func(t *testing.T) {
			a := f.account(t, "alice@example.org")
			f.remove(t, a)
			again := *a
			again.ID, again.Enabled = 0, true
			f.write(t, again)
		}, gone},
		{"removed", func(t *testing.T) {
			f.remove(t, f.account(t, "alice@example.org"))
		}, gone},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := f.user(t, "alice@example.org")
			test.change(t)
			_, err := f.From(t.Context(), v, addr("alice@example.org"), mail.MailParams{})
			if got := said(err); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// TestLoginEndsWithin proves the same for a transaction that is under way.
func TestLoginEndsWithin(t *testing.T) {
	const gone = "530 5.7.0 the login is no longer valid, authenticate again"
	f := newFixture(t)
	tx := f.begin(t, f.user(t, "alice@example.org"), mail.RcptParams{}, "bob@example.org")
	a := *f.account(t, "alice@example.org")
	a.Enabled = false
	f.write(t, a)
	if got := said(tx.Rcpt(t.Context(), addr("carol@example.org"), mail.RcptParams{})); got != gone {
		t.Errorf("RCPT: got %s, want %s", got, gone)
	}
	_, err := tx.Commit(t.Context())
	if got := said(err); got != gone {
		t.Errorf("the message: got %s, want %s", got, gone)
	}
	if n := len(f.mails(t, "bob@example.org")); n != 0 {
		t.Errorf("got %d messages, want none", n)
	}
}

func TestSenderTrouble(t *testing.T) {
	f, s := newTrapped(t)
	v := f.user(t, "alice@example.org")
	s.account = errors.New("disk on fire")
	_, err := f.From(t.Context(), v, addr("alice@example.org"), mail.MailParams{})
	if got, want := said(err), "451 4.3.0 temporary trouble, try again later"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if log := f.close(); !strings.Contains(log, "disk on fire") {
		t.Errorf("the cause is not in the log:\n%s", log)
	}
}

// The author's fields of who is logged in must be their own.
func TestAuthor(t *testing.T) {
	f := newFixture(t)
	const refused = "550 5.7.1 alice@example.org may not write as bob@example.org (the From field)"
	for _, test := range []struct{ name, header, want string }{
		{"own", "From: alice@example.org\r\n", "ok"},
		{"own with a name", "From: \"bob@example.org\" <Alice@EXAMPLE.org>\r\n", "ok"},
		{"none", "Subject: x\r\n", "ok"},
		{"another's", "From: bob@example.org\r\n", refused},
		{"another's after the own", "From: alice@example.org, bob@example.org\r\n", refused},
		{"a second field", "From: alice@example.org\r\nX: y\r\nfrom:bob@example.org\r\n", refused},
		{"folded", "From: Bob\r\n <bob@example.org>\r\n", refused},
		{"an empty field", "From:\r\n", "550 5.7.1 the From field names nobody, not alice@example.org"},
		{"an empty group", "From: us:;\r\n",
			"550 5.7.1 the From field names nobody, not alice@example.org"},
		{"own in the others", "Sender: alice@example.org\r\nResent-From: ALICE@example.org\r\n" +
			"From: alice@example.org\r\nResent-Sender: Alice <alice@example.org>\r\n", "ok"},
		{"another's Sender", "From: alice@example.org\r\nSender: bob@example.org\r\n",
			strings.Replace(refused, "From", "Sender", 1)},
		{"another's Resent-From", "From: alice@example.org\r\nresent-from: bob@example.org\r\n",
			strings.Replace(refused, "From", "Resent-From", 1)},
		{"another's Resent-Sender", "From: alice@example.org\r\nResent-Sender: bob@example.org\r\n",
			strings.Replace(refused, "From", "Resent-Sender", 1)},
		{"another's Sender and no From", "Sender: bob@example.org\r\n",
			strings.Replace(refused, "From", "Sender", 1)},
		{"in a group", "From: us: bob@example.org;\r\n", refused},
		{"after a header too large", strings.Repeat("X: "+strings.Repeat("y", 70)+"\r\n", 1100) +
			"From: bob@example.org\r\n", "554 5.6.0 the header is too large"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := f.send(t, f.user(t, "alice@example.org"), "alice@example.org",
				test.header+"\r\nHello.\r\n", "carol@example.org")
			if got := said(err); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	if _, err := f.send(t, stranger(), "x@example.net", "From: bob@example.org\r\n\r\nHi\r\n",
		"carol@example.org"); err != nil {
		t.Errorf("a stranger's From field is not judged here: got %v", err)
	}
}
