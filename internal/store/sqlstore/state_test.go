package sqlstore

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/state"
	"postrider/internal/store/storetest"
)

// The snapshot follows a change within moments, not at the next minute: who
// loses the database then still has the account.
func TestSnapshotFollowsChange(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, nil)
	defer s.Close()
	addUsers(t, s, 3)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		snap, err := state.Read(filepath.Join(dir, "state.json"))
		if err == nil && len(snap.Accounts) == 3 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the snapshot has %+v, %v", snap, err)
		}
	}
}

// Mail of accounts that the snapshot is too old to know is counted.
func TestRebuildCountsUnowned(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, quietly)
	addUsers(t, s, 1)
	s.Close()
	s = openTest(t, dir, quietly)
	old, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	late := mail.Address{Local: "late", Domain: "example.org"}
	if err := s.WriteAccounts(t.Context(), []store.AccountWrite{
		{Account: store.Account{Address: late, Enabled: true}}}); err != nil {
		t.Fatal(err)
	}
	a, err := s.Account(t.Context(), late)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := storetest.Deliver(s, "x", store.Target{Account: a.ID}); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	if err := os.WriteFile(filepath.Join(dir, "state.json"), old, 0o600); err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(dir, "postrider.db"))
	cfg := Config{Path: filepath.Join(dir, "postrider.db"), Blobs: openVolumes(t, dir),
		Snapshot: filepath.Join(dir, "state.json")}
	defer cfg.Blobs.Close()
	if made, err := Rebuild(context.Background(), cfg, nil); err != nil || made.Unowned != 2 {
		t.Errorf("got %+v, %v; want two messages of nobody", made, err)
	}
}
