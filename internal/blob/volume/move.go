package volume

import (
	"context"
	"errors"
	"fmt"
	"io"

	"postrider/internal/blob"
	"postrider/internal/mail"
)

// Move implements blob.Store.
func (s *Store) Move(ctx context.Context, loc blob.Location) (blob.Location, error) {
	r, err := s.reader(loc)
	if err != nil {
		return blob.Location{}, err
	}
	defer r.Close() // returns nil
	sc := scanner{r: r.handle, tag: r.f.tag, end: r.f.size.Load(), window: narrowWindow}
	rec, ok, err := sc.at(loc.Offset - recordSize)
	switch {
	case err != nil:
		return blob.Location{}, ioError("read", r.f.path, err)
	case !ok || rec.kind != kindMessage && rec.kind != kindBody || rec.body != loc.Size:
		return blob.Location{}, mail.Errorf(mail.Damaged, fmt.Sprintf(
			"there is no record of %d bytes at %d in volume %d", loc.Size, loc.Offset, loc.Volume))
	}
	g := s.groups[r.f.group]
	g.moving.Lock()
	defer g.moving.Unlock()
	at, err := s.copyRecord(ctx, g, r.f, &rec)
	if err != nil {
		return blob.Location{}, err
	}
	if err := s.commitMoved(g, at); err != nil {
		return blob.Location{}, err
	}
	return blob.Location{Volume: at.w.f.number, Offset: at.first + recordSize,
		Size: loc.Size, Sum: rec.bodySum}, nil
}

// A copied record is in a moved file, not yet flushed.
type copied struct {
	w     *writer
	first int64 // of the first record copied
	end   int64
	saved int64
	batch uint64
}

// movedWriter returns the group's moved file, a new one if it is full.
// The group's moving is held, as for all that follows.
func (s *Store) movedWriter(g *group, not *file) (*writer, error) {
	if s.closed.Load() {
		return nil, errClosed()
	}
	if w := g.moved; w != nil && (w.end >= s.size || w.f == not) {
		if err := s.sealMoved(g); err != nil {
			return nil, err
		}
	}
	if g.moved == nil {
		f, handle, err := s.create(g, movedFile)
		if err != nil {
			return nil, err
		}
		g.moved = &writer{f: f, handle: handle, end: headSize}
	}
	return g.moved, nil
}

// sealMoved ends the group's moved file.
func (s *Store) sealMoved(g *group) error {
	w := g.moved
	g.moved = nil
	return s.finish(w)
}

// copyRecord appends a copy of rec, which lies in f, to the moved file.
func (s *Store) copyRecord(ctx context.Context, g *group, f *file, rec *found) (copied, error) {
	w, err := s.movedWriter(g, f)
	if err != nil {
		return copied{}, err
	}
	c := copied{w: w, first: w.end, end: w.end}
	if err := s.appendCopy(ctx, &c, f, rec); err != nil {
		return copied{}, s.giveUpMoved(g, err)
	}
	return c, nil
}

// appendCopy writes a copy of rec at c.end. The header is written last.
func (s *Store) appendCopy(ctx context.Context, c *copied, f *file, rec *found) error {
	h := rec.header
	if h.flags&flagMoved == 0 {
		h.flags |= flagMoved
		h.origin = place{f.number, rec.bodyAt()}
	}
	if err := s.appendBody(ctx, c, f, rec, &h); err != nil {
		return err
	}
	meta, ok, err := rec.metaBytes()
	if err != nil {
		return ioError("read", f.path, err)
	}
	if !ok {
		return brokenRecord(f, rec)
	}
	var b [recordSize]byte
	h.encode(b[:], c.w.f.tag)
	if _, err := c.w.handle.WriteAt(meta, c.end+recordSize+h.inline()); err != nil {
		return ioError("write", c.w.f.path, err)
	}
	if _, err := c.w.handle.WriteAt(b[:], c.end); err != nil {
		return ioError("write", c.w.f.path, err)
	}
	c.end += h.size()
	c.saved += h.saved()
	c.batch = max(c.batch, h.batch)
	return nil
}

// appendBody copies the body of rec: packed, if it is or if that is worth it,
// which is noted in h.
func (s *Store) appendBody(ctx context.Context, c *copied, f *file, rec *found, h *header) error {
	size, sum := rec.stored()
	if size == 0 {
		return nil
	}
	start := func() (*source, *sink) {
		return &source{summer{ctx: ctx}, f, io.NewSectionReader(rec.sc.r, rec.bodyAt(), size)},
			&sink{summer: summer{ctx: ctx}, w: c.w, at: c.end + recordSize}
	}
	from, to := start()
	packed := false
	var err error
	if h.flags&flagPacked == 0 {
		var n int64
		if n, packed, err = s.codec.Pack(ctx, to, from); packed {
			h.flags |= flagPacked
			h.ref = place{int64(to.sum), n}
		}
	}
	if !packed && err == nil {
		from, to = start()
		_, err = io.CopyBuffer(to, from, make([]byte, min(size, copySize)))
	}
	if err == nil && from.sum != sum {
		err = brokenRecord(f, rec)
	}
	return err
}

