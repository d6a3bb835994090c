package auth

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	xdg "github.com/xdg-go/scram"

	"postrider/internal/blob/volume"
	"postrider/internal/journal"
	"postrider/internal/mail"
	"postrider/internal/seal"
	"postrider/internal/store"
	"postrider/internal/store/sqlstore"
)

// A life of an account in the real store, with the real key.
func TestRealStore(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	blobs, err := volume.Open(volume.Config{Dirs: []string{filepath.Join(dir, "volumes")}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := sqlstore.Open(ctx, sqlstore.Config{
		Path: filepath.Join(dir, "postrider.db"), Blobs: blobs,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	key, err := seal.New(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	a := New(Config{Store: s, Seal: key, Policy: func() Policy {
		p := DefaultPolicy()
		p.FirstDelay = 0
		return p
	}})
	defer a.Close()
	if err := s.AddDomain(ctx, store.Domain{Name: "example.org", Main: true}); err != nil {
		t.Fatal(err)
	}
	address := mail.Address{Local: "alice", Domain: "example.org"}
	row := store.Account{Address: address, Enabled: true, Login: true, APOP: store.APOPAllowed}
	write := func(password string) {
		t.Helper()
		creds, err := a.MakeCredentials(ctx, password, CredentialOptions{APOP: row.APOP})
		if err != nil {
			t.Fatal(err)
		}
		w := store.AccountWrite{Account: row, Credentials: creds, Replace: true}
		if err := s.WriteAccounts(ctx, []store.AccountWrite{w}); err != nil {
			t.Fatal(err)
		}
		stored, err := s.Account(ctx, address)
		if err != nil {
			t.Fatal(err)
		}
		row = *stored
	}
	check := func(password string, want error) {
		t.Helper()
		c := &Channel{Remote: here}
		if _, err := a.Password(ctx, c, "Alice", password); !errors.Is(err, want) {
			t.Errorf("password: got %v, want %v", err, want)
		}
		sum := md5.Sum([]byte("<1@x>" + password))
		_, err := a.APOP(ctx, c, "alice", "<1@x>", hex.EncodeToString(sum[:]))
		if !errors.Is(err, want) {
			t.Errorf("APOP: got %v, want %v", err, want)
		}
		client, err := xdg.SHA256.NewClient("alice", password, "")
		if err != nil {
			t.Fatal(err)
		}
		x, err := a.Start(c, mechSHA256)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := converse(x, client.NewConversation()); !errors.Is(err, want) {
			t.Errorf("SCRAM: got %v, want %v", err, want)
		}
	}
	write("first")
	check("first", nil)
	check("second", ErrCredentials)
	row.Version++
	write("second")
	check("first", ErrCredentials)
	check("second", nil)
	if _, err := a.Password(ctx, &Channel{Remote: here}, "bob", "first"); !errors.Is(
		err, ErrCredentials) {
		t.Errorf("unknown user: got %v, want %v", err, ErrCredentials)
	}
}

// T14: each refusal has a record of level 1, but a source that causes many
// does not flood the log.
func TestJournalLimitsRefusals(t *testing.T) {
	var out bytes.Buffer
	j, err := journal.New(journal.Config{Format: "json", Level: 1, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	a, _, _ := newTest(t, func(c *Config) { c.Log = j.For("auth") })
	a.nobody.memoryKiB = 8
	for i := range 50 {
		user := fmt.Sprint("mallory", i) // each without a delay
		a.Password(t.Context(), &Channel{Service: "pop", Remote: here}, user, "Secret1")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	got := out.String()
	lines := strings.Count(got, "login refused")
	if lines < 2 || lines > 15 || !strings.Contains(got, "mallory") ||
		strings.Contains(got, "Secret1") {
		t.Errorf("got %d records:\n%s", lines, got)
	}
}
