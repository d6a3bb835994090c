package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// idleTime is how long a connection without work is kept.
const idleTime = time.Minute

// pageSize is SQLite's default, in bytes.
const pageSize = 4096

// SQLite keeps the database in one file with a write-ahead log. It
// implements Dialect.
type SQLite struct{}

var _ Dialect = SQLite{}

// Types implements Dialect.
func (SQLite) Types() []string {
	return []string{
		"{int}", "INTEGER", "{id}", "INTEGER PRIMARY KEY", "{blob}", "BLOB",
		"{clustered}", "WITHOUT ROWID", "{emailid}", "INTEGER PRIMARY KEY", "{emailkey}", "",
	}
}

// Open implements Dialect.
func (SQLite) Open(path string, conns, cacheKB int) (*sql.DB, error) {
	q := url.Values{"_pragma": {
		"journal_mode(WAL)", "synchronous(NORMAL)", "wal_autocheckpoint(0)",
		fmt.Sprintf("busy_timeout(%d)", busyMS), "foreign_keys(OFF)", "fullfsync(1)",
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
	db.SetConnMaxIdleTime(idleTime) // with its cache
	return db, nil
}

// LogFile implements Dialect.
func (SQLite) LogFile(path string) string { return path + "-wal" }

// Begin implements Dialect.
func (SQLite) Begin() string { return "BEGIN IMMEDIATE" }

// Synchronous implements Dialect.
func (SQLite) Synchronous(ctx context.Context, c *sql.Conn, full bool) error {
	mode := "PRAGMA synchronous=NORMAL"
	if full {
		mode = "PRAGMA synchronous=FULL"
	}
	_, err := c.ExecContext(ctx, mode)
	return err
}

// What waits for whom, in milliseconds. Only a checkpoint that restarts the
// log ever has to wait, since there is one writer.
const (
	busyMS      = 10_000
	restartWait = 20
)

// Checkpoint implements Dialect.
func (SQLite) Checkpoint(ctx context.Context, c *sql.Conn, restart bool) (
	all bool, logBytes int64, err error) {
	mode := "PRAGMA wal_checkpoint(PASSIVE)"
	if restart {
		mode = "PRAGMA wal_checkpoint(RESTART)"
		_, err := c.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout=%d", restartWait))
		if err != nil {
			return false, 0, err
		}
		defer func() {
			_, again := c.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout=%d", busyMS))
			err = errors.Join(err, again)
		}()
	}
	var busy, log, done int64
	if err := c.QueryRowContext(ctx, mode).Scan(&busy, &log, &done); err != nil {
		return false, 0, err
	}
	return busy == 0 && log == done, log * pageSize, nil
}

// Shrink implements Dialect.
func (SQLite) Shrink(ctx context.Context, c *sql.Conn) error {
	_, err := c.ExecContext(ctx, "PRAGMA shrink_memory")
	return err
}

// Full implements Dialect.
func (SQLite) Full(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == sqlite3.SQLITE_FULL
}

// Verify implements Dialect.
func (SQLite) Verify(ctx context.Context, c *sql.Conn) error {
	var answer string
	if err := c.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&answer); err != nil {
		return err
	}
	if answer != "ok" {
		return errors.New(answer)
	}
	return nil
}
