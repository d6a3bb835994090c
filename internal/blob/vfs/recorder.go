package vfs

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
)

// An Op is what a Recorder sees.
type Op uint8

// The operations that a Recorder counts and can make fail.
const (
	OpCreate Op = iota
	OpOpen
	OpRead
	OpWrite
	OpSync
	OpWriteOut
	OpTruncate
	OpRemove
	OpRename
	OpReadDir
	OpMkdir
	OpSyncDir
	ops
)

// ErrSkip, returned by a Recorder's Fail for OpSync or OpSyncDir, makes the
// operation lie: it does nothing and succeeds.
var ErrSkip = errors.New("skipped")

// A Recorder is a file system for tests. It passes everything on to Base,
// remembers what would be lost in a power cut, and fails when it is told to.
// What was there before it was made counts as not there. All methods may be
// called concurrently.
type Recorder struct {
	Base FS

	// Fail, if not nil, is asked before each operation; n counts those of
	// this kind from 1. Of a write that it fails, the first half is
	// written. It must not use the Recorder.
	Fail func(op Op, path string, n int) error

	mu     sync.Mutex
	counts [ops]int
	events []event
	inodes map[string]int // by path, of the files that are there now
	last   int            // the last inode number
}

// An event is one change, or the flush of changes.
type event struct {
	op    Op
	inode int    // of a file
	path  string // of a name or a directory
	to    string // of a rename
	off   int64  // of a write; the size of a truncation
	data  []byte
	since int  // of a flush: events before this one are covered
	bad   bool // a flush that failed
}

// NewRecorder returns a Recorder on top of base.
func NewRecorder(base FS) *Recorder {
	return &Recorder{Base: base, inodes: map[string]int{}}
}

// Mark is how many events have been recorded: a power cut at this mark comes
// after all that has returned by now.
func (r *Recorder) Mark() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.events)
}

// Count is how many operations of a kind there were.
func (r *Recorder) Count(op Op) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[op]
}

func (r *Recorder) fail(op Op, path string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[op]++
	if r.Fail == nil {
		return nil
	}
	return r.Fail(op, path, r.counts[op])
}

func (r *Recorder) add(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// A recorded file.
type recorded struct {
	File
	r     *Recorder
	path  string
	inode int
}

// Create implements FS.
func (r *Recorder) Create(path string) (File, error) {
	if err := r.fail(OpCreate, path); err != nil {
		return nil, err
	}
	f, err := r.Base.Create(path)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	r.inodes[path] = r.last
	r.events = append(r.events, event{op: OpCreate, inode: r.last, path: path})
	return &recorded{f, r, path, r.last}, nil
}

// Open implements FS.
func (r *Recorder) Open(path string) (File, error) { return r.open(path, r.Base.Open) }

// OpenWrite implements FS.
func (r *Recorder) OpenWrite(path string) (File, error) { return r.open(path, r.Base.OpenWrite) }

func (r *Recorder) open(path string, open func(string) (File, error)) (File, error) {
	if err := r.fail(OpOpen, path); err != nil {
		return nil, err
	}
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return &recorded{f, r, path, r.inodes[path]}, nil
}

// Remove implements FS.
func (r *Recorder) Remove(path string) error {
	if err := r.fail(OpRemove, path); err != nil {
		return err
	}
	if err := r.Base.Remove(path); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.inodes, path)
	r.events = append(r.events, event{op: OpRemove, path: path})
	return nil
}

// Rename implements FS.
func (r *Recorder) Rename(from, to string) error {
	if err := r.fail(OpRename, from); err != nil {
		return err
	}
	if err := r.Base.Rename(from, to); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inodes[to] = r.inodes[from]
	delete(r.inodes, from)
	r.events = append(r.events, event{op: OpRename, path: from, to: to})
	return nil
}

// ReadDir implements FS.
func (r *Recorder) ReadDir(path string) ([]Entry, error) {
	if err := r.fail(OpReadDir, path); err != nil {
		return nil, err
	}
	return r.Base.ReadDir(path)
}

// MkdirAll implements FS.
func (r *Recorder) MkdirAll(path string) error {
	if err := r.fail(OpMkdir, path); err != nil {
		return err
	}
	var missing []string
	for dir := path; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := r.Base.ReadDir(dir); !errors.Is(err, os.ErrNotExist) {
			break
		}
		missing = append(missing, dir)
	}
	if err := r.Base.MkdirAll(path); err != nil {
		return err
	}
	for _, dir := range missing {
		r.add(event{op: OpMkdir, path: dir})
	}
	return nil
}

// SyncDir implements FS.
func (r *Recorder) SyncDir(path string) error {
	return r.flush(event{op: OpSyncDir, path: path}, path,
		func() error { return r.Base.SyncDir(path) })
}

// flush runs a flush and records what it covers: what had happened when it
// began.
func (r *Recorder) flush(e event, path string, run func() error) error {
	e.since = r.Mark()
	err := r.fail(e.op, path)
	if errors.Is(err, ErrSkip) {
		return nil
	}
	if err == nil {
		err = run()
	}
	e.bad = err != nil
	r.add(e)
	return err
}

func (f *recorded) ReadAt(p []byte, off int64) (int, error) {
	if err := f.r.fail(OpRead, f.path); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *recorded) WriteAt(p []byte, off int64) (int, error) {
	failed := f.r.fail(OpWrite, f.path)
	if failed != nil {
		p = p[:len(p)/2]
	}
	f.r.add(event{op: OpWrite, inode: f.inode, off: off, data: bytes.Clone(p)})
	n, err := f.File.WriteAt(p, off)
	if failed != nil {
		return n, failed
	}
	return n, err
}

func (f *recorded) Sync() error {
	return f.r.flush(event{op: OpSync, inode: f.inode}, f.path, f.File.Sync)
}

func (f *recorded) WriteOut(off, n int64, wait bool) error {
	if err := f.r.fail(OpWriteOut, f.path); err != nil {
		return err
	}
	return nil // nothing depends on it
}

func (f *recorded) Truncate(size int64) error {
	if err := f.r.fail(OpTruncate, f.path); err != nil {
		return err
	}
	f.r.add(event{op: OpTruncate, inode: f.inode, off: size})
	return f.File.Truncate(size)
}

// under says whether path is root or below it, and its name from there.
func under(root, path string) (string, bool) {
	rel, err := filepath.Rel(root, path)
	if err != nil || rel == ".." || len(rel) > 2 && rel[:3] == ".."+string(filepath.Separator) {
		return "", false
	}
	return rel, true
}
