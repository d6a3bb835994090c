package sqlstore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postrider/internal/mail"
	"postrider/internal/store"
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
	s.checkpoint(false)
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
		if err := s.WriteAccounts(context.Background(), []store.AccountWrite{{Account: bound}}); err != nil {
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

// TestLogIsBounded delivers while there is a reader at every moment: the log
// begins anew all the same.
func TestLogIsBounded(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, quietly)
	defer s.Close()
	s.maxLog = 1 << 20
	ids := addUsers(t, s, 4)
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for i := range 3 {
		group.Go(func() {
			time.Sleep(time.Duration(i) * time.Millisecond)
			for ctx.Err() == nil {
				x, err := s.read.BeginTx(context.Background(), nil)
				if err != nil {
					t.Error(err)
					return
				}
				var n int
				x.QueryRow(`SELECT count(*) FROM state`).Scan(&n)
				time.Sleep(3 * time.Millisecond)
				x.Rollback()
			}
		})
	}
	for range 40 {
		for i := range 12 {
			if _, err := deliver(s, []byte("x"), ids[i%4]); err != nil {
				t.Fatal(err)
			}
		}
		s.checkpoint(false)
	}
	cancel()
	group.Wait()
	info, err := os.Stat(filepath.Join(dir, "postrider.db-wal"))
	if err != nil || info.Size() > 3<<20 {
		t.Errorf("the log has %d bytes, %v; want about %d", info.Size(), err, s.maxLog)
	}
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

// TestEngineErrorEndsTransaction: an operation whose statement failed takes
// the transaction with it, since SQLite may have ended that on its own.
func TestEngineErrorEndsTransaction(t *testing.T) {
	s := openTest(t, t.TempDir(), quietly)
	defer s.Close()
	bad := &op{promise: inDatabase, done: make(chan struct{}), run: func(t *tx) error {
		t.c.conn.ExecContext(t.ctx, "ROLLBACK") // as SQLite does after SQLITE_IOERR
		return errors.New("disk I/O error")
	}}
	good := &op{promise: inDatabase, done: make(chan struct{}), run: func(t *tx) error {
		return t.exec(`INSERT INTO domain (name, main, created) VALUES ('b.example', 0, 0)`)
	}}
	s.committer.pause(func() { s.committer.serve([]*op{bad, good}) })
	if bad.err == nil || good.err != nil || s.committer.failure() != nil {
		t.Errorf("got %v, %v, store %v; want one failure", bad.err, good.err, s.committer.failure())
	}
	if ok, err := s.IsLocal(context.Background(), "b.example"); err != nil || !ok {
		t.Errorf("the domain: got %v, %v; want it", ok, err)
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
	for range 20 {
		err := s.committer.do(inDatabase, false, func(t *tx) error {
			if err := t.flushCounters(); err != nil {
				return err
			}
			delete(t.c.counters.byAccount, ids[0])
			delete(t.touched, ids[0])
			return t.exec(`UPDATE mailbox SET unseen = unseen + 1`)
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

// TestAuditUsesIndexes: an audit that walked through all messages for every
// account would never end on a large server.
func TestAuditUsesIndexes(t *testing.T) {
	s := openTest(t, t.TempDir(), quietly)
	defer s.Close()
	rows, err := s.read.Query(`EXPLAIN QUERY PLAN `+auditQuery, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(step, "SEARCH ") {
			t.Errorf("the audit's plan has %q, want searches only", step)
		}
	}
}
