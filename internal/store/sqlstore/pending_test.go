package sqlstore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/commit"
	"postrider/internal/store/storetest"
)

// spelt says whether the trace of a letter to n tells of recipient i; of very
// many it tells of each fourth.
func spelt(i, n int) bool { return n <= 100 || i%4 == 0 }

// letter is a delivery to these accounts. It is prepared, not delivered.
func letter(t testing.TB, s *Store, body string, ids []mail.AccountID) *store.Delivery {
	t.Helper()
	draft, err := s.Blobs().NewDraft(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(draft.Discard)
	draft.Write([]byte(body))
	if err := draft.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := &store.Delivery{Body: draft, Received: s.now(), Format: 1, Parsed: []byte("p"),
		Trace: &store.Trace{ID: "L1", Time: s.now(), Door: "smtp", From: "a@b.c"}}
	for i, id := range ids {
		d.Targets = append(d.Targets, store.Target{Account: id, Prefix: fmt.Appendf(nil, "To: %d\r\n", id),
			Grace: true})
		if !spelt(i, len(ids)) {
			d.Trace.More++
			continue
		}
		d.Trace.Recipients = append(d.Trace.Recipients,
			store.TraceRecipient{Address: fmt.Sprintf("user%d@example.org", i), Account: id})
	}
	return d
}

// promiseOnly runs the first step of a delivery and none of the others, as if
// the program had died then.
func promiseOnly(t testing.TB, s *Store, d *store.Delivery) *delivery {
	t.Helper()
	job := &delivery{s: s, Delivery: d, blob: mail.BlobID(s.ids.next()), traceID: s.ids.next()}
	results := make([]store.Result, len(d.Targets))
	err := s.committer.Submit(&commit.Op{Promise: commit.InVolume, Weight: targetsPerOp,
		Run: s.in(func(t *tx) error { return job.run(t, results, targetsPerOp) })})
	if err != nil {
		t.Fatal(err)
	}
	return job
}

// once checks that everybody has the message exactly once.
func once(t testing.TB, s *Store, ids []mail.AccountID, body string) {
	t.Helper()
	for _, id := range ids {
		want := fmt.Sprintf("To: %d\r\n%s", id, body)
		if got, err := storetest.Read(s, id); err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("account %d: got %d messages, %v; want one", id, len(got), err)
		}
	}
	storetest.Clean(t, s)
}

// outcomes counts those of the letter, of whom its trace tells.
func outcomes(t testing.TB, s *Store) map[string]int {
	t.Helper()
	traces, err := s.Traces(t.Context(), store.TraceQuery{ID: "L1"})
	if err != nil || len(traces) != 1 {
		t.Fatalf("got %d traces, %v; want one", len(traces), err)
	}
	n := map[string]int{}
	for _, r := range traces[0].Recipients {
		n[r.Outcome]++
	}
	return n
}

// A delivery to very many dies after each of its steps: everybody has it once
// afterwards, in the directory that died, in one whose database lost all
// that was not flushed, and in one whose database was deleted.
func TestLongListDiesBetweenSteps(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, quietly)
	ids := addUsers(t, s, 3*targetsPerOp+7)
	before := t.TempDir()
	copyTree(t, dir, before)
	const body = "for everybody"
	job := promiseOnly(t, s, letter(t, s, body, ids))
	var died []string
	for part := range 4 {
		at := t.TempDir()
		copyTree(t, dir, at)
		died = append(died, at)
		if err := s.inStep(finishPart(job.blob, part, 1, []byte("p"), nil)); err != nil {
			t.Fatal(err)
		}
	}
	if got := outcomes(t, s); got["delivered"] != (len(ids)+3)/4 {
		t.Errorf("got outcomes %v", got)
	}
	once(t, s, ids, body)
	s.Close()
	// The record alone, without any of the rows.
	replayed := t.TempDir()
	copyTree(t, died[0], replayed)
	useDatabase(t, before, replayed)
	state, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i, at := range append(died, replayed) {
		if err := os.WriteFile(filepath.Join(at, "state.json"), state, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Run(fmt.Sprint("death ", i), func(t *testing.T) {
			s := openTest(t, at, quietly)
			once(t, s, ids, body)
			if got := outcomes(t, s); got["delivered"] != (len(ids)+3)/4 {
				t.Errorf("got outcomes %v", got)
			}
			s.Close()
			cfg := Config{Path: filepath.Join(at, "postrider.db"), Blobs: openVolumes(t, at),
				Snapshot: filepath.Join(at, "state.json")}
			if _, err := Rebuild(context.Background(), cfg, nil); err != nil {
				t.Fatal(err)
			}
			cfg.Blobs.Close()
			s = openTest(t, at, quietly)
			defer s.Close()
			once(t, s, ids, body)
		})
	}
}

