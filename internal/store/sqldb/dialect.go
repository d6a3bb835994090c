// Package sqldb is what the store needs of an SQL engine besides SQL: how a
// database is opened, how its schema is brought up to date, and what two
// engines cannot share. All else is written once, in the SQL that they share.
package sqldb

import (
	"context"
	"database/sql"
)

// A Dialect is what two SQL engines cannot share. Its methods may be called
// concurrently, for different connections.
type Dialect interface {
	// Types are pairs of words in braces and their meaning in the steps of
	// Migrate.
	Types() []string
	// Open opens a pool of connections, each with a cache of so many
	// kilobytes; the writer's has one.
	Open(path string, conns int, cacheKB int) (*sql.DB, error)
	// LogFile is the file that grows while transactions are committed, which
	// the system may be told to write back early; empty if there is none.
	LogFile(path string) string
	// Begin is the statement that begins the writer's transaction.
	Begin() string
	// Synchronous chooses, before a transaction, whether its commit is
	// flushed; with that, all earlier ones are durable too.
	Synchronous(ctx context.Context, c *sql.Conn, full bool) error
	// Checkpoint moves what was committed into the main file and reports
	// whether everything committed before is now durable, and how long the
	// log is. With restart it makes the log begin anew, for which it waits
	// a moment for readers.
	Checkpoint(ctx context.Context, c *sql.Conn, restart bool) (all bool, logBytes int64,
		err error)
	// Shrink gives back the memory of a connection that it can do without.
	Shrink(ctx context.Context, c *sql.Conn) error
	// Full says whether err tells of a full disk, after which a rollback
	// leaves everything as it was.
	Full(err error) bool
	// Verify asks the engine itself whether its files are sound.
	Verify(ctx context.Context, c *sql.Conn) error
}
