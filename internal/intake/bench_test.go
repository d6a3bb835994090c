package intake

import (
	"context"
	"strings"
	"testing"
	"time"

	"postrider/internal/blob"
	"postrider/internal/blob/blobtest"
	"postrider/internal/mail"
	"postrider/internal/store"
)

// A sink takes every message for one account and forgets it.
type sink struct {
	Store
	account store.Account
	blobs   *blobtest.Fake
	results []store.Result
}

func (s *sink) Account(context.Context, mail.Address) (*store.Account, error) {
	return &s.account, nil
}
func (s *sink) IsLocal(context.Context, string) (bool, error) { return true, nil }
func (s *sink) Blobs() blob.Store                             { return s.blobs }
func (s *sink) Deliver(context.Context, *store.Delivery) ([]store.Result, error) {
	return s.results, nil
}

// BenchmarkTransaction is the hall's part of a message of 4 kB: all but the
// store.
func BenchmarkTransaction(b *testing.B) {
	s := &sink{blobs: blobtest.NewFake(1), results: make([]store.Result, 1),
		account: store.Account{ID: 1, Enabled: true, Address: addr("bob@example.org")}}
	h := New(Config{Store: s, Hostname: func() string { return "mx.example.org" },
		Limits: func() Limits { return Limits{Size: 1 << 20, Recipients: 100, Hops: 50} },
		Now:    func() time.Time { return noon }})
	body := []byte(letter + strings.Repeat(strings.Repeat("x", 76)+"\r\n", 50))
	v, ctx := stranger(), context.Background()
	from, to := addr("x@example.net"), addr("bob@example.org")
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		tx, err := h.From(ctx, v, from, mail.MailParams{Size: 4000})
		if err != nil {
			b.Fatal(err)
		}
		if err := tx.Rcpt(ctx, to, mail.RcptParams{}); err != nil {
			b.Fatal(err)
		}
		if err := tx.Open(ctx); err != nil {
			b.Fatal(err)
		}
		tx.Write(body)
		if _, err := tx.Commit(ctx); err != nil {
			b.Fatal(err)
		}
		tx.Abort()
	}
}
