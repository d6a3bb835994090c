package sqlstore

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"postrider/internal/blob"
	"postrider/internal/blob/volume"
	"postrider/internal/mail"
	"postrider/internal/store"
)

// openTest opens a store in dir, with volumes beside it.
func openTest(tb testing.TB, dir string, change func(*Config)) *Store {
	tb.Helper()
	blobs := openVolumes(tb, dir)
	cfg := Config{Path: filepath.Join(dir, "postrider.db"), Blobs: blobs,
		Snapshot: filepath.Join(dir, "state.json")}
	if change != nil {
		change(&cfg)
	}
	s, err := Open(context.Background(), cfg)
	if err != nil {
		blobs.Close()
		tb.Fatal(err)
	}
	return s
}

func openVolumes(tb testing.TB, dir string) blob.Store {
	tb.Helper()
	blobs, err := volume.Open(volume.Config{Dirs: []string{filepath.Join(dir, "volumes")}})
	if err != nil {
		tb.Fatal(err)
	}
	return blobs
}

// addUsers makes a domain and n accounts, and returns their numbers.
func addUsers(tb testing.TB, s store.Store, n int) []mail.AccountID {
	tb.Helper()
	ctx := context.Background()
	if err := s.AddDomain(ctx, store.Domain{Name: "example.org"}); err != nil {
		tb.Fatal(err)
	}
	var writes []store.AccountWrite
	for i := range n {
		writes = append(writes, store.AccountWrite{Account: store.Account{
			Address: mail.Address{Local: fmt.Sprint("user", i), Domain: "example.org"},
			Enabled: true, Login: true}})
	}
	if err := s.WriteAccounts(ctx, writes); err != nil {
		tb.Fatal(err)
	}
	ids := make([]mail.AccountID, n)
	for i := range n {
		a, err := s.Account(ctx, mail.Address{Local: fmt.Sprint("user", i), Domain: "example.org"})
		if err != nil {
			tb.Fatal(err)
		}
		ids[i] = a.ID
	}
	return ids
}

func deliver(s store.Store, body []byte, to ...mail.AccountID) ([]store.Result, error) {
	ctx := context.Background()
	d, err := s.Blobs().NewDraft(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer d.Discard()
	if _, err := d.Write(body); err != nil {
		return nil, err
	}
	if err := d.Finish(ctx); err != nil {
		return nil, err
	}
	del := &store.Delivery{Body: d, Received: time.Now(), Format: 1, Parsed: make([]byte, 500),
		Trace: &store.Trace{ID: "x", Time: time.Now(), Door: "smtp", From: "a@b.c"}}
	for _, id := range to {
		del.Targets = append(del.Targets, store.Target{Account: id, Prefix: make([]byte, 300)})
		del.Trace.Recipients = append(del.Trace.Recipients,
			store.TraceRecipient{Address: "u@e", Account: id})
	}
	return s.Deliver(ctx, del)
}

// BenchmarkDeliver delivers 4 kB messages, durable, with so many at a time.
func BenchmarkDeliver(b *testing.B) {
	for _, conns := range []int{1, 16, 64} {
		b.Run(fmt.Sprint("conns=", conns), func(b *testing.B) {
			s := openTest(b, b.TempDir(), nil)
			defer s.Close()
			ids := addUsers(b, s, 100)
			body := make([]byte, 4096)
			b.ResetTimer()
			var group sync.WaitGroup
			next := make(chan int, b.N)
			for i := range b.N {
				next <- i
			}
			close(next)
			for range conns {
				group.Go(func() {
					for i := range next {
						if _, err := deliver(s, body, ids[i%len(ids)]); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}
