package sqlstore

import (
	"context"
	"os"
	"path/filepath"
	"strings"
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

// TestOlderThanSnapshot restores a database beside volumes that know nothing
// newer: the state snapshot tells it, whatever has changed since.
func TestOlderThanSnapshot(t *testing.T) {
	ctx := context.Background()
	value := "9"
	later := store.Account{Address: storetest.Address("later"), Enabled: true, Login: true}
	for _, c := range []struct {
		name   string
		change func(*Store, mail.AccountID) error
	}{
		{"an account", func(s *Store, _ mail.AccountID) error {
			return s.WriteAccounts(ctx, []store.AccountWrite{{Account: later}})
		}},
		{"a password", func(s *Store, id mail.AccountID) error {
			return s.WriteAccounts(ctx, []store.AccountWrite{{Replace: true, Account: store.Account{ID: id,
				Address: storetest.Address("user0"), Enabled: true, Login: true}}})
		}},
		{"a removal", func(s *Store, id mail.AccountID) error {
			return s.WriteAccounts(ctx, []store.AccountWrite{{Remove: true, Account: store.Account{ID: id}}})
		}},
		{"a domain", func(s *Store, _ mail.AccountID) error {
			return s.AddDomain(ctx, store.Domain{Name: "later.example"})
		}},
		{"a setting", func(s *Store, _ mail.AccountID) error {
			return s.WriteSettings(ctx, map[string]*string{"smtp.errors": &value})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, old := t.TempDir(), t.TempDir()
			s := openTest(t, dir, quiet)
			ids := addUsers(t, s, 1)
			deliver(s, []byte("hello"), ids[0])
			s.Close()
			copyTree(t, dir, old)
			s = openTest(t, dir, quiet)
			if err := c.change(s, ids[0]); err != nil {
				t.Fatal(err)
			}
			s.Close()
			useDatabase(t, old, dir)

			cfg := Config{Path: filepath.Join(dir, "postrider.db"), Quiet: true,
				Snapshot: filepath.Join(dir, "state.json"), Blobs: openVolumes(t, dir)}
			_, err := Open(ctx, cfg)
			cfg.Blobs.Close()
			if mail.KindOf(err) != mail.Damaged || !strings.Contains(err.Error(), "--accept-restore") {
				t.Fatalf("got %v, want Damaged with what to do", err)
			}
			s = openTest(t, dir, func(c *Config) { c.Quiet, c.AcceptRestore = true, true })
			if c.name == "an account" {
				if _, err := s.Account(ctx, later.Address); err != nil {
					t.Errorf("the later account: %v", err)
				}
			}
			if got, err := storetest.Read(s, ids[0]); err != nil || len(got) != 1 {
				t.Errorf("mail: got %q, %v; want one", got, err)
			}
			storetest.Clean(t, s)
			s.Close()
			s = openTest(t, dir, quiet) // accepted once and for all
			s.Close()
		})
	}
}

// TestSnapshotBehind is a crash before the snapshot was written, with a
// snapshot that is torn, and with none: none of them is an older database.
func TestSnapshotBehind(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name string
		harm func(path string) error
	}{
		{"behind", func(string) error { return nil }},
		{"torn", func(path string) error { return os.Truncate(path, 20) }},
		{"none", os.Remove},
	} {
		t.Run(c.name, func(t *testing.T) {
			live, dir := t.TempDir(), t.TempDir()
			s := openTest(t, live, quiet)
			addUsers(t, s, 1)
			s.Close()
			s = openTest(t, live, quiet)
			err := s.AddDomain(ctx, store.Domain{Name: "later.example"})
			if err != nil {
				t.Fatal(err)
			}
			copyTree(t, live, dir) // killed
			s.Close()
			if err := c.harm(filepath.Join(dir, "state.json")); err != nil {
				t.Fatal(err)
			}
			s = openTest(t, dir, quiet)
			if d, err := s.Domains(ctx); err != nil || len(d) != 2 {
				t.Errorf("got %v, %v; want two domains", d, err)
			}
			s.Close()
		})
	}
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
