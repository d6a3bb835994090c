package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"postrider/internal/blob"
	"postrider/internal/mail"
)

// A promise says how much of an operation must be on disk before its caller
// hears of it.
type promise uint8

const (
	// volatile: nobody was promised anything; a crash of the machine may
	// take it back (leases).
	volatile promise = iota
	// inVolume: durable once the batch's volumes are flushed, because
	// start-up replays the records (deliveries).
	inVolume
	// inDatabase: the commit itself is flushed, and makes all earlier
	// commits durable too.
	inDatabase
)

// An op is one writer's operation. Run may be called more than once: a batch
// with a failed operation in it is rolled back and run again without it.
type op struct {
	promise promise
	targets int  // mailboxes it delivers to
	bulk    bool // served after those who wait for an answer
	run     func(*tx) error
	err     error
	done    chan struct{}
}

// Limits of a batch.
const (
	maxBatchOps  = 256
	maxBatchBulk = 4
	// maxBatchTargets bounds the mailboxes that the deliveries of a batch
	// go to, so that messages for very many do not hold everybody up: about
	// 5 ms. One operation is taken in any case.
	maxBatchTargets = 384
)

// The committer is the one writer. Everybody hands it operations; it serves
// whoever is waiting in one transaction and one flush.
type committer struct {
	s    *Store
	conn *sql.Conn

	mu      sync.Mutex
	wake    *sync.Cond
	waiting []*op
	later   []*op    // bulk
	between []func() // to run between two batches
	closed  bool
	failed  error // after a failed flush: nothing is served any more

	// The rest belongs to the loop's goroutine.
	stmts    map[string]*sql.Stmt
	batch    uint64
	held     uint64 // the last batch that the database holds: not one that failed
	durable  uint64 // the last one it holds durably
	full     bool   // synchronous=FULL is set
	mustFull bool   // the last batch failed: pass its number durably
	counters *counterCache
	finished chan struct{}
}

// do hands an operation to the committer and waits until what it promises
// holds.
func (c *committer) do(p promise, bulk bool, run func(*tx) error) error {
	return c.submit(&op{promise: p, bulk: bulk, run: run, done: make(chan struct{})})
}

// submit is do for an operation that is made already.
func (c *committer) submit(o *op) error {
	c.mu.Lock()
	switch {
	case c.failed != nil:
		c.mu.Unlock()
		return &mail.Error{Kind: mail.Temporary, Text: "the store has stopped", Err: c.failed}
	case c.closed:
		c.mu.Unlock()
		return mail.Errorf(mail.Temporary, "the store is closed")
	case o.bulk:
		c.later = append(c.later, o)
	default:
		c.waiting = append(c.waiting, o)
	}
	c.mu.Unlock()
	c.wake.Signal()
	<-o.done
	return o.err
}

// loop serves batches until close.
func (c *committer) loop() {
	defer close(c.finished)
	for {
		ops, between := c.next()
		for _, f := range between {
			f()
		}
		switch {
		case len(ops) > 0:
			c.serve(ops)
		case len(between) == 0:
			return
		}
	}
}

// next waits for operations and takes as many as one batch may hold.
func (c *committer) next() (ops []*op, between []func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waiting)+len(c.later)+len(c.between) == 0 && !c.closed {
		c.wake.Wait()
	}
	between, c.between = c.between, nil
	ops, c.waiting = take(c.waiting, maxBatchOps)
	// One at least, so that nobody starves, whatever the load.
	var bulk []*op
	bulk, c.later = take(c.later, max(1, min(maxBatchBulk, maxBatchOps-len(ops))))
	ops = append(ops, bulk...)
	return ops, between
}

// take takes n operations at most, and no more than a batch's targets.
func take(from []*op, n int) (taken, rest []*op) {
	targets := 0
	for i, o := range from {
		targets += o.targets
		if i == n || i > 0 && targets > maxBatchTargets {
			return from[:i:i], from[i:]
		}
	}
	return from, nil
}

// serve runs a batch and tells each operation's caller.
func (c *committer) serve(ops []*op) {
	var t *tx
	if c.failure() == nil {
		t = c.commit(ops)
	}
	if err := c.failure(); err != nil {
		for _, o := range ops {
			o.err = &mail.Error{Kind: mail.Temporary, Text: "the store has stopped", Err: err}
		}
	} else {
		c.s.committed(t)
	}
	for _, o := range ops {
		close(o.done)
	}
}

// commit runs the operations in one transaction; those that fail after they
// have written are left out and the rest is run again. Each operation's err
// is set. The returned tx tells what is to be announced.
func (c *committer) commit(ops []*op) *tx {
	full := c.mustFull
	for _, o := range ops {
		full = full || o.promise == inDatabase
	}
	c.batch++
	live := append([]*op(nil), ops...)
	t := &tx{c: c, ctx: context.Background(), now: c.s.now(),
		blobs: c.s.blobs.Begin(c.batch, c.durable)}
	for {
		t.reset()
		bad, err := c.attempt(t, live, full)
		switch {
		case bad != nil:
			live = without(live, bad)
		case err != nil:
			c.abandon(live, err)
			t.reset()
			return t
		default:
			c.mustFull = false
			c.held = c.batch
			if full {
				c.durable = c.batch
			}
			c.s.keeper.wrote(t.writes)
			return t
		}
	}
}

