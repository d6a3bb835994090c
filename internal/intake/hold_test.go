package intake

import (
	"io"
	"testing"
	"time"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// Who has logged in may have a message held (RFC 4865); a stranger may not.
func TestHold(t *testing.T) {
	f, s := newTrapped(t)
	const denied = "555 5.5.4 only who has logged in may have a message held"
	for _, test := range []struct {
		name    string
		visitor *Visitor
		until   time.Time
		want    string
		held    bool
	}{
		{"user", f.user(t, "alice@example.org"), noon.Add(time.Hour), "ok", true},
		{"user, for a time that is past", f.user(t, "alice@example.org"), noon.Add(-time.Hour), "ok",
			false},
		{"stranger", stranger(), noon.Add(time.Hour), denied, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := len(f.mails(t, "bob@example.org"))
			tx, err := f.From(t.Context(), test.visitor, addr("alice@example.org"),
				mail.MailParams{HoldUntil: test.until})
			if got := said(err); got != test.want {
				t.Fatalf("got %s, want %s", got, test.want)
			}
			if err != nil {
				return
			}
			defer tx.Abort()
			if err := tx.Rcpt(t.Context(), addr("bob@example.org"), mail.RcptParams{}); err != nil {
				t.Fatal(err)
			}
			if err := tx.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			io.WriteString(tx, letter) // Commit tells the error
			receipt, err := tx.Commit(t.Context())
			if err != nil || !receipt.Recipients[0].OK() {
				t.Fatalf("got %+v, %v", receipt, err)
			}
			if got := !s.delivered.Hold.IsZero(); got != test.held {
				t.Errorf("held is %v, want %v", got, test.held)
			}
			visible := len(f.mails(t, "bob@example.org")) - before
			if (visible == 0) != test.held {
				t.Errorf("%d messages to be seen, held is %v", visible, test.held)
			}
			traces, err := f.store.Traces(t.Context(), store.TraceQuery{ID: receipt.ID})
			want := map[bool]string{true: "accepted", false: "delivered"}[test.held]
			if err != nil || len(traces) != 1 || traces[0].Recipients[0].Outcome != want {
				t.Errorf("got traces %+v, %v; want %s", traces, err, want)
			}
		})
	}
}
