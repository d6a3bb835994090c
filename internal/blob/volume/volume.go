// Package volume keeps the bytes of messages in append-only files.
//
// # Files
//
// A directory is a group; directory i of the configuration is group i. Its
// files are called NNNNNNNNNN.vol, with a number that rises, is unique over
// all groups and never comes back. There are three kinds: plain files, to
// which batches append; lent files, which belong to one large body at a time
// while it arrives; and moved files, which take what compaction moves out of
// others. A file of about Config.Size bytes is sealed and another begun.
//
// All integers are little endian; checksums are CRC-32C. A file begins with a
// head of 4096 bytes:
//
//	  0  magic "PRVOLUM1"
//	  8  kind: 1 plain, 2 lent, 3 moved; then 7 zero bytes
//	 16  number, 8 bytes
//	 24  tag, 8 bytes: random, begins every record of the file
//	 32  checksum of the 32 bytes before
//	512  slot A, 1024 slot B: tag, offset, batch (8 bytes each), checksum
//
// A slot says that all records before offset have batch numbers up to batch,
// all of them known to be durable in the database. It is written without a
// flush, is only a hint, and is ignored by a start that knows of less.
//
// Records follow each other without gaps: a header of 84 bytes, the body,
// the meta. The header comes directly before the body, so that a body's
// location alone finds its record.
//
//	 0  tag of the file
//	 8  kind, flags (1 byte each), 2 zero bytes
//	12  length of the meta, 4 bytes
//	16  length of the body, 8 bytes
//	24  batch; 32 last durable batch when it was written
//	40  reference: volume and offset of the body; cut: where it begins;
//	    packed body: the checksum and the length of what it is packed in
//	56  moved record: volume and offset where the body lay first
//	72  checksum of the body, 76 of the meta, 80 of the 80 bytes before
//
// Kinds: 1 message, body and meta; 2 body, a large one in a lent or moved
// file, written before its header; 3 reference, the meta of a body that lies
// elsewhere: of kind 2, or of a message whose recipients take several records;
// 4 trailer, which ends a sealed file and has its largest batch number; 5 cut,
// whose meta is two integers, an offset and a batch number: the records of
// that batch between there and the other offset were never confirmed.
//
// Flags: 1 moved; 2 packed. What is moved is packed as package pack says, if
// that saves an eighth, and the packed bytes stand in the body's place; length
// and checksum of the body stay those of the plain one. The length of a
// trailer's body is how much packing has saved in its file.
//
// The tag keeps a sender from smuggling a record into a body: he cannot know
// it, and a scan that has lost its way accepts no record without it.
//
// # What survives
//
// Batch.Sync writes all records of a batch behind each other and flushes each
// file once. So only the last batch of a file can be incomplete after a crash:
// what is broken at a file's end is cut off when the store is opened. Records
// that are intact behind broken ones are never cut off. A failed flush is
// never repeated: the file is cut back and closed for writing; if it cannot
// be cut back, the next batch has a record that says so. After a write that
// failed for want of space, a file that could be cut back is used again.
//
// # Locks
//
// Store.mu guards the table of files; a group's mu its chain and pool; both
// are held for moments only and never while the other, or handles.mu, is
// taken. A group's making serialises the creation of files, its moving the
// use of its moved file.
package volume

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"

	"postrider/internal/blob"
	"postrider/internal/blob/memory"
	"postrider/internal/blob/pack"
	"postrider/internal/blob/vfs"
	"postrider/internal/mail"
)

// Config says where the volumes are and how much they may take.
type Config struct {
	Dirs    []string     // Dirs[i] is group i; made when missing
	After   int64        // no new volume has this number or one below
	Size    int64        // bytes at which a volume is sealed; 0 is 256 MB
	Memory  int64        // bytes for the drafts of all sessions; 0 is 64 MB
	Handles int          // files kept open beside those in use; 0 is 256
	FS      vfs.FS       // nil is vfs.OS
	Log     *slog.Logger // nil is none

	// Damage is told, besides the log, where data is not what it was. It
	// is called from several goroutines and must not wait for the Store.
	Damage func(volume, offset int64, what string)
}