func brokenRecord(f *file, rec *found) error {
	return mail.Errorf(mail.Damaged,
		fmt.Sprintf("the record at %d in volume %d is broken", rec.at, f.number))
}

// A source reads a body out of a file.
type source struct {
	summer
	f *file
	r io.Reader
}

func (r *source) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		return n, ioError("read", r.f.path, err)
	}
	if _, err := r.Write(p[:n]); err != nil {
		return n, err
	}
	return n, err
}

// A sink writes a body to a file at at, and has the disk keep up.
type sink struct {
	summer
	w     *writer
	at    int64
	dirty int64 // bytes before at that the disk was not asked to write
}

func (o *sink) Write(p []byte) (int, error) {
	if _, err := o.summer.Write(p); err != nil {
		return 0, err
	}
	if _, err := o.w.handle.WriteAt(p, o.at); err != nil {
		return 0, ioError("write", o.w.f.path, err)
	}
	o.at += int64(len(p))
	o.dirty += int64(len(p))
	if o.dirty >= writeOutEvery {
		if err := o.w.handle.WriteOut(o.at-o.dirty, o.dirty, true); err != nil {
			return 0, ioError("write out", o.w.f.path, err)
		}
		o.dirty = 0
	}
	return len(p), nil
}

// commitMoved flushes what was copied.
func (s *Store) commitMoved(g *group, c copied) error {
	if err := c.w.handle.Sync(); err != nil {
		return s.giveUpMoved(g, ioError("flush", c.w.f.path, err))
	}
	c.w.f.saved.Add(c.saved)
	c.w.advance(c.end, c.batch)
	return nil
}

// giveUpMoved cuts the moved file back after an error, and uses another one
// from then on if that fails or the error was the disk's.
func (s *Store) giveUpMoved(g *group, cause error) error {
	w := g.moved
	disk, ok := errors.AsType[*mail.Error](cause)
	if err := w.cutBack(); err != nil || ok && disk.Kind == mail.Internal {
		// A copy that stays in it is harmless: it is as good as the record.
		w.f.sealed.Store(true)
		g.moved = nil
		s.handles.release(w.f)
	}
	return cause
}

// Remove implements blob.Store.
func (s *Store) Remove(ctx context.Context, number int64) error {
	s.mu.RLock()
	f, last := s.files[number], s.last
	s.mu.RUnlock()
	switch {
	case s.closed.Load():
		return errClosed()
	case f == nil:
		return notThere(number)
	case !f.sealed.Load():
		return mail.Errorf(mail.Conflict, fmt.Sprintf("volume %d is still written to", number))
	}
	g := s.groups[f.group]
	if number == last {
		// Numbers must not come back, and a start counts from the highest.
		g.mu.Lock()
		n := len(g.chain)
		g.mu.Unlock()
		if err := s.extend(g, n); err != nil {
			return err
		}
	}
	if f.kind != lentFile {
		if err := s.carry(ctx, g, f); err != nil {
			return err
		}
	}
	if err := s.handles.retire(ctx, f); err != nil {
		return err
	}
	if err := s.fs.Remove(f.path); err != nil {
		s.handles.revive(f)
		return ioError("remove", f.path, err)
	}
	s.mu.Lock()
	delete(s.files, number)
	s.mu.Unlock()
	if err := s.fs.SyncDir(g.dir); err != nil {
		return ioError("flush directory", g.dir, err)
	}
	return nil
}

// carry copies what no location leads to but which must stay: the references
// to bodies that are still there, and cuts of volumes that are.
func (s *Store) carry(ctx context.Context, g *group, f *file) error {
	h, err := s.handles.acquire(f)
	if err != nil {
		return err
	}
	defer s.handles.release(f)
	v := &survey{s: s, copies: map[identity]bool{}, bodies: map[place][]place{}}
	if err := v.readMoved(ctx); err != nil {
		return err
	}
	g.moving.Lock()
	defer g.moving.Unlock()
	var c copied
	sc := scanner{r: h, tag: f.tag, end: f.size.Load(), window: wideWindow}
	err = sc.each(headSize, func(r *found) error {
		if r.kind != kindReference && r.kind != kindCut || !v.stays(r.ref, f.number) {
			return ctx.Err()
		}
		if c.w == nil {
			w, err := s.movedWriter(g, f)
			if err != nil {
				return err
			}
			c = copied{w: w, first: w.end, end: w.end}
		}
		err := s.appendCopy(ctx, &c, f, r)
		if mail.KindOf(err) == mail.Damaged {
			s.damage(f.number, r.at, "the meta of a record is broken")
			return nil
		}
		return err
	}, func(int64, int64) {})
	switch {
	case err != nil && c.w != nil:
		return s.giveUpMoved(g, err)
	case err != nil || c.w == nil:
		return err
	}
	return s.commitMoved(g, c)
}

// stays says whether the volume of a place, or a copy of the body that was
// there, exists when volume gone is removed.
func (v *survey) stays(p place, gone int64) bool {
	v.s.mu.RLock()
	defer v.s.mu.RUnlock()
	return p.volume != gone && v.s.files[p.volume] != nil || len(v.bodies[p]) > 0
}
