// Package sqlstore keeps Postrider's rows in a SQL database: SQLite for one
// machine; what another engine needs differently stands in its dialect file.
//
// All writers go through one committer, which serves whoever waits in one
// transaction (package commit): it runs their operations, flushes the volumes
// that hold the bodies and the facts the rows need, and then commits. Readers have
// connections of their own and see committed rows only.
//
// Locking: Store.mu guards what was fetched and nothing else is taken
// under it; directory.mu and hub.mu likewise. The committer's goroutine owns
// its connection, statements and counters.
package sqlstore

import (
	"cmp"
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
	"postrider/internal/durable"
	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/commit"
	"postrider/internal/store/hub"
	"postrider/internal/store/room"
	"postrider/internal/store/sqldb"
	"postrider/internal/store/staged"
	"postrider/internal/store/story"
	"postrider/internal/store/tidy"
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
	// AcceptRestore serves a database that is older than its volumes or the
	// snapshot, after taking in what they have more; every mailbox gets a
	// new UIDVALIDITY.
	AcceptRestore bool
	// AcceptAbsent serves a database whose volumes are not all there: their
	// messages are lost.
	AcceptAbsent bool
	// TraceKeep is how long traces are kept; 0 is for ever.
	TraceKeep func() time.Duration
	// TraceMax is how many bytes of traces are kept; 0 is no limit.
	TraceMax func() int64
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
	dialect   sqldb.Dialect
	blobs     blob.Store
	log       *slog.Logger
	now       func() time.Time
	fatal     func(error)
	read      *sql.DB
	committer *commit.Committer
	tx        *tx
	ids       idSource
	directory directory
	hub       *hub.Hub
	space     *room.Guard
	keeper    keeper
	broom     *tidy.Broom
	staged    *staged.Stage
	unowned   int64        // messages of nobody, found at start
	traced    atomic.Int64 // bytes of traces written since the last look at them

	traces story.Queue

	mu      sync.Mutex
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
// than its volumes or the snapshot, or volumes with mail are missing (then
// with audit.ErrAbsent).
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
	s := &Store{cfg: cfg, dialect: sqldb.SQLite{}, blobs: cfg.Blobs, log: cfg.Log, now: cfg.Now,
		fatal: cfg.Fatal, space: room.New(filepath.Dir(cfg.Path))}
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
		if err := durable.SyncDir(filepath.Dir(cfg.Path)); err != nil {
			s.closeDatabases()
			return nil, err
		}
	}
	return s, nil
}

// explain says plainly that the disk is full: the engine has several names
// for it.
func (s *Store) explain(err error) error {
	free, _, unknown := room.Free(filepath.Dir(s.cfg.Path))
	if s.dialect.Full(err) || unknown == nil && free < minimumFree {
		return &mail.Error{Kind: mail.Full, Text: "the disk is full: make room and start again", Err: err}
	}
	return err
}

func (s *Store) connect(ctx context.Context) (err error) {
	s.tx = &tx{s: s, cached: newCounterCache()}
	s.committer, err = commit.Open(ctx, commit.Config{Path: s.cfg.Path, CacheKB: writerCacheKB,
		Schema: upgrades, Dialect: s.dialect, Blobs: s.blobs, Owner: s.tx, Log: s.log, Now: s.now,
		Fatal: s.fatal})
	if err != nil {
		return err
	}
	if s.read, err = s.dialect.Open(s.cfg.Path, readers, readerCacheKB); err != nil {
		return err
	}
	s.broom = tidy.New(tidy.Config{Committer: s.committer, Read: s.read, Blobs: s.blobs, Log: s.log,
		Now: s.now, OrphanKeep: s.cfg.OrphanKeep, TraceKeep: s.cfg.TraceKeep,
		TraceMax: s.cfg.TraceMax})
	s.staged = staged.New(staged.Config{Committer: s.committer, Read: s.read, Log: s.log,
		Number: s.ids.next, Apply: func(_ *commit.Tx, writes []store.AccountWrite) error {
			return s.tx.writeAccounts(s, writes)
		}})
	s.directory.init(s)
	s.hub = hub.New()
	var last int64
	err = s.committer.Conn().QueryRowContext(ctx, `SELECT coalesce(max(id), 0) FROM (
		SELECT max(id) AS id FROM email UNION ALL SELECT max(id) FROM blob
		UNION ALL SELECT max(id) FROM trace UNION ALL SELECT max(last) FROM pending
		UNION ALL SELECT value FROM state WHERE name = 'id') AS used`).Scan(&last)
	s.ids.start(last, s.now)
	return err
}

// start begins to serve.
func (s *Store) start() {
	s.committer.Start()
	if !s.cfg.Quiet {
		s.committer.KeepCheckpoints()
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
	if s.committer.Failure() == nil {
		keep(s.flushTraces())
		keep(s.flushFetched())
		keep(s.settle())
	}
	s.committer.Stop()
	keep(s.writeSnapshot(context.Background()))
	s.hub.Close()
	keep(s.closeDatabases())
	keep(s.blobs.Close())
	return first
}

// settle makes every commit so far durable.
func (s *Store) settle() error {
	return s.do(commit.InDatabase, false, func(*tx) error { return nil })
}

func (s *Store) closeDatabases() error {
	var first, second error
	if s.committer != nil {
		first = s.committer.Close()
	}
	if s.read != nil {
		second = s.read.Close()
	}
	return cmp.Or(first, second)
}

// Subscribe implements store.Store.
func (s *Store) Subscribe(a mail.AccountID) (<-chan store.Event, func()) {
	return s.hub.Subscribe(a)
}

// Blobs implements store.Store.
func (s *Store) Blobs() blob.Store { return s.blobs }

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

// errNotFound is a shorthand.
func notFound(what string) error { return mail.Errorf(mail.NotFound, what) }
