package volume

import (
	"context"

	"postrider/internal/blob/vfs"
)

// maxIdle is how many lent files of an earlier run are used further.
const maxIdle = 16

const brokenBefore = "broken records before intact ones"

// readHead learns what a file is. It says no for one that a crash left
// without a head: nothing can be in it, and it is removed.
func (s *Store) readHead(f *file) (keep bool, err error) {
	h, err := s.fs.Open(f.path)
	if err != nil {
		return false, ioError("open", f.path, err)
	}
	defer h.Close() // read only
	b := make([]byte, headSize)
	if f.size.Load() >= headSize {
		if _, err := h.ReadAt(b, 0); err != nil {
			return false, ioError("read", f.path, err)
		}
	}
	hd, err := decodeHead(b, f.number)
	if err == nil {
		f.kind, f.tag = hd.kind, hd.tag
		if f.kind != lentFile {
			f.sealed.Store(readTrailer(f, h))
		}
		return true, nil
	}
	if f.size.Load() <= headSize {
		s.log.Info("unfinished volume removed", "volume", f.number)
		_ = h.Close()
		if err := s.fs.Remove(f.path); err != nil {
			return false, ioError("remove", f.path, err)
		}
		return false, nil
	}
	// The first record still tells the tag, and with it all others.
	s.damage(f.number, 0, err.Error())
	f.sealed.Store(true)
	f.kind = plainFile
	if _, err := h.ReadAt(b[:recordSize], headSize); err != nil {
		return true, nil // damage, reported above
	}
	tag := le.Uint64(b)
	if r, ok := decode(b[:recordSize], tag, f.size.Load()-headSize); ok {
		f.tag = tag
		if r.flags&flagMoved != 0 {
			f.kind = movedFile
		} else if r.kind == kindBody {
			f.kind = lentFile
		}
	}
	f.batch.Store(^uint64(0)) // unknown: always read
	return true, nil
}

// resume makes the files of a group ready: tails are cut off, the last plain
// file is written to further, and lent files with room are lent again.
func (s *Store) resume(g *group) error {
	var open [movedFile + 1][]*file
	for _, f := range s.list() {
		if f.group != g.index || f.sealed.Load() {
			continue
		}
		open[f.kind] = append(open[f.kind], f)
	}
	chain, err := s.resumeWriters(open[plainFile])
	if err != nil {
		return err
	}
	g.chain = chain
	moved, err := s.resumeWriters(open[movedFile])
	if err != nil {
		return err
	}
	for i, w := range moved {
		if i == 0 {
			g.moved = w
			continue
		}
		w.f.sealed.Store(true)
		s.handles.release(w.f)
	}
	if err := s.resumeLent(g, open[lentFile]); err != nil {
		return err
	}
	if len(g.chain) == 0 {
		return s.extend(g, 0)
	}
	return nil
}

// readTrailer says whether a file ends with a trailer.
func readTrailer(f *file, h vfs.File) bool {
	at := f.size.Load() - recordSize
	if at < headSize {
		return false
	}
	var b [recordSize]byte
	if _, err := h.ReadAt(b[:], at); err != nil {
		return false
	}
	r, ok := decode(b[:], f.tag, recordSize)
	if !ok || r.kind != kindTrailer {
		return false
	}
	f.batch.Store(r.batch)
	f.saved.Store(r.body)
	return true
}

// resumeWriters recovers unsealed files, in order, and returns writers for
// the last one that has records and is whole, and the empty ones behind it.
// The others are sealed.
func (s *Store) resumeWriters(files []*file) ([]*writer, error) {
	var chain []*writer
	for _, f := range files {
		w, whole, err := s.recover(f)
		if err != nil {
			return nil, err
		}
		if w.end > headSize || !whole {
			for _, old := range chain {
				if err := s.finish(old); err != nil {
					return nil, err
				}
			}
			chain = nil
		}
		if !whole {
			if err := s.finish(w); err != nil {
				return nil, err
			}
			continue
		}
		chain = append(chain, w)
	}
	return chain, nil
}

