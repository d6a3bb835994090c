package intake

import (
	"testing"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// TestPostmaster proves that mail for the postmaster of a domain of ours
// always finds somebody, whatever became of the accounts (RFC 5321 section
// 4.5.1).
func TestPostmaster(t *testing.T) {
	f := newFixture(t)
	got := func() string {
		t.Helper()
		var who string
		for _, to := range []string{"Postmaster", "postmaster@example.com", "POSTMASTER@EXAMPLE.COM",
			"postmaster@[192.0.2.1]", "postmaster@127.0.0.1"} {
			a := addr(to)
			if to == "Postmaster" {
				a = mail.Address{Local: to}
			}
			tx, err := f.From(t.Context(), stranger(), mail.Address{}, mail.MailParams{})
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Abort()
			if err := tx.Rcpt(t.Context(), a, mail.RcptParams{}); err != nil {
				return to + ": " + err.Error()
			}
			found := tx.(*transaction).recipients[0].account.Address.String()
			if who != "" && who != found {
				return "several: " + who + ", " + found
			}
			who = found
		}
		return who
	}
	disable := func(address string) {
		a := *f.account(t, address)
		a.Enabled = false
		f.write(t, a)
	}
	check := func(step, want string) {
		t.Helper()
		if got := got(); got != want {
			t.Errorf("%s: got %s, want %s", step, got, want)
		}
	}
	check("that of the main domain", "postmaster@example.org")
	if err := f.store.SetMainDomain(t.Context(), "example.com"); err != nil {
		t.Fatal(err)
	}
	check("another main domain without one", "postmaster@example.org")
	f.write(t, store.Account{Address: addr("postmaster@example.com"), Enabled: true})
	check("its own", "postmaster@example.com")
	disable("postmaster@example.com")
	check("its own is disabled", "postmaster@example.org")
	disable("postmaster@example.org")
	check("all are disabled", "alice@example.org")
	for _, a := range []string{"alice", "bob", "carol", "far", "small"} {
		f.remove(t, f.account(t, a+"@example.org"))
	}
	check("only one account is left", "erin@xn--bcher-kva.example")
	disable("erin@xn--bcher-kva.example")
	check("nobody is left",
		"Postmaster: 550 5.2.1 the mailbox of Postmaster is disabled")
	_, err := f.send(t, stranger(), "", letter, "postmaster2@example.org")
	if said(err) != "550 5.1.1 no such user here: postmaster2@example.org" {
		t.Errorf("another name: got %v", err)
	}
}
