package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// A dialect is what two SQL engines cannot share.
type dialect interface {
	// types are pairs of words in braces and their meaning in upgrades.
	types() []string
	// open opens a pool of connections; the writer's has one.
	open(path string, conns int, cacheKB int) (*sql.DB, error)
	// sync chooses, before a transaction, whether its commit is flushed.
	sync(ctx context.Context, c *sql.Conn, full bool) error
	// checkpoint moves what was committed into the main file and reports
	// whether everything committed before is now durable. With restart it
	// makes the log start anew, which may wait for readers.
	checkpoint(ctx context.Context, c *sql.Conn, restart bool) (all bool, err error)
	// full says whether err tells of a full disk, after which a rollback
	// leaves everything as it was.
	full(err error) bool
	// verify asks the engine itself whether its files are sound.
	verify(ctx context.Context, c *sql.Conn) error
}

// sqliteDialect keeps the database in one file with a write-ahead log.
type sqliteDialect struct{}

func (sqliteDialect) types() []string {
	return []string{
		"{int}", "INTEGER", "{id}", "INTEGER PRIMARY KEY", "{blob}", "BLOB",
		"{clustered}", "WITHOUT ROWID", "{emailid}", "INTEGER PRIMARY KEY", "{emailkey}", "",
	}
}

func (sqliteDialect) open(path string, conns, cacheKB int) (*sql.DB, error) {
	q := url.Values{"_pragma": {
		"journal_mode(WAL)", "synchronous(NORMAL)", "wal_autocheckpoint(0)",
		"busy_timeout(10000)", "foreign_keys(OFF)", "fullfsync(1)",
		// A confined server can open no temporary files.
		"temp_store(MEMORY)",
		fmt.Sprintf("cache_size(-%d)", cacheKB),
	}}
	escaped := (&url.URL{Path: path}).EscapedPath()
	db, err := sql.Open("sqlite", "file:"+escaped+"?"+q.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

func (sqliteDialect) sync(ctx context.Context, c *sql.Conn, full bool) error {
	mode := "PRAGMA synchronous=NORMAL"
	if full {
		mode = "PRAGMA synchronous=FULL"
	}
	_, err := c.ExecContext(ctx, mode)
	return err
}

func (sqliteDialect) checkpoint(ctx context.Context, c *sql.Conn, restart bool) (bool, error) {
	mode := "PRAGMA wal_checkpoint(PASSIVE)"
	if restart {
		mode = "PRAGMA wal_checkpoint(RESTART)"
	}
	var busy, log, done int
	err := c.QueryRowContext(ctx, mode).Scan(&busy, &log, &done)
	return busy == 0 && log == done, err
}

func (sqliteDialect) full(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == sqlite3.SQLITE_FULL
}

func (sqliteDialect) verify(ctx context.Context, c *sql.Conn) error {
	var answer string
	if err := c.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&answer); err != nil {
		return err
	}
	if answer != "ok" {
		return errors.New(answer)
	}
	return nil
}