// finish seals a file of an earlier run.
func (s *Store) finish(w *writer) error {
	defer s.handles.release(w.f)
	w.f.sealed.Store(true)
	var b [recordSize]byte
	t := trailer(w.f.batch.Load())
	t.body = w.f.saved.Load()
	t.encode(b[:], w.f.tag)
	_, err := w.handle.WriteAt(b[:], w.end)
	if err == nil {
		err = w.handle.Sync()
	}
	if err != nil {
		return ioError("seal", w.f.path, err)
	}
	w.f.size.Store(w.end + recordSize)
	return nil
}

// recover finds the end of an unsealed file and cuts off what is behind it.
// A file with gaps is not whole: something is wrong with the disk, and
// nothing is added to it.
func (s *Store) recover(f *file) (w *writer, whole bool, err error) {
	handle, err := s.handles.acquire(f)
	if err != nil {
		return nil, false, err
	}
	size := f.size.Load()
	w = &writer{f: f, handle: handle, end: headSize}
	if from, ok := newestSlot(handle, f.tag, size, ^uint64(0)); ok && f.kind == plainFile {
		w.end, w.written = from.offset, from.offset
		w.settled = mark{from.batch, from.offset}
		f.batch.Store(from.batch)
	}
	whole = true
	sc := scanner{r: handle, tag: f.tag, end: size, window: wideWindow}
	err = sc.each(w.end, func(r *found) error {
		ok, err := r.intact(context.Background())
		if err != nil || !ok {
			return err
		}
		if r.at != w.end {
			whole = false
			s.broken(f, w.end, r.batch, brokenBefore)
		}
		w.end = r.end()
		f.saved.Add(r.saved())
		f.batch.Store(max(f.batch.Load(), r.batch))
		return nil
	}, func(int64, int64) {})
	if err != nil {
		s.handles.release(f)
		return nil, false, ioError("read", f.path, err)
	}
	if w.end < size {
		s.log.Warn("broken tail cut off", "volume", f.number, "offset", w.end,
			"bytes", size-w.end)
		if err := w.cutBack(); err != nil {
			s.handles.release(f)
			return nil, false, err
		}
	}
	f.size.Store(w.end)
	w.marks = append(w.marks, mark{f.batch.Load(), w.end})
	return w, whole, nil
}

// broken reports broken records before intact ones, or, with what, a record
// that is broken behind its header. In the last batch of all
// a crash may have done it; elsewhere it is the disk. Next is the batch of what
// is broken, or of what follows it.
func (s *Store) broken(f *file, at int64, next uint64, what string) {
	s.mu.RLock()
	last := true
	for _, other := range s.files {
		last = last && (other.kind == movedFile || other.batch.Load() <= next)
	}
	s.mu.RUnlock()
	if last || f.kind == movedFile {
		s.log.Warn("batch not finished: "+what, "volume", f.number, "offset", at, "batch", next)
		return
	}
	s.damage(f.number, at, what)
}

// newestSlot returns the slot of the highest batch up to limit.
func newestSlot(h vfs.File, tag uint64, size int64, limit uint64) (best slot, ok bool) {
	b := make([]byte, headSize)
	if _, err := h.ReadAt(b, 0); err != nil {
		return slot{}, false
	}
	for _, s := range decodeSlots(b, tag, size) {
		if s.batch <= limit && s.offset > best.offset {
			best, ok = s, true
		}
	}
	return best, ok
}

// resumeLent puts lent files with room into the pool, if they consist of
// whole bodies. The others are left to the sweep as they are: a body that was
// never finished cannot be told here from one that is damaged.
func (s *Store) resumeLent(g *group, files []*file) error {
	for i := len(files) - 1; i >= 0; i-- {
		f := files[i]
		if len(g.idle) == maxIdle || f.size.Load() >= s.size {
			f.sealed.Store(true)
			continue
		}
		h, err := s.handles.acquire(f)
		if err != nil {
			return err
		}
		whole := true
		sc := scanner{r: h, tag: f.tag, end: f.size.Load(), window: narrowWindow}
		err = sc.each(headSize, func(r *found) error {
			whole = whole && r.kind == kindBody
			return nil
		}, func(int64, int64) { whole = false })
		s.handles.release(f)
		if err != nil {
			return ioError("read", f.path, err)
		}
		if whole {
			g.idle = append(g.idle, f)
			continue
		}
		s.log.Info("volume with an unfinished body is not used further", "volume", f.number)
		f.sealed.Store(true)
	}
	return nil
}
