package sqlstore

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postrider/internal/blob/volume"
	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/commit"
	"postrider/internal/store/state"
	"postrider/internal/store/storetest"
)

func quietly(c *Config) { c.Quiet = true }

// TestFailedBatchIsNotDurable: a batch fails, a checkpoint follows, and the
// power is cut between the flush of the next batch's volume and its commit.
// The database is what it was and must not be taken for an older one.
func TestFailedBatchIsNotDurable(t *testing.T) {
	dir, before, crashed := t.TempDir(), t.TempDir(), t.TempDir()
	var blobs *faultyBlobs
	s := openTest(t, dir, func(c *Config) {
		c.Quiet = true
		blobs = &faultyBlobs{Store: c.Blobs}
		c.Blobs = blobs
	})
	ids := addUsers(t, s, 1)
	blobs.fail.Store(true)
	deliver(s, []byte("refused"), ids[0])
	blobs.fail.Store(false)
	s.committer.CheckpointNow()
	copyTree(t, dir, before)
	if _, err := deliver(s, []byte("kept"), ids[0]); err != nil {
		t.Fatal(err)
	}
	copyTree(t, dir, crashed)
	s.Close()
	useDatabase(t, before, crashed)
	s = openTest(t, crashed, quietly)
	defer s.Close()
	if got, err := storetest.Read(s, ids[0]); err != nil || len(got) != 1 {
		t.Errorf("after the cut: got %d messages, %v; want one", len(got), err)
	}
	storetest.Clean(t, s)
}

// TestFailureLeavesNoCount: an operation that fails after it has counted, but
// before it has written, leaves no count behind.
func TestFailureLeavesNoCount(t *testing.T) {
	s := openTest(t, t.TempDir(), quietly)
	defer s.Close()
	ids := addUsers(t, s, 1)
	a, err := s.Account(context.Background(), mail.Address{Local: "user0", Domain: "example.org"})
	if err != nil {
		t.Fatal(err)
	}
	bound := *a
	bound.Volume = 7 // there is no such directory
	write := func() {
		err := s.WriteAccounts(context.Background(), []store.AccountWrite{{Account: bound}})
		if err != nil {
			t.Fatal(err)
		}
	}
	write()
	if _, err := storetest.Deliver(s, "x", store.Target{Account: ids[0]}); err == nil {
		t.Fatal("a delivery to a volume that is not there was taken")
	}
	bound.Volume = 0
	write()
	r, err := storetest.Deliver(s, "y", store.Target{Account: ids[0]})
	if err != nil || r[0].UID != 1 {
		t.Errorf("the next delivery: got %+v, %v; want UID 1", r, err)
	}
	storetest.Clean(t, s)
}