// attempt runs the operations once. Bad is an operation that failed and left
// something behind; then, and on an error, everything is rolled back.
func (c *committer) attempt(t *tx, ops []*op, full bool) (bad *op, err error) {
	if err := c.begin(t.ctx, full); err != nil {
		return nil, err
	}
	for _, o := range ops {
		before := t.writes
		o.err = o.run(t)
		// After some errors of its own SQLite has rolled back already, and
		// what follows would be committed statement by statement.
		if o.err != nil && (t.writes != before || mail.KindOf(o.err) == mail.Internal) {
			c.rollback(t)
			return o, nil
		}
	}
	if err := t.finish(c.batch, full); err != nil {
		c.rollback(t)
		return nil, err
	}
	// The order that the promise rests on: volumes first, then the rows.
	if err := t.blobs.Sync(); err != nil {
		c.rollback(t)
		return nil, err
	}
	if err := c.plain(t.ctx, "COMMIT"); err != nil {
		c.rollback(t)
		if c.s.dialect.full(err) {
			// Nobody will hear 250 for these records, so no start may bring
			// them back. If even that fails, the next batch's number does it.
			t.blobs.Revoke()
			return nil, err
		}
		// Nobody knows whether the log holds this batch. The records stay,
		// for rows that the next start may find there.
		c.fail(fmt.Errorf("commit of batch %d: %w", c.batch, err))
		return nil, err
	}
	return nil, nil
}

func (c *committer) begin(ctx context.Context, full bool) error {
	if full != c.full {
		if err := c.s.dialect.sync(ctx, c.conn, full); err != nil {
			return err
		}
		c.full = full
	}
	return c.plain(ctx, c.s.dialect.begin())
}

// plain runs a statement of the transaction itself.
func (c *committer) plain(ctx context.Context, query string) error {
	s, err := c.stmt(ctx, query)
	if err == nil {
		_, err = s.ExecContext(ctx)
	}
	return err
}

// rollback undoes the transaction and what memory had learnt from it.
func (c *committer) rollback(t *tx) {
	c.counters.forget(t.touched)
	// After some errors SQLite has rolled back already; then this one is
	// harmless, and BEGIN tells if it was not.
	c.conn.ExecContext(t.ctx, "ROLLBACK")
}

// abandon fails every operation of a batch. The volumes may hold its
// records, so the next batch passes its number durably before anything else
// is confirmed: replay then knows that they were refused.
func (c *committer) abandon(ops []*op, err error) {
	c.mustFull = true
	c.s.log.Error("batch failed", "batch", c.batch, "operations", len(ops), "error", err)
	failure := &mail.Error{Kind: mail.Temporary, Text: "cannot store this now", Err: err}
	if mail.KindOf(err) == mail.Full || c.s.dialect.full(err) {
		failure = &mail.Error{Kind: mail.Full, Text: "the disk is full", Err: err}
	}
	for _, o := range ops {
		o.err = failure
	}
}

// fail stops the store for good: a flush of the database that failed cannot
// be repeated, only recovered from by opening anew.
func (c *committer) fail(err error) {
	c.mu.Lock()
	c.failed = err
	c.mu.Unlock()
	c.s.log.Error("the store stops: the database cannot be written", "error", err)
	if c.s.fatal != nil {
		go c.s.fatal(err)
	}
}

func (c *committer) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// stop ends the loop after what is waiting has been served.
func (c *committer) stop() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.wake.Broadcast()
	<-c.finished
}

func without(ops []*op, bad *op) []*op {
	var rest []*op
	for _, o := range ops {
		if o != bad {
			rest = append(rest, o)
		}
	}
	return rest
}

// A tx is what an operation works with.
type tx struct {
	c       *committer
	ctx     context.Context
	now     time.Time
	blobs   blob.Batch
	writes  int // what a rollback has to undo, in rows or in memory
	touched map[mail.AccountID]*counters
	events  map[mail.AccountID]mail.ModSeq
	after   []func() // run once the batch is committed
}

func (t *tx) reset() {
	t.blobs.Reset()
	t.writes = 0
	t.touched = nil
	t.events = nil
	t.after = t.after[:0]
}

// exec runs a writing statement.
func (t *tx) exec(query string, args ...any) error {
	s, err := t.c.stmt(t.ctx, query)
	if err != nil {
		return err
	}
	t.writes++
	_, err = s.ExecContext(t.ctx, args...)
	return err
}

// changed runs a writing statement and tells how many rows it touched.
func (t *tx) changed(query string, args ...any) (int64, error) {
	s, err := t.c.stmt(t.ctx, query)
	if err != nil {
		return 0, err
	}
	t.writes++
	r, err := s.ExecContext(t.ctx, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// row reads one row as the transaction sees it.
func (t *tx) row(query string, args ...any) *sql.Row {
	s, err := t.c.stmt(t.ctx, query)
	if err != nil {
		return t.c.conn.QueryRowContext(t.ctx, query, args...)
	}
	return s.QueryRowContext(t.ctx, args...)
}

// rows reads rows as the transaction sees them.
func (t *tx) rows(query string, args ...any) (*sql.Rows, error) {
	s, err := t.c.stmt(t.ctx, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(t.ctx, args...)
}

// stmt prepares a statement once for the writer's connection. Queries are
// constants, so the map is bounded.
func (c *committer) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := c.stmts[query]; s != nil {
		return s, nil
	}
	s, err := c.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	c.stmts[query] = s
	return s, nil
}

// finish writes the counters that changed and the batch's number. With full
// also the last id drawn: who deletes messages commits so, and their ids must
// not come again even if the clock is set back before the next start.
func (t *tx) finish(batch uint64, full bool) error {
	if err := t.flushCounters(); err != nil {
		return err
	}
	if full {
		err := t.exec(`UPDATE state SET value = $1 WHERE name = 'id' AND value < $1`,
			t.c.s.ids.last.Load())
		if err != nil {
			return err
		}
	}
	return t.exec(`UPDATE state SET value = $1 WHERE name = 'batch'`, int64(batch))
}
