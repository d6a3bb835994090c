// Package commit is the group committer: the one writer of the database.
// Everybody hands it operations; it serves whoever is waiting in one
// transaction and one flush. Under load a hundred messages share a flush,
// alone a message waits for nobody.
//
// The order of a batch is what the store's promise rests on: run the
// operations, which also add records to the volumes; flush the volumes;
// COMMIT. Nobody sees a row, and no operation returns, before that.
//
// Locking: Committer.mu guards the queues; nothing else is taken under it.
// The loop's goroutine owns the connection, the statements and everything
// that a Tx gives access to.
package commit

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"postrider/internal/blob"
	"postrider/internal/mail"
	"postrider/internal/store/sqldb"
)

// A Promise says how much of an operation must be on disk before its caller
// hears of it.
type Promise uint8

const (
	// Volatile: nobody was promised anything; a crash of the machine may
	// take it back (leases).
	Volatile Promise = iota
	// InVolume: durable once the batch's volumes are flushed, because
	// start-up replays the records (deliveries).
	InVolume
	// InDatabase: the commit itself is flushed, and makes all earlier
	// commits durable too.
	InDatabase
)

// An Op is one writer's operation.
type Op struct {
	Promise Promise
	Weight  int  // how much it writes, in mailboxes that get a usual message
	Bulk    bool // served after those who wait for an answer
	// Run may be called more than once: a batch with a failed operation in
	// it is rolled back and run again without it.
	Run func(*Tx) error

	err  error
	done chan struct{}
}

// An Owner keeps in memory what its operations have learnt from rows. It is
// called on the committer's goroutine only.
type Owner interface {
	// Begin is called before the operations of a batch run, also when they
	// run again.
	Begin(t *Tx)
	// Flush writes what the operations have left in memory. Full tells that
	// the commit will be flushed.
	Flush(t *Tx, full bool) error
	// Rollback forgets what was learnt since Begin.
	Rollback(t *Tx)
	// Committed announces the batch, before its callers hear of it.
	Committed(t *Tx)
}

// Limits of a batch.
const (
	maxOps  = 256
	maxBulk = 4
	// maxWeight bounds what the deliveries of a batch write, so that messages
	// for very many do not hold everybody up: about 5 ms. One operation is
	// taken in any case.
	maxWeight = 384
)

// A Config says what a Committer works with.
type Config struct {
	Path    string // of the database
	CacheKB int    // of the writer's connection
	// Schema are the steps of sqldb.Migrate. They make a table state (name,
	// value) with a row named batch, which is the committer's.
	Schema  [][]string
	Dialect sqldb.Dialect
	Blobs   blob.Store
	Owner   Owner
	Log     *slog.Logger
	Now     func() time.Time
	// Fatal is told, once, that the database cannot be written any more.
	Fatal func(error)
}

// A Committer is the one writer. Do, Submit, Pause and Failure may be called
// concurrently.
type Committer struct {
	cfg  Config
	db   *sql.DB
	conn *sql.Conn
	logs checkpoints

	mu      sync.Mutex
	wake    *sync.Cond
	waiting []*Op
	later   []*Op    // bulk
	between []func() // to run between two batches
	started bool
	closed  bool
	failed  error // after a failed flush: nothing is served any more

	// The rest belongs to the loop's goroutine.
	stmts    map[string]*sql.Stmt
	batch    uint64
	held     uint64 // the last batch that the database holds: not one that failed
	durable  uint64 // the last one it holds durably
	full     bool   // the engine is set to flush commits
	mustFull bool   // the last batch failed: pass its number durably
	finished chan struct{}
}

// Open connects to the database and brings its schema up to date. Until
// Start only Alone and Conn may be used.
func Open(ctx context.Context, cfg Config) (*Committer, error) {
	c := &Committer{cfg: cfg, stmts: map[string]*sql.Stmt{}, finished: make(chan struct{})}
	c.wake = sync.NewCond(&c.mu)
	c.logs.init()
	var err error
	if c.db, err = cfg.Dialect.Open(cfg.Path, 1, cfg.CacheKB); err != nil {
		return nil, err
	}
	if c.conn, err = c.db.Conn(ctx); err != nil {
		c.db.Close()
		return nil, err
	}
	var batch int64
	if err = sqldb.Migrate(ctx, c.conn, cfg.Dialect, cfg.Schema); err == nil {
		err = c.conn.QueryRowContext(ctx, `SELECT value FROM state WHERE name = 'batch'`).Scan(&batch)
	}
	if err != nil {
		c.closeDatabase()
		return nil, err
	}
	c.batch, c.held = uint64(batch), uint64(batch)
	return c, nil
}

// Conn is the writer's connection, before Start and on the committer's
// goroutine.
func (c *Committer) Conn() *sql.Conn { return c.conn }

// Batch is the number of the last batch that the database holds, before
// Start.
func (c *Committer) Batch() uint64 { return c.held }

