package sqlstore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"postrider/internal/blob"
	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/commit"
	"postrider/internal/store/storetest"
)

// TestCheckFindsDamage breaks rows one by one: each is found, repaired where
// it can be, and not found again.
func TestCheckFindsDamage(t *testing.T) {
	for _, c := range []struct {
		name, damage, want string
		lasting            bool
	}{
		{name: "mailbox counters", want: "the counters say",
			damage: `UPDATE mailbox SET messages = 99, unseen = 7`},
		{name: "UIDNEXT too low", want: "the counters say", damage: `UPDATE mailbox SET uidnext = 2`},
		{name: "usage", want: "usage says", damage: `UPDATE drop_usage SET bytes = 1`},
		{name: "references", want: "it counts", damage: `UPDATE email SET refs = 3`},
		{name: "size of an entry", want: "the entry says", damage: `UPDATE entry SET size = 1 WHERE uid = 1`},
		{name: "entry without message", want: "has no message", damage: `DELETE FROM email WHERE id IN
			(SELECT email FROM entry WHERE uid = 1)`},
		{name: "entry without mailbox", want: "without a mailbox",
			damage: `UPDATE entry SET mailbox = 5 WHERE uid = 1`},
		{name: "message without entry", want: "no mailbox has", damage: `DELETE FROM entry WHERE uid = 1`},
		{name: "mail of nobody", want: "does not exist", damage: `DELETE FROM account WHERE id = 1`},
		{name: "lost body", want: "not known any more", damage: `DELETE FROM blob`, lasting: true},
		{name: "wrong place", want: "cannot be read", damage: `UPDATE blob SET place = place + 1`,
			lasting: true},
		{name: "whose body", want: "user0@example.org in INBOX (UID 1, received ",
			damage: `UPDATE blob SET sum = sum + 1`, lasting: true},
		{name: "body of several", want: "), user1@example.org in INBOX (UID 3, received ",
			damage: `UPDATE blob SET sum = sum + 1`, lasting: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := openTest(t, dir, func(c *Config) { c.Quiet = true })
			ids := addUsers(t, s, 2)
			for range 3 {
				deliver(s, []byte("x"), ids...)
			}
			s.Close()
			s = openTest(t, dir, func(c *Config) { c.Quiet = true })
			defer s.Close()
			if _, err := s.committer.Conn().ExecContext(context.Background(), c.damage); err != nil {
				t.Fatal(err)
			}
			found(t, s, false, c.want)
			found(t, s, true, c.want)
			if !c.lasting {
				storetest.Clean(t, s)
			}
		})
	}
}

func found(t *testing.T, s *Store, repair bool, want string) {
	t.Helper()
	problems, err := s.Check(context.Background(), repair, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.Contains(p.What, want) {
			return
		}
	}
	t.Errorf("check (repair %v) found %v, want %q", repair, problems, want)
}

// faultyBlobs fails the flushes of its batches while told to.
type faultyBlobs struct {
	blob.Store
	fail atomic.Bool
}

type faultyBatch struct {
	blob.Batch
	s *faultyBlobs
}

func (f *faultyBlobs) Begin(batch, durable uint64) blob.Batch {
	return faultyBatch{f.Store.Begin(batch, durable), f}
}

func (b faultyBatch) Sync() error {
	if b.s.fail.Load() {
		return errors.New("injected")
	}
	return b.Batch.Sync()
}

// TestFailedFlush refuses a batch whose volumes could not be flushed, and
// never shows or brings back its messages.
func TestFailedFlush(t *testing.T) {
	dir := t.TempDir()
	var blobs *faultyBlobs
	open := func() *Store {
		return openTest(t, dir, func(c *Config) {
			c.Quiet = true
			blobs = &faultyBlobs{Store: c.Blobs}
			c.Blobs = blobs
		})
	}
	s := open()
	ids := addUsers(t, s, 1)
	deliver(s, []byte("one"), ids[0])
	blobs.fail.Store(true)
	if _, err := deliver(s, []byte("lost"), ids[0]); mail.KindOf(err) != mail.Temporary {
		t.Errorf("delivery on a failing disk: got %v, want kind Temporary", err)
	}
	blobs.fail.Store(false)
	if r, err := deliver(s, []byte("two"), ids[0]); err != nil || r[0].UID != 2 {
		t.Errorf("delivery after it: got %+v, %v; want UID 2", r, err)
	}
	s.Close()
	s = open()
	defer s.Close()
	got, err := storetest.Read(s, ids[0])
	if err != nil || len(got) != 2 {
		t.Errorf("messages: got %q, %v; want two", got, err)
	}
	storetest.Clean(t, s)
}

