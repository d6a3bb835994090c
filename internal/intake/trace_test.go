package intake

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// begin opens a transaction for these recipients, whether they are taken or
// not, and goes on until the message could be written.
func (f *fixture) begin(t *testing.T, v *Visitor, p mail.RcptParams, to ...string) Transaction {
	t.Helper()
	tx, err := f.From(t.Context(), v, mail.Address{}, mail.MailParams{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tx.Abort)
	for _, a := range to {
		tx.Rcpt(t.Context(), addr(a), p)
	}
	if err := tx.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return tx
}

// TestTraceIsBounded proves that a trace has one entry for each account, so
// many at most, and counts the others.
func TestTraceIsBounded(t *testing.T) {
	f := newFixture(t)
	f.limits.Recipients = 2000
	var accounts []store.Account
	var all []string
	for i := range 150 {
		a := mail.Address{Local: fmt.Sprint("u", i), Domain: "example.org"}
		accounts = append(accounts, store.Account{Address: a, Enabled: true})
		all = append(all, a.String())
	}
	f.write(t, accounts...)
	p := mail.RcptParams{Original: "rfc822;" + strings.Repeat("<", 490)}
	var nobody []string
	for i := range 30 {
		nobody = append(nobody, fmt.Sprintf("nobody%d@example.org", i))
	}
	for _, test := range []struct {
		name       string
		to         []string
		told, more int
	}{
		{"one account very often", strings.Fields(strings.Repeat("bob@example.org ", 1000)), 1, 0},
		{"many accounts", all, -1, 150},
		{"many refused", append([]string{"bob@example.org"}, nobody...), 21, 10},
	} {
		for _, refuse := range []bool{false, true} {
			t.Run(fmt.Sprint(test.name, " ", refuse), func(t *testing.T) {
				tx := f.begin(t, stranger(), p, test.to...)
				if refuse {
					tx.Refuse(t.Context(), mail.NewReply(554, "5.6.0", "a bare LF"))
				} else if _, err := tx.Commit(t.Context()); err != nil {
					t.Fatal(err)
				}
				got := f.traces(t)[0]
				if test.told < 0 { // as many as there is room for
					if n := len(got.Recipients); n < 20 || n > maxTold || n+got.More != test.more {
						t.Errorf("%d are told of and %d more", n, got.More)
					}
				} else if len(got.Recipients) != test.told || got.More != test.more {
					t.Errorf("%d are told of and %d more, want %d and %d", len(got.Recipients), got.More,
						test.told, test.more)
				}
				for _, r := range got.Recipients {
					if r.Outcome == "" || !refuse && r.Account != 0 && r.Outcome != "delivered" {
						t.Errorf("got %+v", r)
					}
				}
			})
		}
	}
}

// TestTracesOfRefusals proves that one source cannot fill the disk with the
// traces of what it was refused: they are limited as the records in the log.
func TestTracesOfRefusals(t *testing.T) {
	f := newFixture(t)
	for name, refuse := range map[string]func(v *Visitor){
		"return paths": func(v *Visitor) {
			f.From(t.Context(), v, addr("nodomain"), mail.MailParams{})
		},
		"recipients": func(v *Visitor) {
			f.begin(t, v, mail.RcptParams{}, "nobody@example.org").Abort()
		},
		"messages": func(v *Visitor) {
			f.begin(t, v, mail.RcptParams{}, "bob@example.org").Refuse(t.Context(),
				mail.NewReply(554, "5.6.0", "a bare LF"))
		},
		"messages at their end": func(v *Visitor) {
			f.begin(t, v, mail.RcptParams{}).Commit(t.Context())
		},
	} {
		v := stranger()
		v.Door = name
		v.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(len(name))}), 25)
		for range 50 {
			refuse(v)
		}
	}
	traces := map[string]int{}
	for _, tr := range f.traces(t) {
		traces[tr.Door]++
	}
	for name, n := range traces {
		if n != 10 {
			t.Errorf("%d traces of %s, want as many as records: 10", n, name)
		}
	}
	if len(traces) != 4 {
		t.Errorf("got %v", traces)
	}
}
