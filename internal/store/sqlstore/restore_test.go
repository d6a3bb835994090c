package sqlstore

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/storetest"
)

func quiet(c *Config) { c.Quiet = true }

// TestOlderDatabaseKeepsLaterAccounts restores a database from before an
// account was made: the account comes back from the state snapshot with its
// mail, and its number is never given to another.
func TestOlderDatabaseKeepsLaterAccounts(t *testing.T) {
	ctx := context.Background()
	dir, old := t.TempDir(), t.TempDir()
	s := openTest(t, dir, quiet)
	ids := addUsers(t, s, 1)
	s.Close()
	copyTree(t, dir, old)
	s = openTest(t, dir, quiet)
	err := s.WriteAccounts(ctx, []store.AccountWrite{{Replace: true, Account: store.Account{
		Address: storetest.Address("later"), Enabled: true, Login: true},
		Credentials: []store.Credential{{Kind: "argon2id", Data: []byte("hash")}}}})
	if err != nil {
		t.Fatal(err)
	}
	later, err := s.Account(ctx, storetest.Address("later"))
	if err != nil {
		t.Fatal(err)
	}
	deliver(s, []byte("for later"), later.ID)
	deliver(s, []byte("for both"), later.ID, ids[0])
	s.Close()
	useDatabase(t, old, dir)

	s = openTest(t, dir, func(c *Config) { c.Quiet, c.AcceptRestore = true, true })
	defer s.Close()
	back, err := s.Account(ctx, storetest.Address("later"))
	if err != nil || back.ID != later.ID {
		t.Fatalf("account: got %+v, %v; want number %d", back, err, later.ID)
	}
	if c, _ := s.Credentials(ctx, back.ID); len(c) != 1 || string(c[0].Data) != "hash" {
		t.Errorf("credentials: got %v", c)
	}
	if got, err := storetest.Read(s, back.ID); err != nil || len(got) != 2 {
		t.Errorf("mail: got %q, %v; want two", got, err)
	}
	if s.Unowned() != 0 {
		t.Errorf("%d messages of nobody", s.Unowned())
	}
	err = s.WriteAccounts(ctx, []store.AccountWrite{{Account: store.Account{
		Address: storetest.Address("new"), Enabled: true}}})
	if a, e := s.Account(ctx, storetest.Address("new")); err != nil || e != nil || a.ID <= later.ID {
		t.Errorf("a new account: got %+v, %v, %v; want a number above %d", a, err, e, later.ID)
	}
	storetest.Clean(t, s)
}

// TestOlderDatabaseWithoutSnapshot counts the mail of accounts that nobody
// knows, and never gives their numbers away.
func TestOlderDatabaseWithoutSnapshot(t *testing.T) {
	ctx := context.Background()
	dir, old := t.TempDir(), t.TempDir()
	s := openTest(t, dir, quiet)
	addUsers(t, s, 1)
	s.Close()
	copyTree(t, dir, old)
	s = openTest(t, dir, quiet)
	s.WriteAccounts(ctx, []store.AccountWrite{{Account: store.Account{
		Address: storetest.Address("later"), Enabled: true}}})
	later, _ := s.Account(ctx, storetest.Address("later"))
	deliver(s, []byte("for later"), later.ID)
	s.Close()
	useDatabase(t, old, dir)
	os.Remove(filepath.Join(dir, "state.json"))
	s = openTest(t, dir, func(c *Config) { c.Quiet, c.AcceptRestore = true, true })
	defer s.Close()
	if s.Unowned() != 1 {
		t.Errorf("%d messages of nobody, want 1", s.Unowned())
	}
	s.WriteAccounts(ctx, []store.AccountWrite{{Account: store.Account{
		Address: storetest.Address("mallory"), Enabled: true}}})
	if a, err := s.Account(ctx, storetest.Address("mallory")); err != nil || a.ID <= later.ID {
		t.Errorf("a new account: got %+v, %v; want a number above %d", a, err, later.ID)
	}
}

// TestLostDatabase deletes the database, also of a store that was killed
// before any commit was known to be durable: it is told at once.
func TestLostDatabase(t *testing.T) {
	for _, c := range []struct {
		name     string
		snapshot bool
		mail     bool
	}{{"mail", false, true}, {"snapshot", true, false}, {"both", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			live, dir := t.TempDir(), t.TempDir()
			s := openTest(t, live, quiet)
			ids := addUsers(t, s, 1)
			copyTree(t, live, dir) // killed
			s.Close()
			s = openTest(t, dir, nil) // writes the snapshot that the kill prevented
			if c.mail {
				deliver(s, []byte("x"), ids[0])
			}
			s.Close()
			for _, suffix := range []string{"", "-wal", "-shm"} {
				os.Remove(filepath.Join(dir, "postrider.db"+suffix))
			}
			if !c.snapshot {
				os.Remove(filepath.Join(dir, "state.json"))
			}
			for _, accept := range []bool{false, true} {
				cfg := Config{Path: filepath.Join(dir, "postrider.db"), Quiet: true,
					AcceptRestore: accept, Snapshot: filepath.Join(dir, "state.json"),
					Blobs: openVolumes(t, dir)}
				_, err := Open(context.Background(), cfg)
				cfg.Blobs.Close()
				if mail.KindOf(err) != mail.Damaged {
					t.Errorf("accept %v: got %v, want kind Damaged", accept, err)
				}
			}
		})
	}
}
