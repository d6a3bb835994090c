package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"

	"postrider/internal/blob"
	"postrider/internal/blob/pack"
	"postrider/internal/blob/vfs"
	"postrider/internal/mail"
)

// A file is one volume.
type file struct {
	number int64
	group  int
	kind   uint8
	tag    uint64
	path   string

	size   atomic.Int64  // of what counts: the head and whole records, flushed
	saved  atomic.Int64  // how many bytes less that is because bodies are packed
	batch  atomic.Uint64 // the largest batch number in it
	sealed atomic.Bool   // nothing is added any more, at least by this process

	opening sync.Mutex // held while the handle is opened

	// Guarded by handles.mu.
	handle     vfs.File
	refs       int
	gone       bool          // being removed
	idle       chan struct{} // closed when refs falls to 0 and gone is set
	prev, next *file         // in the list of unused handles
}

// has says whether a body may lie there.
func (f *file) has(offset, size int64) bool {
	return offset >= headSize+recordSize && size >= 0 && size <= f.size.Load() &&
		offset <= f.size.Load()-size
}

// mayPack says whether bodies in it may be packed; also of a file that has
// lost all that tells its kind.
func (f *file) mayPack() bool { return f.kind == movedFile || f.tag == 0 }

// handles keeps files open: those in use, and some that were used lately.
type handles struct {
	fs    vfs.FS
	limit int

	mu     sync.Mutex
	open   int
	unused file // head of the ring of handles with refs 0, latest first
}

func newHandles(fs vfs.FS, limit int) *handles {
	h := &handles{fs: fs, limit: limit}
	h.unused.prev, h.unused.next = &h.unused, &h.unused
	return h
}

// acquire returns an open handle of f, to be given back with release.
func (h *handles) acquire(f *file) (vfs.File, error) {
	h.mu.Lock()
	if f.gone {
		h.mu.Unlock()
		return nil, notThere(f.number)
	}
	h.ref(f)
	handle := f.handle
	h.mu.Unlock()
	if handle != nil {
		return handle, nil
	}

	f.opening.Lock()
	defer f.opening.Unlock()
	h.mu.Lock()
	handle = f.handle
	h.mu.Unlock()
	if handle != nil {
		return handle, nil
	}
	open := h.fs.OpenWrite
	if f.sealed.Load() {
		open = h.fs.Open
	}
	handle, err := open(f.path)
	if err != nil {
		h.release(f)
		return nil, ioError("open", f.path, err)
	}
	h.mu.Lock()
	f.handle = handle
	h.open++
	h.mu.Unlock()
	return handle, nil
}

// adopt makes f's handle one that is open already, and holds it.
func (h *handles) adopt(f *file, handle vfs.File) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.handle = handle
	f.refs = 1
	h.open++
}

// ref counts one user more. The lock is held.
func (h *handles) ref(f *file) {
	if f.refs == 0 && f.next != nil {
		f.prev.next, f.next.prev = f.next, f.prev
		f.prev, f.next = nil, nil
	}
	f.refs++
}

// release gives a handle back.
func (h *handles) release(f *file) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.refs--
	if f.refs > 0 {
		return
	}
	if f.gone {
		close(f.idle)
		return
	}
	if f.handle == nil {
		return
	}
	f.next, f.prev = h.unused.next, &h.unused
	f.next.prev, f.prev.next = f, f
	for h.open > h.limit && h.unused.prev != &h.unused {
		h.drop(h.unused.prev)
	}
}

// drop closes an unused handle. The lock is held. An unused handle has
// nothing that is not flushed, so that the error tells nothing.
func (h *handles) drop(f *file) {
	f.prev.next, f.next.prev = f.next, f.prev
	f.prev, f.next = nil, nil
	_ = f.handle.Close()
	f.handle = nil
	h.open--
}

// retire makes f impossible to open and waits until nobody has it open.
func (h *handles) retire(ctx context.Context, f *file) error {
	h.mu.Lock()
	if f.gone {
		h.mu.Unlock()
		return notThere(f.number)
	}
	f.gone = true
	f.idle = make(chan struct{})
	if f.refs == 0 {
		if f.handle != nil {
			h.drop(f)
		}
		h.mu.Unlock()
		return nil
	}
	h.mu.Unlock()

	var err error
	select {
	case <-f.idle:
	case <-ctx.Done():
		err = &mail.Error{Kind: mail.Locked, Err: ctx.Err(),
			Text: fmt.Sprintf("volume %d is being read", f.number)}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil && f.refs > 0 {
		f.gone = false
		return err
	}
	if f.handle != nil {
		_ = f.handle.Close()
		f.handle = nil
		h.open--
	}
	return nil
}

// revive lets a retired file be opened again.
func (h *handles) revive(f *file) {
	h.mu.Lock()
	f.gone = false
	h.mu.Unlock()
}

// closeAll closes every handle that f's users have given back, and those of
// the files given, whoever holds them.
func (h *handles) closeAll(files []*file) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var first error
	for _, f := range files {
		if f.handle == nil {
			continue
		}
		if err := f.handle.Close(); err != nil && first == nil {
			first = ioError("close", f.path, err)
		}
		f.handle, f.gone = nil, true
		f.idle = make(chan struct{})
		h.open--
	}
	return first
}

