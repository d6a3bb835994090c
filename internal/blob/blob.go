// Package blob says how the bytes of messages are kept. Two engines are
// planned behind one interface: append-only volumes on disk (package volume)
// and any S3-compatible store.
//
// A body is written once, by a Draft, and never changed. Bodies do not pass
// through the group committer: a small one waits in memory, a larger one is
// written and synced by its own session before it joins a batch.
package blob

import (
	"context"
	"io"

	"postrider/internal/mail"
)

// A Location tells an engine where a blob lies. It is stored in one row and
// changes only when the engine moves the blob.
type Location struct {
	Volume int64  // the engine's number of the file
	Offset int64  // of the first byte of the body
	Size   int64  // bytes of the body
	Sum    uint32 // CRC-32C of the body
}

// A Draft is a body being written, by one goroutine. After Finish it can be
// read until Discard.
type Draft interface {
	io.Writer
	io.ReaderAt

	// Finish ends the body; what does not fit in memory is on disk
	// afterwards. Errors are of kind Full or Internal.
	Finish(ctx context.Context) error
	// Size is how many bytes were written.
	Size() int64
	// Bytes is the whole body if it waits in memory, else nil.
	Bytes() []byte
	// Discard gives back what the draft holds. It may be called at any
	// time and more than once; a body that a batch confirmed stays.
	Discard()
}

// A Record is what one operation leaves in a volume: a body and the facts
// that its rows need, so that the rows can be made again.
type Record struct {
	Batch   uint64
	Durable uint64 // the last batch known durable in the database then
	Meta    []byte
	Body    Location // Size 0 when the record has no body
}

// A Batch is one group commit as the blob engine sees it; used by the
// committer's goroutine only.
type Batch interface {
	// Add reserves the body's place and remembers meta for its record.
	// Meta may be filled in until Sync: the engine keeps the slice.
	Add(group int, d Draft, meta func(Location) []byte) (Location, error)
	// Sync writes and flushes all that was added. After an error nothing
	// of the batch may be confirmed.
	Sync() error
}

// A Store keeps blobs. All methods but those of a Batch may be called
// concurrently.
type Store interface {
	// NewDraft begins a body. It waits while the memory for all sessions
	// together is used up, as long as ctx lives. Group chooses among the
	// directories that bodies may be bound to; 0 is the default one.
	NewDraft(ctx context.Context, group int) (Draft, error)
	// Begin starts a batch. Durable is the last batch known to be durable
	// in the database; it is written into every record.
	Begin(batch, durable uint64) Batch
	// Open reads the body at loc. The reader must be closed.
	Open(loc Location) (Reader, error)
	// Records calls fn for every intact record with a batch number above
	// after, in the order of their batches within a volume.
	Records(ctx context.Context, after uint64, fn func(Record) error) error
	// Verify reads the body and compares its checksum.
	Verify(ctx context.Context, id mail.BlobID, loc Location) error
	Close() error
}

// A Reader reads one body.
type Reader interface {
	io.ReaderAt
	io.Closer
	Size() int64
}
