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
)

// InMemory is the size up to which a body waits in memory, in bytes; no
// batch writes more than this for one message.
const InMemory = 64 << 10

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

	// Finish ends the body; what does not fit in memory is on disk and
	// flushed afterwards. Errors are of kind Full or Internal.
	Finish(ctx context.Context) error
	// Size is how many bytes were written.
	Size() int64
	// Yield gives back the memory that the draft holds if others have waited
	// for some for a while; what was written goes to disk. It is for a writer
	// that has to wait itself, and costs next to nothing where nobody waits.
	// A failure is that of the next Write or Finish.
	Yield()
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
	Meta    []byte // valid during the call only
	Body    Location
}

// A Batch is one group commit as the blob engine sees it; used by one
// goroutine at a time.
type Batch interface {
	// Add reserves the body's place and remembers the record. Meta and the
	// draft must stay unchanged until Sync returns.
	Add(group int, d Draft, meta []byte) (Location, error)
	// Reset forgets all that was added, for a batch that is run again.
	Reset()
	// Sync writes and flushes all that was added, every volume that was
	// touched. After an error nothing of the batch may be confirmed; the
	// engine closes the volume for writing and cuts it back if it can, and
	// later batches go to another one.
	Sync() error
	// Revoke takes back what the last successful Sync has flushed, because
	// the rows could not be committed: Records must not tell of it. Bodies
	// may stay, without a record.
	Revoke() error
}

// A Volume is one file of an engine, or whatever it deletes as a whole.
type Volume struct {
	Number int64
	Group  int
	Size   int64 // bytes on disk, if nothing were packed: as the Locations have it
	Sealed bool  // nothing is added any more
}

// A Store keeps blobs. All methods but those of a Batch may be called
// concurrently; one batch is under way at a time.
type Store interface {
	// NewDraft begins a body. While the memory for all sessions together is
	// used up it waits, for some time and as long as ctx lives (then kind
	// Full). Group
	// chooses among the directories that bodies are bound to; 0 is the
	// default one.
	NewDraft(ctx context.Context, group int) (Draft, error)
	// Begin starts a batch. Durable is the last batch known to be durable
	// in the database; it is written into every record.
	Begin(batch, durable uint64) Batch
	// Settled tells that all records up to this batch have durable rows, so
	// that a later start need not read them again. It is a hint.
	Settled(batch uint64)
	// Open reads the body at loc. The reader must be closed. NotFound if
	// the volume is gone, Damaged if the place cannot be.
	Open(loc Location) (Reader, error)
	// Records calls fn for every intact record with a batch number above
	// after, volume by volume, in the order in which they lie there. With
	// after 0 that is every record there is.
	Records(ctx context.Context, after uint64, fn func(Record) error) error
	// Verify reads the body and compares its checksum: Damaged if it differs.
	Verify(ctx context.Context, loc Location) error

	// Volumes lists what there is.
	Volumes() []Volume
	// Move copies the record at loc to another volume, flushed, and says
	// where its body is now. Batch numbers and meta are kept. The engine may
	// pack the body; it reads as before.
	Move(ctx context.Context, loc Location) (Location, error)
	// Remove deletes a sealed volume once no reader has it open.
	Remove(ctx context.Context, number int64) error
	Close() error
}

// A Reader reads one body.
type Reader interface {
	io.ReaderAt
	io.Closer
	Size() int64
}