// A Store is the volumes of one data directory. It implements blob.Store.
// Only one may have a directory open; the caller has the lock for that.
type Store struct {
	fs      vfs.FS
	size    int64
	log     *slog.Logger
	report  func(volume, offset int64, what string)
	memory  *memory.Pool
	handles *handles
	groups  []*group
	codec   pack.Codec
	batch   batch  // the one under way
	revoked uint64 // the last batch that was revoked; of the committer
	closed  atomic.Bool
	work    sync.WaitGroup // files being created ahead

	mu    sync.RWMutex
	files map[int64]*file
	last  int64 // highest number ever used

	former []string // written by Open only

	cutMu sync.Mutex
	cuts  []cut // to be written with the next batch
}

// A group is one directory.
type group struct {
	index  int
	dir    string
	making sync.Mutex

	mu        sync.Mutex
	chain     []*writer // the first is written to; empty ones follow
	idle      []*file   // lent files with room
	preparing bool

	moving sync.Mutex
	moved  *writer // may be nil
}

var _ blob.Store = (*Store)(nil)

// Open opens the volumes in the directories, which it makes if they are
// missing, and cuts off what a crash left incomplete. Kind Conflict: the
// directories are in another order than before.
func Open(c Config) (*Store, error) {
	if len(c.Dirs) == 0 {
		return nil, mail.Errorf(mail.Invalid, "no directory for volumes is given")
	}
	s := &Store{fs: c.FS, size: c.Size, log: c.Log, report: c.Damage, files: map[int64]*file{},
		last: c.After}
	if s.fs == nil {
		s.fs = vfs.OS{}
	}
	if s.size <= 0 {
		s.size = 256 << 20
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if c.Memory <= 0 {
		c.Memory = 64 << 20
	}
	if c.Handles <= 0 {
		c.Handles = 256
	}
	s.memory = memory.New(c.Memory)
	s.handles = newHandles(s.fs, c.Handles)
	for i, dir := range c.Dirs {
		s.groups = append(s.groups, &group{index: i, dir: dir})
	}
	for _, g := range s.groups {
		if err := s.load(g); err != nil {
			_ = s.Close()
			return nil, err
		}
	}
	if err := s.keepOrder(); err != nil {
		_ = s.Close()
		return nil, err
	}
	for _, g := range s.groups {
		if err := s.resume(g); err != nil {
			_ = s.Close()
			return nil, err
		}
	}
	return s, nil
}

// load enters the files of a directory into the table.
func (s *Store) load(g *group) error {
	if err := s.makeDir(g.dir); err != nil {
		return err
	}
	entries, err := s.fs.ReadDir(g.dir)
	if err != nil {
		return ioError("read directory", g.dir, err)
	}
	for _, e := range entries {
		number, ok := parseName(e.Name)
		if !ok || e.Dir {
			continue
		}
		s.last = max(s.last, number)
		f := &file{number: number, group: g.index, path: filepath.Join(g.dir, e.Name)}
		f.size.Store(e.Size)
		if other := s.files[number]; other != nil {
			return mail.Errorf(mail.Damaged,
				fmt.Sprintf("volume %d is there twice: %s and %s", number, other.path, f.path))
		}
		keep, err := s.readHead(f)
		if err != nil {
			return err
		}
		if keep {
			s.files[number] = f
		}
	}
	return nil
}

// makeDir makes a directory and makes its name, and those of the parents that
// are made with it, durable. The name is flushed even if it is there: who made
// it may not have come that far.
func (s *Store) makeDir(dir string) error {
	parents := []string{filepath.Dir(dir)}
	for {
		top := parents[len(parents)-1]
		_, err := s.fs.ReadDir(top)
		if !errors.Is(err, fs.ErrNotExist) || filepath.Dir(top) == top {
			break
		}
		parents = append(parents, filepath.Dir(top))
	}
	if err := s.fs.MkdirAll(dir); err != nil {
		return ioError("make directory", dir, err)
	}
	for _, p := range parents {
		if err := s.fs.SyncDir(p); err != nil {
			return ioError("flush directory", p, err)
		}
	}
	return nil
}

func fileName(number int64) string { return fmt.Sprintf("%010d.vol", number) }

func parseName(name string) (int64, bool) {
	var n int64
	_, err := fmt.Sscanf(name, "%d.vol", &n)
	return n, err == nil && n > 0 && name == fileName(n)
}

// create makes a file with a number of its own and holds its handle.
func (s *Store) create(g *group, kind uint8) (*file, vfs.File, error) {
	g.making.Lock()
	defer g.making.Unlock()
	if s.closed.Load() {
		return nil, nil, errClosed()
	}
	s.mu.Lock()
	s.last++
	number := s.last
	s.mu.Unlock()

	f := &file{number: number, group: g.index, kind: kind, tag: newTag(),
		path: filepath.Join(g.dir, fileName(number))}
	handle, err := s.fs.Create(f.path)
	if err != nil {
		return nil, nil, ioError("create", f.path, err)
	}
	_, err = handle.WriteAt(head{kind: kind, number: number, tag: f.tag}.encode(), 0)
	if err == nil {
		err = handle.Sync()
	}
	if err == nil {
		err = s.fs.SyncDir(g.dir)
	}
	if err != nil {
		_ = handle.Close()
		_ = s.fs.Remove(f.path)
		return nil, nil, ioError("begin", f.path, err)
	}
	f.size.Store(headSize)
	s.handles.adopt(f, handle)
	s.mu.Lock()
	s.files[number] = f
	s.mu.Unlock()
	return f, handle, nil
}

// newTag is random and not 0.
func newTag() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return le.Uint64(b[:]) | 1
}