// Rows that are larger than usual make a step smaller; one is taken always.
func TestStep(t *testing.T) {
	for _, c := range []struct{ parsed, prefix, n, taken, weight int }{
		{500, 400, 0, 0, 0},
		{500, 400, 7, 7, 7},
		{500, 400, 1000, 128, 128},
		{60 << 10, 400, 1000, 8, 128},
		{500, 16 << 10, 1000, 25, 125},
		{64 << 20, 400, 1000, 1, 1 + 16384},
	} {
		prefix := make([]byte, c.prefix)
		taken, weight := step(c.parsed, c.n, func(int) []byte { return prefix })
		if taken != c.taken || weight != c.weight {
			t.Errorf("%+v: got %d, %d", c, taken, weight)
		}
	}
}

// A later step of a long list fails: the sender hears that it was taken, and
// the rest is delivered when it can be.
func TestLongListGoesOnLater(t *testing.T) {
	s := openTest(t, t.TempDir(), quietly)
	defer s.Close()
	ids := addUsers(t, s, 2*targetsPerOp)
	// Nothing can be deleted from pending for a while.
	conn := func(query string) {
		t.Helper()
		s.committer.Pause(func() {
			if _, err := s.committer.Conn().ExecContext(t.Context(), query); err != nil {
				t.Error(err)
			}
		})
	}
	conn(`CREATE TRIGGER stuck BEFORE DELETE ON pending BEGIN SELECT RAISE(ABORT, 'stuck'); END`)
	results, err := s.Deliver(t.Context(), letter(t, s, "x", ids))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil || r.Email == 0 || (r.UID == 0) != (i >= targetsPerOp) {
			t.Fatalf("target %d: got %+v", i, r)
		}
	}
	if got := outcomes(t, s); got["delivered"] != targetsPerOp/4 || got[promised] != targetsPerOp/4 {
		t.Errorf("got outcomes %v, want half delivered", got)
	}
	storetest.Clean(t, s)
	conn(`DROP TRIGGER stuck`)
	for range 2 { // the second time there is nothing left to do
		if _, err := s.deliverDue(t.Context(), s.inStep); err != nil {
			t.Fatal(err)
		}
	}
	once(t, s, ids, "x")
}