// Start begins to serve.
func (c *Committer) Start() {
	c.started = true
	go c.loop()
}

// Stop serves what is waiting and takes no more.
func (c *Committer) Stop() {
	c.logs.stop()
	if !c.started {
		return
	}
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.wake.Broadcast()
	<-c.finished
}

// Close stops, moves the log into the database and closes it. Before Start,
// or after a failure, it only closes.
func (c *Committer) Close() error {
	c.Stop()
	if c.started && c.Failure() == nil {
		c.lastCheckpoint()
	}
	return c.closeDatabase()
}

func (c *Committer) closeDatabase() error {
	for _, st := range c.stmts {
		st.Close()
	}
	c.conn.Close()
	return c.db.Close()
}

// Do hands an operation to the committer and waits until what it promises
// holds.
func (c *Committer) Do(p Promise, bulk bool, run func(*Tx) error) error {
	return c.Submit(&Op{Promise: p, Bulk: bulk, Run: run})
}

// Submit is Do for an operation that is made already. Errors that are not
// the operation's own are of kind Temporary or Full.
func (c *Committer) Submit(o *Op) error {
	o.done = make(chan struct{})
	c.mu.Lock()
	switch {
	case c.failed != nil:
		c.mu.Unlock()
		return stopped(c.failed)
	case c.closed:
		c.mu.Unlock()
		return mail.Errorf(mail.Temporary, "the store is closed")
	case o.Bulk:
		c.later = append(c.later, o)
	default:
		c.waiting = append(c.waiting, o)
	}
	c.mu.Unlock()
	c.wake.Signal()
	<-o.done
	return o.err
}

func stopped(err error) error {
	return &mail.Error{Kind: mail.Temporary, Text: "the store has stopped", Err: err}
}

// Pause runs f between two batches, on the committer's goroutine, and waits
// for it. It does nothing once the committer is closed or has failed.
func (c *Committer) Pause(f func()) {
	done := make(chan struct{})
	c.mu.Lock()
	if c.closed || c.failed != nil {
		c.mu.Unlock()
		return
	}
	c.between = append(c.between, func() { f(); close(done) })
	c.mu.Unlock()
	c.wake.Signal()
	<-done
}

// Waiting is how many operations wait, bulk ones included.
func (c *Committer) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting) + len(c.later)
}

// Failure is why the committer has stopped for good, or nil.
func (c *Committer) Failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// fail stops the committer for good: a flush of the database that failed
// cannot be repeated, only recovered from by opening anew.
func (c *Committer) fail(err error) {
	c.mu.Lock()
	c.failed = err
	c.mu.Unlock()
	c.cfg.Log.Error("the store stops: the database cannot be written", "error", err)
	if c.cfg.Fatal != nil {
		go c.cfg.Fatal(err)
	}
}

// Alone runs one operation before Start, flushed, in a batch with this
// number, which the database holds afterwards. It may add nothing to Blobs.
func (c *Committer) Alone(ctx context.Context, batch uint64, run func(*Tx) error) error {
	t := &Tx{c: c, Ctx: ctx, Now: c.cfg.Now(), Blobs: c.cfg.Blobs.Begin(0, 0)}
	c.cfg.Owner.Begin(t)
	if err := c.begin(ctx, true); err != nil {
		return err
	}
	err := run(t)
	for i := 0; err == nil && i < len(t.later); i++ {
		err = t.later[i].run()
	}
	if err == nil {
		err = t.finish(batch, true)
	}
	if err == nil {
		err = c.plain(ctx, "COMMIT")
	}
	if err != nil {
		c.rollback(t)
		return err
	}
	c.batch, c.held, c.durable = batch, batch, batch
	t.announce()
	return nil
}

// begin opens the transaction of a batch.
func (c *Committer) begin(ctx context.Context, full bool) error {
	if full != c.full {
		if err := c.cfg.Dialect.Synchronous(ctx, c.conn, full); err != nil {
			return err
		}
		c.full = full
	}
	return c.plain(ctx, c.cfg.Dialect.Begin())
}

// plain runs a statement of the transaction itself.
func (c *Committer) plain(ctx context.Context, query string) error {
	s, err := c.stmt(ctx, query)
	if err == nil {
		_, err = s.ExecContext(ctx)
	}
	return err
}

// rollback undoes the transaction and what memory had learnt from it.
func (c *Committer) rollback(t *Tx) {
	c.cfg.Owner.Rollback(t)
	// After some errors SQLite has rolled back already; then this one is
	// harmless, and BEGIN tells if it was not.
	c.conn.ExecContext(t.Ctx, "ROLLBACK")
}

// stmt prepares a statement once for the writer's connection. Queries are
// constants, so the map is bounded.
func (c *Committer) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
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

// number names a batch in an error.
func number(batch uint64, err error) error {
	return fmt.Errorf("commit of batch %d: %w", batch, err)
}