func errClosed() error { return mail.Errorf(mail.Temporary, "the volumes are closed") }

func (s *Store) group(index int) (*group, error) {
	if index < 0 || index >= len(s.groups) {
		return nil, mail.Errorf(mail.Invalid, fmt.Sprintf("there is no volume directory %d", index))
	}
	return s.groups[index], nil
}

// list is the table of files, by number.
func (s *Store) list() []*file {
	s.mu.RLock()
	files := make([]*file, 0, len(s.files))
	for _, f := range s.files {
		files = append(files, f)
	}
	s.mu.RUnlock()
	sort.Slice(files, func(i, j int) bool { return files[i].number < files[j].number })
	return files
}

// Volumes implements blob.Store.
func (s *Store) Volumes() []blob.Volume {
	files := s.list()
	volumes := make([]blob.Volume, len(files))
	for i, f := range files {
		volumes[i] = blob.Volume{Number: f.number, Group: f.group, Size: f.size.Load() + f.saved.Load(),
			Sealed: f.sealed.Load()}
	}
	return volumes
}

// damage reports data that is not what it was.
func (s *Store) damage(volume, offset int64, what string) {
	s.log.Error("volume damaged", "volume", volume, "offset", offset, "what", what)
	if s.report != nil {
		s.report(volume, offset, what)
	}
}

// Close flushes and closes all files. No batch and no Records may be under
// way; drafts and readers fail afterwards.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.work.Wait()
	var first error
	for _, g := range s.groups {
		g.making.Lock() // no file is created after this
		g.moving.Lock()
		g.mu.Lock()
		writers := g.chain
		if g.moved != nil {
			writers = append(writers[:len(writers):len(writers)], g.moved)
		}
		g.chain, g.moved, g.idle = nil, nil, nil
		g.mu.Unlock()
		for _, w := range writers {
			if err := w.close(); err != nil && first == nil {
				first = err
			}
		}
		g.moving.Unlock()
		g.making.Unlock()
	}
	if err := s.handles.closeAll(s.list()); err != nil && first == nil {
		first = err
	}
	return first
}