func notThere(number int64) error {
	return mail.Errorf(mail.NotFound, fmt.Sprintf("there is no volume %d", number))
}

// ioError wraps what the file layer says; its text names the file alone.
func ioError(op, path string, err error) error {
	kind := mail.Internal
	if vfs.IsFull(err) {
		kind = mail.Full
	}
	return &mail.Error{Kind: kind, Text: op + " " + filepath.Base(path), Err: err}
}

// A reader reads one body.
type reader struct {
	s      *Store
	f      *file
	handle vfs.File
	off    int64
	size   int64
	packed *pack.Reader // nil if the body is plain
}

// Open implements blob.Store.
func (s *Store) Open(loc blob.Location) (blob.Reader, error) {
	r, err := s.reader(loc)
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (s *Store) reader(loc blob.Location) (*reader, error) {
	s.mu.RLock()
	f := s.files[loc.Volume]
	s.mu.RUnlock()
	if f == nil {
		return nil, notThere(loc.Volume)
	}
	packs := f.mayPack()
	if !f.has(loc.Offset, loc.Size) && !(packs && loc.Size > 0 && f.has(loc.Offset, 0)) {
		return nil, noBody(loc)
	}
	h, err := s.handles.acquire(f)
	if err != nil {
		return nil, err
	}
	r := &reader{s: s, f: f, handle: h, off: loc.Offset, size: loc.Size}
	if packs {
		if err := r.find(loc); err != nil {
			_ = r.Close() // returns nil
			return nil, err
		}
	}
	return r, nil
}

// find asks the header whether the body is packed. If the header is broken,
// the checksum must tell that the body is there as it is.
func (r *reader) find(loc blob.Location) error {
	var b [recordSize]byte
	n, err := r.handle.ReadAt(b[:], loc.Offset-recordSize)
	if n < recordSize && err != nil && !errors.Is(err, io.EOF) {
		return ioError("read", r.f.path, err)
	}
	tag := r.f.tag
	if tag == 0 {
		tag = le.Uint64(b[:])
	}
	h, ok := decode(b[:n], tag, r.f.size.Load()-loc.Offset+recordSize)
	switch {
	case !ok && r.f.has(loc.Offset, loc.Size):
		return r.verify(context.Background(), loc.Sum)
	case !ok || h.kind != kindMessage && h.kind != kindBody || h.body != loc.Size:
		return noBody(loc)
	case h.flags&flagPacked == 0:
		return nil
	}
	size := h.inline()
	r.packed, err = r.s.codec.Open(io.NewSectionReader(r.handle, r.off, size), size, r.size)
	return r.located(err)
}

func noBody(loc blob.Location) error {
	return mail.Errorf(mail.Damaged,
		fmt.Sprintf("volume %d has no body of %d bytes at %d", loc.Volume, loc.Size, loc.Offset))
}

// Size implements blob.Reader.
func (r *reader) Size() int64 { return r.size }

// ReadAt implements blob.Reader.
func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	if r.packed != nil {
		n, err := r.packed.ReadAt(p, off)
		return n, r.located(err)
	}
	return vfs.ReadPart(r.handle, r.off, r.size, p, off)
}

// WriteTo implements io.WriterTo: it writes the whole body.
func (r *reader) WriteTo(w io.Writer) (int64, error) {
	if r.packed != nil {
		n, err := r.packed.WriteTo(w)
		return n, r.located(err)
	}
	return io.CopyBuffer(w, io.NewSectionReader(r, 0, r.size),
		make([]byte, min(max(r.size, 1), copySize)))
}

// located adds to damage where it is.
func (r *reader) located(err error) error {
	if e, ok := errors.AsType[*mail.Error](err); ok && e.Kind == mail.Damaged && r.f != nil {
		return &mail.Error{Kind: mail.Damaged, Err: err,
			Text: fmt.Sprintf("the body at %d in volume %d", r.off, r.f.number)}
	}
	return err
}

// Close implements blob.Reader; more than once does nothing.
func (r *reader) Close() error {
	if r.f != nil {
		r.s.handles.release(r.f)
		r.f = nil
	}
	return nil
}
