// Package sqlstore keeps Postrider's rows in a SQL database: SQLite for one
// machine; what another engine needs differently stands in its dialect file.
//
// All writers go through one committer, which serves whoever waits in one
// transaction: it runs their operations, flushes the volumes that hold the
// bodies and the facts the rows need, and then commits. Readers have
// connections of their own and see committed rows only.
//
// Locking: Store.mu guards the pending traces and nothing else is taken
// under it; directory.mu and hub.mu likewise. The committer's goroutine owns
// its connection, statements and counters.
package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"postrider/internal/blob"
	"postrider/internal/mail"
	"postrider/internal/store"
)

// A Config says where a store is and what it works with.
type Config struct {
	Path  string     // of the database file
	Blobs blob.Store // closed by Close
	Log   *slog.Logger
	Now   func() time.Time // nil: time.Now
	// Reparse makes the parsed form of a body anew, when rows are made
	// from volumes. Nil leaves it empty.
	Reparse func(r io.ReaderAt, size int64) (format int, parsed []byte)
	// Fatal is told, once, that the database cannot be written any more;
	// the process should stop and start again, which recovers.
	Fatal func(error)
	// AcceptRestore serves a database that is older than its volumes, after
	// taking in what the volumes have; every mailbox gets a new
	// UIDVALIDITY.
	AcceptRestore bool
	// TraceKeep is how long traces are kept; 0 is for ever.
	TraceKeep func() time.Duration
	// Snapshot is a file that accounts, domains and settings are written to
	// after every change of them, so that check --repair can bring them
	// back. Empty: none.
	Snapshot string
	// OrphanKeep is how long a body without messages stays; 0 is 24 hours.
	OrphanKeep time.Duration
	// Quiet switches the background work off, for tests and short commands.
	Quiet bool
}

// A Store implements store.Store.
type Store struct {
	cfg       Config
	dialect   dialect
	blobs     blob.Store
	log       *slog.Logger
	now       func() time.Time
	fatal     func(error)
	write     *sql.DB
	read      *sql.DB
	committer *committer
	ids       idSource
	directory directory
	hub       hub
	space     *spaceGuard
	keeper    keeper
	unowned   int64 // messages of nobody, found at start
	maxLog    int64 // bytes

	mu      sync.Mutex
	traces  []pendingTrace
	fetched map[mail.AccountID]mail.UID
}

var _ store.Store = (*Store)(nil)

const (
	readers       = 4
	writerCacheKB = 16 << 10
	minimumFree   = 1 << 20 // bytes without which the database cannot be opened
	readerCacheKB = 2 << 10
)

// Open opens the database, brings its schema up to date, takes in what the
// volumes have and it has not, and begins to serve. Kind Conflict: the
// schema is newer than this program. Kind Damaged: the database is older
// than its volumes.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := s.recover(ctx); err != nil {
		s.closeDatabases()
		return nil, s.explain(err)
	}
	s.start()
	return s, nil
}