// TestCommitterNeedsNoReader delivers to accounts that are in no cache while
// every reader's connection is in use.
func TestCommitterNeedsNoReader(t *testing.T) {
	s := openTest(t, t.TempDir(), quietly)
	defer s.Close()
	ids := addUsers(t, s, 1)
	s.directory.clear()
	ctx := context.Background()
	for range readers {
		conn, err := s.read.Conn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	done := make(chan error, 1)
	go func() {
		_, err := deliver(s, []byte("x"), ids[0])
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the committer waits for a reader")
	}
}

// TestRepairWhileServing repairs a counter while mail comes in: no number
// that was given out meanwhile is taken back.
func TestRepairWhileServing(t *testing.T) {
	s := openTest(t, t.TempDir(), quietly)
	defer s.Close()
	ids := addUsers(t, s, 1)
	ctx := context.Background()
	stop := make(chan struct{})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := deliver(s, []byte("x"), ids[0]); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 6 { // the mailbox grows with each
		err := s.do(commit.InDatabase, false, func(t *tx) error {
			if err := t.flushCounters(); err != nil {
				return err
			}
			delete(t.cached.byAccount, ids[0])
			delete(t.touched, ids[0])
			return t.Exec(`UPDATE mailbox SET unseen = unseen + 1`)
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Check(ctx, true, nil); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	group.Wait()
	storetest.Clean(t, s)
}

// TestIDsNeverReturn deletes everything, sets the clock back and starts again.
func TestIDsNeverReturn(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	clock := func(c *Config) {
		c.Quiet, c.OrphanKeep, c.Now = true, 1, func() time.Time { return now }
	}
	s := openTest(t, dir, clock)
	ids := addUsers(t, s, 2)
	r, err := storetest.Deliver(s, "x", store.Target{Account: ids[0]}, store.Target{Account: ids[1]})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if err := s.Expunge(context.Background(), id, store.Inbox, []mail.UID{1}); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(time.Second)
	if err := s.Tidy(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.Close()
	now = now.Add(-48 * time.Hour)
	s = openTest(t, dir, clock)
	defer s.Close()
	again, err := storetest.Deliver(s, "y", store.Target{Account: ids[0]})
	if err != nil || again[0].Email <= r[1].Email {
		t.Errorf("after the clock went back: got %+v, %v; want above %v", again, err, r[1].Email)
	}
}

// TestRebuildFromOldSnapshot loses the database and has a snapshot that lacks
// the newest account: nobody gets its number, and with it its mail, and what
// lies in the volumes for it is left to the sweep.
func TestRebuildFromOldSnapshot(t *testing.T) {
	dir := t.TempDir()
	ctx := context.Background()
	s := openTest(t, dir, quietly)
	ids := addUsers(t, s, 1)
	box, _ := s.Mailbox(ctx, ids[0], store.Inbox)
	s.Close()
	old, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir, quietly)
	add := func(name string) mail.AccountID {
		t.Helper()
		addr := mail.Address{Local: name, Domain: "example.org"}
		if err := s.WriteAccounts(ctx, []store.AccountWrite{{Account: store.Account{Address: addr,
			Enabled: true}}}); err != nil {
			t.Fatal(err)
		}
		a, err := s.Account(ctx, addr)
		if err != nil {
			t.Fatal(err)
		}
		return a.ID
	}
	lost := add("lost")
	deliver(s, []byte("kept"), ids[0])
	deliver(s, []byte("private"), lost)
	s.Close()
	if err := os.WriteFile(filepath.Join(dir, "state.json"), old, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second one at the same moment
		cfg := Config{Path: filepath.Join(dir, "postrider.db"), Blobs: openVolumes(t, dir),
			Snapshot: filepath.Join(dir, "state.json")}
		if _, err := Rebuild(ctx, cfg, nil); err != nil {
			t.Fatal(err)
		}
		cfg.Blobs.Close()
		s = openTest(t, dir, quietly)
		now, err := s.Mailbox(ctx, ids[0], store.Inbox)
		if err != nil || now.UIDValidity <= box.UIDValidity || now.Messages != 1 {
			t.Errorf("the Inbox: got %+v, %v; want UIDVALIDITY above %d", now, err, box.UIDValidity)
		}
		box = now
		s.Close()
	}
	s = openTest(t, dir, quietly)
	defer s.Close()
	if id := add("new"); id <= lost {
		t.Errorf("a new account has number %d, a lost one had %d", id, lost)
	}
	var orphans int
	s.read.QueryRow(`SELECT count(*) FROM orphan`).Scan(&orphans)
	if orphans != 1 {
		t.Errorf("%d bodies are left to the sweep, want 1", orphans)
	}
	storetest.Clean(t, s)
}

// TestRebuildNeedsSnapshot: without a snapshot the database stays in place.
func TestRebuildNeedsSnapshot(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, quietly)
	addUsers(t, s, 1)
	s.Close()
	cfg := Config{Path: filepath.Join(dir, "postrider.db"), Blobs: openVolumes(t, dir),
		Snapshot: filepath.Join(dir, "nothing.json")}
	defer cfg.Blobs.Close()
	if _, err := Rebuild(context.Background(), cfg, nil); mail.KindOf(err) != mail.Damaged {
		t.Errorf("got %v, want kind Damaged", err)
	}
	if _, err := os.Stat(cfg.Path); err != nil {
		t.Errorf("the database was moved: %v", err)
	}
}

// TestSnapshotAfterCrash: a change that a crash kept out of the snapshot gets
// into it with the next start.
func TestSnapshotAfterCrash(t *testing.T) {
	dir, crashed := t.TempDir(), t.TempDir()
	s := openTest(t, dir, quietly)
	addUsers(t, s, 1200) // more than a page
	copyTree(t, dir, crashed)
	s.Close()
	openTest(t, crashed, nil).Close()
	snap, err := state.Read(filepath.Join(crashed, "state.json"))
	if err != nil || len(snap.Accounts) != 1200 || len(snap.Accounts[7].Mailboxes) != 1 {
		t.Errorf("the snapshot: got %+v, %v; want 1200 accounts", snap, err)
	}
}

// TestPurgeTakesAll removes an account that has tombstones and an entry
// without message: nothing of it stays.
func TestPurgeTakesAll(t *testing.T) {
	s := openTest(t, t.TempDir(), quietly)
	defer s.Close()
	ctx := context.Background()
	ids := addUsers(t, s, 1)
	for range 20 {
		deliver(s, []byte("x"), ids[0])
	}
	if err := s.Expunge(ctx, ids[0], store.Inbox, []mail.UID{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.committer.Conn().ExecContext(ctx, `DELETE FROM email WHERE id =
		(SELECT email FROM entry WHERE uid = 9)`); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteAccounts(ctx, []store.AccountWrite{
		{Account: store.Account{ID: ids[0]}, Remove: true}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Tidy(ctx); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"entry", "email", "tombstone", "mailbox", "purge", "drop_usage"} {
		var n int
		if err := s.read.QueryRow(`SELECT count(*) FROM ` + table).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s: %d rows, %v; want none", table, n, err)
		}
	}
}

// TestFetchedIsSeenWhileWritten: what POP3 has handed out is known at every
// moment, also while it is on its way into its row.
func TestFetchedIsSeenWhileWritten(t *testing.T) {
	s := openTest(t, t.TempDir(), quietly)
	defer s.Close()
	ids := addUsers(t, s, 1)
	s.NoteFetched(ids[0], 7)
	release, held := make(chan struct{}), make(chan struct{})
	go s.committer.Pause(func() { close(held); <-release })
	<-held
	done := make(chan error, 1)
	go func() { done <- s.flushFetched() }()
	for {
		if s.committer.Waiting() > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	uid, err := s.Fetched(context.Background(), ids[0])
	close(release)
	if err != nil || uid != 7 {
		t.Errorf("while it is written: got %d, %v; want 7", uid, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if uid, err := s.Fetched(context.Background(), ids[0]); err != nil || uid != 7 {
		t.Errorf("afterwards: got %d, %v; want 7", uid, err)
	}
}

// TestManyRecipients delivers to more than one step takes: the body is
// written once, and a rebuild after compaction finds it for everybody.
func TestManyRecipients(t *testing.T) {
	dir := t.TempDir()
	small := func(c *Config) {
		c.Quiet, c.OrphanKeep = true, 1
		c.Blobs.Close()
		blobs, err := volume.Open(volume.Config{Dirs: []string{filepath.Join(dir, "volumes")},
			Size: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		c.Blobs = blobs
	}
	s := openTest(t, dir, small)
	ctx := context.Background()
	ids := addUsers(t, s, 3*targetsPerOp)
	before := used(s)
	body := strings.Repeat("for everybody ", 4000)
	var targets []store.Target
	for _, id := range ids {
		targets = append(targets, store.Target{Account: id})
	}
	if _, err := storetest.Deliver(s, body, targets...); err != nil {
		t.Fatal(err)
	}
	if took := used(s) - before; took > int64(2*len(body)) {
		t.Errorf("a body of %d bytes took %d", len(body), took)
	}
	for range 60 { // what fills the volume and goes again
		if _, err := storetest.Deliver(s, body, store.Target{Account: ids[0]}); err != nil {
			t.Fatal(err)
		}
	}
	var gone []mail.UID
	for i := range 60 {
		gone = append(gone, mail.UID(i+2))
	}
	if err := s.Expunge(ctx, ids[0], store.Inbox, gone); err != nil {
		t.Fatal(err)
	}
	first := s.blobs.Volumes()[0].Number
	for range 3 {
		if err := s.Tidy(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range s.blobs.Volumes() {
		if v.Number == first {
			t.Errorf("volume %d was not compacted", first)
		}
	}
	storetest.Clean(t, s)
	s.Close()
	cfg := Config{Path: filepath.Join(dir, "postrider.db"), Blobs: openVolumes(t, dir),
		Snapshot: filepath.Join(dir, "state.json")}
	if _, err := Rebuild(ctx, cfg, nil); err != nil {
		t.Fatal(err)
	}
	cfg.Blobs.Close()
	s = openTest(t, dir, small)
	defer s.Close()
	for _, id := range ids {
		if got, err := storetest.Read(s, id); err != nil || len(got) == 0 || got[0] != body {
			t.Fatalf("account %d after the rebuild: %d messages, %v", id, len(got), err)
		}
	}
	storetest.Clean(t, s)
}