// A held message is in no mailbox before its time, is not swept away
// meanwhile, and survives a start, a replay and a rebuild.
func TestHold(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	clock := func(c *Config) {
		c.Quiet, c.OrphanKeep, c.Now = true, 1, func() time.Time { return now }
	}
	s := openTest(t, dir, clock)
	ids := addUsers(t, s, 3)
	before := t.TempDir()
	copyTree(t, dir, before)
	d := letter(t, s, "later", ids)
	d.Hold = now.Add(time.Hour)
	results, err := s.Deliver(t.Context(), d)
	if err != nil || len(results) != 3 || results[0].UID != 0 || results[0].Email == 0 {
		t.Fatalf("got %+v, %v", results, err)
	}
	replayed := t.TempDir()
	copyTree(t, dir, replayed)
	useDatabase(t, before, replayed)
	held := func(s *Store) {
		t.Helper()
		next, err := s.deliverDue(t.Context(), s.inStep)
		if err != nil || !next.Equal(d.Hold.Truncate(time.Microsecond)) {
			t.Errorf("next is due at %v, %v; want %v", next, err, d.Hold)
		}
		if err := s.Tidy(t.Context()); err != nil {
			t.Error(err)
		}
		for _, id := range ids {
			if got, err := storetest.Read(s, id); err != nil || len(got) != 0 {
				t.Errorf("before its time: got %q, %v", got, err)
			}
		}
		if got := outcomes(t, s); got[promised] != 3 {
			t.Errorf("got outcomes %v", got)
		}
		storetest.Clean(t, s)
	}
	held(s)
	s.Close()
	for _, at := range []string{dir, replayed} {
		s := openTest(t, at, clock)
		held(s)
		// One account is disabled meanwhile, one removed.
		a, err := s.Account(t.Context(), mail.Address{Local: "user1", Domain: "example.org"})
		if err != nil {
			t.Fatal(err)
		}
		off := *a
		off.Enabled, off.Quota = false, 1
		if err := s.WriteAccounts(t.Context(), []store.AccountWrite{{Account: off},
			{Account: store.Account{ID: ids[2]}, Remove: true}}); err != nil {
			t.Fatal(err)
		}
		now = now.Add(2 * time.Hour)
		if next, err := s.deliverDue(t.Context(), s.inStep); err != nil || !next.IsZero() {
			t.Errorf("afterwards: %v, %v", next, err)
		}
		once(t, s, ids[:2], "later")
		if got := outcomes(t, s); got["delivered"] != 2 || got["refused"] != 1 {
			t.Errorf("got outcomes %v", got)
		}
		s.Close()
		now = now.Add(-2 * time.Hour)
	}
}

// Nobody needs to ask: the keeper delivers at the hour, and hears of a message
// that is due before all others.
func TestKeeperDeliversHeld(t *testing.T) {
	s := openTest(t, t.TempDir(), nil)
	defer s.Close()
	ids := addUsers(t, s, 1)
	events, cancel := s.Subscribe(ids[0])
	defer cancel()
	for _, wait := range []time.Duration{time.Hour, 50 * time.Millisecond} {
		d := letter(t, s, "later", ids)
		d.Hold = time.Now().Add(wait)
		if _, err := s.Deliver(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-events:
	case <-time.After(10 * time.Second):
		t.Fatal("the message was not delivered")
	}
	once(t, s, ids, "later")
}

// A part that cannot be read any more waits; the others are delivered.
func TestDamagedPart(t *testing.T) {
	s := openTest(t, t.TempDir(), quietly)
	defer s.Close()
	ids := addUsers(t, s, 3*targetsPerOp)
	promiseOnly(t, s, letter(t, s, "x", ids))
	s.committer.Pause(func() {
		if _, err := s.committer.Conn().ExecContext(t.Context(),
			`UPDATE pending SET data = x'00' WHERE part = 0`); err != nil {
			t.Error(err)
		}
	})
	next, err := s.deliverDue(t.Context(), s.inStep)
	if err != nil || next.Before(time.Now().Add(damagedWait/2)) {
		t.Errorf("got %v, %v", next, err)
	}
	once(t, s, ids[:targetsPerOp], "x")
	once(t, s, ids[2*targetsPerOp:], "x")
	// Without its body nothing can go on; repair says so and ends it.
	s.committer.Pause(func() {
		if _, err := s.committer.Conn().ExecContext(t.Context(),
			`UPDATE pending SET blob = blob + 1`); err != nil {
			t.Error(err)
		}
	})

	problems, err := s.Check(t.Context(), true, nil)
	if err != nil || len(problems) != 1 || !strings.Contains(problems[0].What, "has no body") {
		t.Errorf("got %+v, %v", problems, err)
	}
	storetest.Clean(t, s)
}
