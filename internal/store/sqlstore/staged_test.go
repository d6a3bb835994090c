package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postrider/internal/blob"
	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/commit"
	"postrider/internal/store/staged"
	"postrider/internal/store/storetest"
)

// watchedBlobs calls begun at the beginning of every batch, when all that was
// committed before is in the files, and fails the flushes that it asks for.
type watchedBlobs struct {
	blob.Store
	begun func() error
}

type watchedBatch struct {
	blob.Batch
	err error
}

func (w *watchedBlobs) Begin(batch, durable uint64) blob.Batch {
	return watchedBatch{w.Store.Begin(batch, durable), w.begun()}
}

func (b watchedBatch) Sync() error {
	if b.err != nil {
		return b.err
	}
	return b.Batch.Sync()
}

// watch opens a store whose batches are watched.
func watch(t testing.TB, dir string, begun func() error) *Store {
	t.Helper()
	return openTest(t, dir, func(c *Config) {
		c.Quiet = true
		c.Blobs = &watchedBlobs{c.Blobs, begun}
	})
}

// longList makes n accounts, changes one that is there and removes another.
func longList(t testing.TB, s *Store, ids []mail.AccountID, n int) []store.AccountWrite {
	t.Helper()
	a, err := s.Account(t.Context(), mail.Address{Local: "user0", Domain: "example.org"})
	if err != nil {
		t.Fatal(err)
	}
	changed := *a
	changed.FullName = "changed"
	list := []store.AccountWrite{{Account: changed},
		{Account: store.Account{ID: ids[1]}, Remove: true}}
	for i := range n {
		list = append(list, store.AccountWrite{Replace: true,
			Account: store.Account{Enabled: true, Login: true, FullName: "Ü", Created: time.UnixMicro(1e12),
				Address: mail.Address{Local: fmt.Sprint("new", i), Domain: "example.org"}},
			Credentials: []store.Credential{{Kind: "argon2id", Data: []byte{0, 1, 255}},
				{Kind: "app", Name: "phone", Data: []byte{}}}})
	}
	return list
}

// made says whether a longList was carried out: all of it, or nothing. A
// mixture, or something left of the job, fails the test.
func made(t testing.TB, s *Store, n int) bool {
	t.Helper()
	ctx := context.Background()
	var all []store.Account
	for after := ""; ; after = all[len(all)-1].Address.Key() {
		page, err := s.Accounts(ctx, "", after, 500)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, page...); len(page) == 0 {
			break
		}
	}
	slices.SortFunc(all, func(a, b store.Account) int { return int(a.ID - b.ID) })
	var left int
	if err := s.read.QueryRow(`SELECT (SELECT count(*) FROM staged) +
		(SELECT count(*) FROM staged_job)`).Scan(&left); err != nil || left != 0 {
		t.Errorf("of the job %d rows are left, %v", left, err)
	}
	storetest.Clean(t, s)
	if len(all) == 2 && all[0].FullName == "" {
		return false
	}
	if len(all) != n+1 || all[0].FullName != "changed" {
		t.Fatalf("%d accounts, the first is %+v; want %d, and that one changed", len(all), all[0], n+1)
	}
	for i, a := range all[1:] {
		if a.Address.Local != fmt.Sprint("new", i) || a.ID != all[1].ID+mail.AccountID(i) ||
			a.FullName != "Ü" || !a.Created.Equal(time.UnixMicro(1e12)) {
			t.Fatalf("account %d: got %+v", i, a)
		}
	}
	creds, err := s.Credentials(ctx, all[n].ID)
	if err != nil || len(creds) != 2 || string(creds[1].Data) != "\x00\x01\xff" {
		t.Errorf("credentials: got %v, %v", creds, err)
	}
	return true
}

