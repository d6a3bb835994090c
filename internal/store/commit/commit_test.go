package commit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"log/slog"

	"postrider/internal/blob/blobtest"
	"postrider/internal/mail"
	"postrider/internal/store/sqldb"
)

var schema = [][]string{{
	`CREATE TABLE state (name TEXT PRIMARY KEY, value {int} NOT NULL) {clustered}`,
	`INSERT INTO state VALUES ('batch', 0)`,
	`CREATE TABLE fact (id {id}, text TEXT NOT NULL)`,
}}

// An owner counts what it is told.
type owner struct {
	mu                          sync.Mutex
	begun, rolledBack, comitted int
	flush                       error
}

func (o *owner) Begin(*Tx) { o.count(&o.begun) }

func (o *owner) Flush(*Tx, bool) error { return o.flush }

func (o *owner) Rollback(*Tx) { o.count(&o.rolledBack) }

func (o *owner) Committed(*Tx) { o.count(&o.comitted) }

func (o *owner) count(n *int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	*n++
}

func open(t *testing.T, o *owner) *Committer {
	t.Helper()
	c, err := Open(context.Background(), Config{Path: filepath.Join(t.TempDir(), "db"), CacheKB: 1000,
		Schema: schema, Dialect: sqldb.SQLite{}, Blobs: blobtest.NewFake(1), Owner: o,
		Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func started(t *testing.T) (*Committer, *owner) {
	t.Helper()
	o := new(owner)
	c := open(t, o)
	c.Start()
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, o
}

func write(text string) func(*Tx) error {
	return func(t *Tx) error { return t.Exec(`INSERT INTO fact (text) VALUES ($1)`, text) }
}

// facts reads what is committed, between two batches.
func facts(t *testing.T, c *Committer) (all []string) {
	t.Helper()
	c.Pause(func() {
		rows, err := c.conn.QueryContext(context.Background(), `SELECT text FROM fact ORDER BY text`)
		if err != nil {
			t.Error(err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			var text string
			if err := rows.Scan(&text); err != nil {
				t.Error(err)
			}
			all = append(all, text)
		}
	})
	return all
}

// together has operations served in one batch and gives their errors.
func together(c *Committer, runs ...func(*Tx) error) []error {
	ops := make([]*Op, len(runs))
	for i, run := range runs {
		ops[i] = &Op{Promise: InDatabase, Run: run, done: make(chan struct{})}
	}
	c.Pause(func() { c.serve(ops) })
	errs := make([]error, len(ops))
	for i, o := range ops {
		errs[i] = o.err
	}
	return errs
}

// An operation that fails takes nothing with it but itself.
func TestFailsAlone(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		name string
		bad  func(*Tx) error
		runs int // how often the batch runs
	}{
		{"refused before it wrote", func(*Tx) error {
			return mail.Errorf(mail.OverQuota, "full")
		}, 1},
		{"after it wrote", func(t *Tx) error {
			return errors.Join(t.Exec(`UPDATE fact SET text = 'half done'`), broken)
		}, 2},
		{"after it changed memory", func(t *Tx) error { t.Touch(); return broken }, 2},
		{"with a statement of its own", func(t *Tx) error {
			return t.Exec(`INSERT INTO fact (text) VALUES (NULL)`)
		}, 2},
		{"and the engine has rolled back", func(t *Tx) error {
			t.Conn().ExecContext(t.Ctx, "ROLLBACK")
			return errors.New("disk I/O error")
		}, 2},
		{"with a statement that is none", func(t *Tx) error {
			return errors.Join(t.Row(`SELECT x FROM nowhere`).Scan(new(int)), broken)
		}, 2},
		{"in what it left for later", func(t *Tx) error {
			t.Later(func() error { return broken })
			return nil
		}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, o := started(t)
			after := 0
			errs := together(c, write("a"), test.bad, func(t *Tx) error {
				t.After(func() { after++ })
				t.Later(func() error { return write("b")(t) })
				return nil
			})
			if errs[0] != nil || errs[1] == nil || errs[2] != nil {
				t.Errorf("got errors %v, want one in the middle", errs)
			}
			if got := facts(t, c); len(got) != 2 || got[0] != "a" || got[1] != "b" {
				t.Errorf("got %q, want a and b", got)
			}
			if o.begun != test.runs || o.rolledBack != test.runs-1 || o.comitted != 1 || after != 1 {
				t.Errorf("got %+v, after %d; want %d runs", o, after, test.runs)
			}
		})
	}
}

// When a batch fails as a whole everybody hears it, nothing holds, and the
// next one is served.
func TestBatchFails(t *testing.T) {
	c, o := started(t)
	o.flush = errors.New("no")
	for _, err := range together(c, write("a"), write("b")) {
		if mail.KindOf(err) != mail.Temporary {
			t.Errorf("got %v, want a temporary failure", err)
		}
	}
	o.flush = nil
	if err := c.Do(Volatile, false, write("c")); err != nil {
		t.Error(err)
	}
	if got := facts(t, c); len(got) != 1 || got[0] != "c" {
		t.Errorf("got %q, want c", got)
	}
	if c.Failure() != nil {
		t.Errorf("the committer has stopped: %v", c.Failure())
	}
}

// Alone works before Start, and what fails leaves nothing.
func TestAlone(t *testing.T) {
	c := open(t, new(owner))
	ctx := context.Background()
	later := func(run func(*Tx) error) func(*Tx) error {
		return func(t *Tx) error { t.Later(func() error { return run(t) }); return nil }
	}
	if err := c.Alone(ctx, 41, later(write("a"))); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	err := c.Alone(ctx, 50, func(t *Tx) error { return errors.Join(write("b")(t), broken) })
	if !errors.Is(err, broken) || c.Batch() != 41 {
		t.Errorf("got %v, batch %d; want 41 after a failure", err, c.Batch())
	}
	err = c.Alone(ctx, 50, later(func(*Tx) error { return broken }))
	if !errors.Is(err, broken) || c.Batch() != 41 {
		t.Errorf("later: got %v, batch %d; want 41 after a failure", err, c.Batch())
	}
	c.Start()
	if got := facts(t, c); len(got) != 1 {
		t.Errorf("got %q, want a", got)
	}
	if err := c.Do(InDatabase, false, write("c")); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Do(InDatabase, false, write("d")); mail.KindOf(err) != mail.Temporary {
		t.Errorf("after Close: got %v", err)
	}
}

// Who waits for an answer is served before bulk work, which does not starve.
func TestLanes(t *testing.T) {
	c, _ := started(t)
	var mu sync.Mutex
	var order []bool
	var group sync.WaitGroup
	held, release := make(chan struct{}), make(chan struct{})
	go c.Pause(func() { close(held); <-release })
	<-held
	note := func(bulk bool) {
		group.Go(func() {
			c.Do(Volatile, bulk, func(*Tx) error {
				mu.Lock()
				order = append(order, bulk)
				mu.Unlock()
				return nil
			})
		})
	}
	for range 3 * maxBulk {
		note(true)
	}
	for range 10 {
		note(false)
	}
	for c.Waiting() < 3*maxBulk+10 {
		time.Sleep(time.Millisecond)
	}
	close(release)
	group.Wait()
	for i, bulk := range order {
		if bulk != (i >= 10) {
			t.Fatalf("got the order %v, want the bulk operations last", order)
		}
	}
}

// The log begins anew while there is a reader at every moment.
func TestLogIsBounded(t *testing.T) {
	c, _ := started(t)
	c.logs.maxLog = 1 << 20
	read, err := c.cfg.Dialect.Open(c.cfg.Path, 3, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for i := range 3 {
		group.Go(func() {
			time.Sleep(time.Duration(i) * time.Millisecond)
			for ctx.Err() == nil {
				x, err := read.BeginTx(context.Background(), nil)
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
	text := string(make([]byte, 10_000))
	for range 40 {
		for range 12 {
			if err := c.Do(Volatile, false, write(text)); err != nil {
				t.Fatal(err)
			}
		}
		c.checkpoint(true)
	}
	cancel()
	group.Wait()
	info, err := os.Stat(c.cfg.Dialect.LogFile(c.cfg.Path))
	if err != nil || info.Size() > 3<<20 {
		t.Errorf("the log has %d bytes, %v; want about %d", info.Size(), err, c.logs.maxLog)
	}
}

// A committer at rest gives its cache back and goes on as before.
func TestShrink(t *testing.T) {
	c, _ := started(t)
	cache := func() (used int) {
		t.Helper()
		c.Pause(func() {
			if err := c.conn.QueryRowContext(t.Context(), "PRAGMA cache_size").Scan(&used); err != nil {
				t.Error(err)
			}
		})
		return used
	}
	before := cache()
	for range 3 {
		if err := c.Do(InDatabase, false, write("x")); err != nil {
			t.Fatal(err)
		}
		c.shrink(t.Context())
	}
	if got := cache(); got != before {
		t.Errorf("the cache may hold %d now, want %d", got, before)
	}
}