// TestOneFailureAlone lets one operation of a batch fail after it has
// written: the others of its batch hold.
func TestOneFailureAlone(t *testing.T) {
	s := openTest(t, t.TempDir(), func(c *Config) { c.Quiet = true })
	defer s.Close()
	ids := addUsers(t, s, 1)
	broken := errors.New("broken")
	release := make(chan struct{})
	go s.committer.Pause(func() { <-release }) // so that all three share a batch
	results := make(chan error, 3)
	go func() { _, err := deliver(s, []byte("a"), ids[0]); results <- err }()
	go func() {
		results <- s.do(commit.InDatabase, false, func(t *tx) error {
			if err := t.Exec(`UPDATE account SET full_name = 'half done'`); err != nil {
				return err
			}
			return broken
		})
	}()
	go func() { _, err := deliver(s, []byte("b"), ids[0]); results <- err }()
	close(release)
	failures := 0
	for range 3 {
		if err := <-results; errors.Is(err, broken) {
			failures++
		} else if err != nil {
			t.Errorf("got %v", err)
		}
	}
	if failures != 1 {
		t.Errorf("%d failures, want 1", failures)
	}
	var name string
	s.read.QueryRow(`SELECT full_name FROM account`).Scan(&name)
	if got, err := storetest.Read(s, ids[0]); len(got) != 2 || err != nil || name != "" {
		t.Errorf("got %q, %v, name %q; want both messages and no name", got, err, name)
	}
	storetest.Clean(t, s)
}

// TestNewerSchema refuses a database that a newer program has written.
func TestNewerSchema(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, func(c *Config) { c.Quiet = true })
	if _, err := s.committer.Conn().ExecContext(context.Background(),
		`UPDATE schema_version SET version = 99`); err != nil {
		t.Fatal(err)
	}
	s.Close()
	cfg := Config{Path: filepath.Join(dir, "postrider.db"), Quiet: true, Blobs: openVolumes(t, dir)}
	defer cfg.Blobs.Close()
	if _, err := Open(context.Background(), cfg); mail.KindOf(err) != mail.Conflict {
		t.Errorf("got %v, want kind Conflict", err)
	}
}

// TestPrivate gives nobody else the database.
func TestPrivate(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, nil)
	defer s.Close()
	addUsers(t, s, 1)
	for _, name := range []string{"postrider.db", "postrider.db-wal", "postrider.db-shm"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", name, info.Mode(), err)
		}
	}
}

var _ store.Store = (*Store)(nil)

// TestRepairInSteps has more to mend in an account than one operation does.
func TestRepairInSteps(t *testing.T) {
	s := openTest(t, t.TempDir(), func(c *Config) { c.Quiet = true })
	defer s.Close()
	ctx := context.Background()
	ids := addUsers(t, s, 2)
	const n = 250
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			for range n / 10 {
				if _, err := deliver(s, []byte("x"), ids...); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	err := s.do(commit.InDatabase, false, func(t *tx) error {
		if err := t.Exec(`UPDATE entry SET size = size + 1 WHERE account = $1`, ids[0]); err != nil {
			return err
		}
		if err := t.Exec(`UPDATE mailbox SET unseen = 7 WHERE account = $1`, ids[0]); err != nil {
			return err
		}
		return t.Exec(`DELETE FROM entry WHERE account = $1`, ids[1])
	})
	if err != nil {
		t.Fatal(err)
	}
	problems, err := s.Check(ctx, true, nil)
	if err != nil || len(problems) != 2*n+3 {
		t.Errorf("%d problems, %v; want %d", len(problems), err, 2*n+3)
	}
	storetest.Clean(t, s)
	if r, err := deliver(s, []byte("y"), ids...); err != nil || r[0].UID != n+1 || r[1].UID != n+1 {
		t.Errorf("the next message: got %+v, %v; want UID %d", r, err, n+1)
	}
	storetest.Clean(t, s)
}