// TestLongListAndCrash cuts the power after every commit of a long list, and
// again after every commit of the start that follows.
func TestLongListAndCrash(t *testing.T) {
	const n = 2*staged.PerOp + 10
	live := t.TempDir()
	var copies []string
	copyAs := func(from, name string) func() error {
		to := t.TempDir()
		return func() error {
			next := filepath.Join(to, fmt.Sprint(name, len(copies)))
			copyTree(t, from, next)
			copies = append(copies, next)
			return nil
		}
	}
	begun := func() error { return nil }
	s := watch(t, live, func() error { return begun() })
	ids := addUsers(t, s, 2)
	if _, err := deliver(s, []byte("x"), ids...); err != nil {
		t.Fatal(err)
	}
	list := longList(t, s, ids, n)
	begun = copyAs(live, "write")
	if err := s.WriteAccounts(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	s.settle()
	if !made(t, s, n) {
		t.Error("nothing was made")
	}
	begun = func() error { return nil }
	s.Close()

	decided := 0
	first := copies
	for i, dir := range first {
		copies = nil
		again := t.TempDir()
		copyTree(t, dir, again)
		s := watch(t, again, copyAs(again, "start"))
		all := made(t, s, n)
		seconds := copies
		s.Close()
		if all {
			decided++
		} else if decided > 0 {
			t.Errorf("commit %d: nothing is there, after an earlier one all", i)
		}
		for _, dir := range seconds {
			s := openTest(t, dir, quietly)
			if got := made(t, s, n); got != all {
				t.Errorf("commit %d, a crash of the next start: all %v, want %v", i, got, all)
			}
			s.Close()
		}
	}
	if steps := (len(list) + staged.PerOp - 1) / staged.PerOp; decided != steps+1 ||
		len(first) != 2*steps+3 {
		t.Errorf("%d commits, %d of them after the decision; want %d, %d", len(first), decided,
			2*steps+3, steps+1)
	}
}

// TestLongListAndFailure lets each commit of a long list fail in turn, once
// or until somebody makes room, and tries again later.
func TestLongListAndFailure(t *testing.T) {
	const n = staged.PerOp + 10
	for _, lasting := range []bool{false, true} {
		for k := range 6 {
			t.Run(fmt.Sprint("batch ", k, " lasting ", lasting), func(t *testing.T) {
				batch, failAt := 0, -1
				s := watch(t, t.TempDir(), func() error {
					batch++
					if failAt >= 0 && (batch == failAt || lasting && batch > failAt) {
						return errors.New("injected")
					}
					return nil
				})
				defer s.Close()
				ids := addUsers(t, s, 2)
				list := longList(t, s, ids, n)
				batch, failAt = 0, k+1
				err := s.WriteAccounts(t.Context(), list)
				if mail.KindOf(err) != mail.Temporary {
					t.Errorf("got error %v, want kind Temporary", err)
				}
				failAt = -1
				if err := s.staged.Finish(); err != nil {
					t.Fatal(err)
				}
				if all := made(t, s, n); all != (k >= 4) || strings.Contains(err.Error(), "decided") != all {
					t.Errorf("everything there: %v, after the error %q", all, err)
				}
			})
		}
	}
}

// TestLongListAlone refuses what would spoil a list that was found right.
func TestLongListAlone(t *testing.T) {
	held, release := make(chan struct{}), make(chan struct{})
	batch := -1
	s := watch(t, t.TempDir(), func() error {
		if batch >= 0 {
			if batch++; batch == 3 {
				close(held)
				<-release
			}
		}
		return nil
	})
	defer s.Close()
	ctx := t.Context()
	ids := addUsers(t, s, 2)
	addDomain(t, s, "empty.example")
	list := longList(t, s, ids, 300)
	batch = 0
	results := make(chan error, 9)
	go func() { results <- s.WriteAccounts(ctx, list) }()
	<-held
	others := make(chan error, 9)
	go func() { others <- s.WriteAccounts(ctx, list[1:2]) }()
	go func() { others <- s.RemoveDomain(ctx, "empty.example") }()
	go func() { others <- s.AddDomain(ctx, store.Domain{Name: "more.example"}) }()
	go func() { _, err := deliver(s, []byte("x"), ids[0]); others <- err }()
	for s.committer.Waiting() < 4 {
		time.Sleep(time.Millisecond)
	}
	close(release)
	locked := 0
	for range 4 {
		if err := <-others; mail.KindOf(err) == mail.Locked {
			locked++
		} else if err != nil {
			t.Error(err)
		}
	}
	if locked != 2 {
		t.Errorf("%d were refused, want the account and the removal of the domain", locked)
	}
	if err := <-results; err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveDomain(ctx, "empty.example"); err != nil || !made(t, s, 300) {
		t.Errorf("afterwards: %v", err)
	}
}

// TestLongListStopped stops a list before it is decided.
func TestLongListStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	batch := -1
	s := watch(t, t.TempDir(), func() error {
		if batch >= 0 {
			if batch++; batch == 2 {
				cancel()
			}
		}
		return nil
	})
	defer s.Close()
	ids := addUsers(t, s, 2)
	list := longList(t, s, ids, 300)
	batch = 0
	if err := s.WriteAccounts(ctx, list); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want that it was stopped", err)
	}
	if made(t, s, 300) {
		t.Error("it was carried out all the same")
	}
}

// BenchmarkImport makes 100 000 accounts, and tells how long somebody who
// has little to write waits meanwhile.
func BenchmarkImport(b *testing.B) {
	for b.Loop() {
		s := openTest(b, b.TempDir(), nil)
		list := longList(b, s, addUsers(b, s, 2), 100_000)
		var waits []time.Duration
		done := make(chan error)
		go func() { done <- s.WriteAccounts(b.Context(), list) }()
		for waiting := true; waiting; {
			select {
			case err := <-done:
				if err != nil {
					b.Fatal(err)
				}
				waiting = false
			default:
				start := time.Now()
				s.do(commit.Volatile, false, func(*tx) error { return nil })
				waits = append(waits, time.Since(start))
			}
		}
		slices.Sort(waits)
		ms := func(d time.Duration) float64 { return d.Seconds() * 1e3 }
		b.ReportMetric(ms(waits[len(waits)/2]), "ms-median-wait")
		b.ReportMetric(ms(waits[len(waits)*99/100]), "ms-99%-wait")
		b.ReportMetric(ms(waits[len(waits)-1]), "ms-longest-wait")
		s.Close()
	}
}