// open is Open without recovery and without goroutines.
func open(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{cfg: cfg, dialect: sqliteDialect{}, blobs: cfg.Blobs, log: cfg.Log, now: cfg.Now,
		fatal: cfg.Fatal, maxLog: maxLogBytes, space: newSpaceGuard(filepath.Dir(cfg.Path))}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	// Made here and not by the engine, so that nobody else can ever read it
	// or the files that take its mode.
	f, err := os.OpenFile(cfg.Path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	fresh := err == nil
	if fresh {
		f.Close()
	} else if !os.IsExist(err) {
		return nil, err
	}
	if err := s.connect(ctx); err != nil {
		s.closeDatabases()
		return nil, s.explain(fmt.Errorf("database %s: %w", cfg.Path, err))
	}
	if fresh {
		if err := syncDir(filepath.Dir(cfg.Path)); err != nil {
			s.closeDatabases()
			return nil, err
		}
	}
	return s, nil
}

// explain says plainly that the disk is full: the engine has several names
// for it.
func (s *Store) explain(err error) error {
	free, _, unknown := freeSpace(filepath.Dir(s.cfg.Path))
	if s.dialect.full(err) || unknown == nil && free < minimumFree {
		return &mail.Error{Kind: mail.Full, Text: "the disk is full: make room and start again", Err: err}
	}
	return err
}

func (s *Store) connect(ctx context.Context) (err error) {
	if s.write, err = s.dialect.open(s.cfg.Path, 1, writerCacheKB); err != nil {
		return err
	}
	conn, err := s.write.Conn(ctx)
	if err != nil {
		return err
	}
	if err := migrate(ctx, conn, s.dialect); err != nil {
		return err
	}
	if s.read, err = s.dialect.open(s.cfg.Path, readers, readerCacheKB); err != nil {
		return err
	}
	c := &committer{s: s, conn: conn, stmts: map[string]*sql.Stmt{}, counters: newCounterCache(),
		finished: make(chan struct{})}
	c.wake = sync.NewCond(&c.mu)
	s.committer = c
	s.directory.init(s)
	s.hub.init()
	var batch, last int64
	row := conn.QueryRowContext(ctx, `SELECT value FROM state WHERE name = 'batch'`)
	if err := row.Scan(&batch); err != nil {
		return err
	}
	c.batch, c.held = uint64(batch), uint64(batch)
	err = conn.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) FROM (
		SELECT max(id) AS id FROM email UNION ALL SELECT max(id) FROM blob
		UNION ALL SELECT max(id) FROM trace
		UNION ALL SELECT value FROM state WHERE name = 'id') AS used`).Scan(&last)
	s.ids.start(last, s.now)
	return err
}

// start begins to serve.
func (s *Store) start() {
	go s.committer.loop()
	if !s.cfg.Quiet {
		s.keeper.start(s)
	}
}

// Close serves what is waiting, makes everything durable and closes the
// database and the blob store.
func (s *Store) Close() error {
	s.keeper.stop()
	var first error
	keep := func(err error) {
		if first == nil && err != nil {
			first = err
		}
	}
	if s.committer.failure() == nil {
		keep(s.flushTraces())
		keep(s.flushFetched())
		keep(s.settle())
	}
	s.committer.stop()
	keep(s.writeSnapshot(context.Background()))
	if s.committer.failure() == nil {
		s.lastCheckpoint()
	}
	s.hub.close()
	keep(s.closeDatabases())
	keep(s.blobs.Close())
	return first
}

// settle makes every commit so far durable.
func (s *Store) settle() error {
	return s.committer.do(inDatabase, false, func(*tx) error { return nil })
}

func (s *Store) closeDatabases() error {
	var first error
	for _, db := range []*sql.DB{s.read, s.write} {
		if db == nil {
			continue
		}
		if s.committer != nil && db == s.write {
			for _, st := range s.committer.stmts {
				st.Close()
			}
			s.committer.conn.Close()
		}
		if err := db.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Blobs implements store.Store.
func (s *Store) Blobs() blob.Store { return s.blobs }

// committed announces a batch: first to caches, then to listeners.
func (s *Store) committed(t *tx) {
	for _, f := range t.after {
		f()
	}
	for id, modseq := range t.events {
		s.hub.publish(store.Event{Account: id, ModSeq: modseq})
	}
}

// An idSource draws rising numbers: milliseconds since 1970, then 20 bits
// that count within one. They stay unique when the clock goes back, because
// each is above the last.
type idSource struct {
	last atomic.Int64
	now  func() time.Time
}

func (i *idSource) start(last int64, now func() time.Time) {
	i.last.Store(last)
	i.now = now
}

func (i *idSource) next() int64 {
	base := i.now().UnixMilli() << 20
	for {
		last := i.last.Load()
		id := max(last+1, base)
		if i.last.CompareAndSwap(last, id) {
			return id
		}
	}
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return ignoreUnsupported(f.Sync())
}

// errNotFound is a shorthand.
func notFound(what string) error { return mail.Errorf(mail.NotFound, what) }
