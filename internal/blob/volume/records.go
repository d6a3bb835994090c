package volume

import (
	"context"
	"fmt"

	"postrider/internal/blob"
	"postrider/internal/mail"
)

// An identity is where a record lay when it was written first. Copies of a
// moved record share it.
type identity struct {
	place
	batch uint64
}

// identity is that of a record in volume number.
func (r *found) identity(number int64) identity {
	if r.flags&flagMoved != 0 {
		return identity{r.origin, r.batch}
	}
	return identity{place{number, r.bodyAt()}, r.batch}
}

// A survey is what must be known of all volumes before their records can be
// told: what was moved where, and what was never confirmed.
type survey struct {
	s    *Store
	cuts []cut
	// Copies tells whether a record that has moved copies was seen.
	copies map[identity]bool
	bodies map[place][]place // of moved bodies: where their copies are
	whole  bool              // bodies is complete
}

// Records implements blob.Store.
func (s *Store) Records(ctx context.Context, after uint64, fn func(blob.Record) error) error {
	v := &survey{s: s, copies: map[identity]bool{}, bodies: map[place][]place{}}
	var files, moved []*file
	for _, f := range s.list() {
		if f.kind == lentFile || f.batch.Load() <= after && after > 0 {
			continue
		}
		if f.kind == movedFile {
			moved = append(moved, f)
		} else {
			files = append(files, f)
		}
	}
	for _, f := range append(files, moved...) {
		if err := v.read(ctx, f, after); err != nil {
			return err
		}
	}
	v.whole = after == 0
	// Originals first: of a record and its copy one is told, and a copy
	// stands in where the original is gone or broken.
	for _, f := range append(files, moved...) {
		if err := v.tell(ctx, f, after, fn); err != nil {
			return err
		}
	}
	return nil
}

// scan calls fn for the records of a file.
func (s *Store) scan(ctx context.Context, f *file, after uint64, fn func(*found) error,
	gap func(from, to int64)) error {
	h, err := s.handles.acquire(f)
	if err != nil {
		return err
	}
	defer s.handles.release(f)
	from := int64(headSize)
	if f.kind == plainFile && after > 0 {
		if slot, ok := newestSlot(h, f.tag, f.size.Load(), after); ok {
			from = slot.offset
		}
	}
	sc := scanner{r: h, tag: f.tag, end: f.size.Load(), window: wideWindow}
	err = sc.each(from, func(r *found) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return fn(r)
	}, gap)
	return err
}

// read notes the cuts and copies in a file.
func (v *survey) read(ctx context.Context, f *file, after uint64) error {
	return v.s.scan(ctx, f, after, func(r *found) error {
		switch {
		case r.kind == kindCut:
			meta, ok, err := r.metaBytes()
			if err != nil || !ok || len(meta) != 16 {
				return err
			}
			v.cuts = append(v.cuts, cut{from: r.ref, end: int64(le.Uint64(meta)),
				batch: le.Uint64(meta[8:])})
		case r.flags&flagMoved == 0:
		case r.kind == kindBody:
			v.bodies[r.origin] = append(v.bodies[r.origin], place{f.number, r.bodyAt()})
		default:
			if r.kind == kindMessage { // a reference may lead to it too
				v.bodies[r.origin] = append(v.bodies[r.origin], place{f.number, r.bodyAt()})
			}
			v.copies[r.identity(f.number)] = false
		}
		return nil
	}, func(int64, int64) {})
}

// tell calls fn for the records of a file that nobody told yet.
func (v *survey) tell(ctx context.Context, f *file, after uint64,
	fn func(blob.Record) error) error {
	gapAt := int64(-1)
	err := v.s.scan(ctx, f, after, func(r *found) error {
		if gapAt >= 0 {
			v.s.broken(f, gapAt, r.batch, brokenBefore)
			gapAt = -1
		}
		if r.batch <= after && after > 0 || v.unconfirmed(f.number, r) ||
			r.kind != kindMessage && r.kind != kindReference {
			return nil
		}
		return v.tellOne(ctx, f, r, fn)
	}, func(from, _ int64) { gapAt = from })
	if err == nil && gapAt >= 0 {
		v.s.damage(f.number, gapAt, "broken records at the end")
	}
	return err
}

// tellOne calls fn for a record, if it is intact and was not told yet.
func (v *survey) tellOne(ctx context.Context, f *file, r *found,
	fn func(blob.Record) error) error {
	id := r.identity(f.number)
	seen, copied := v.copies[id]
	if seen {
		return nil
	}
	loc := blob.Location{Volume: f.number, Offset: r.bodyAt(), Size: r.body, Sum: r.bodySum}
	ok, err := r.bodyIntact(ctx)
	if err == nil && ok && r.kind == kindReference {
		loc.Volume, loc.Offset, ok, err = v.resolve(ctx, r)
	}
	if err != nil {
		return err
	}
	if !ok {
		v.s.broken(f, r.at, r.batch, "the body of a record is broken or gone")
		return nil
	}
	meta, ok, err := r.metaBytes()
	if err != nil {
		return err
	}
	if !ok {
		v.s.broken(f, r.at, r.batch, "the meta of a record is broken")
		return nil
	}
	if copied {
		v.copies[id] = true
	}
	return fn(blob.Record{Batch: r.batch, Durable: r.durable, Meta: meta, Body: loc})
}

// unconfirmed says whether a record belongs to a batch that failed.
func (v *survey) unconfirmed(number int64, r *found) bool {
	for _, c := range v.cuts {
		if c.from.volume == number && c.batch == r.batch && r.at >= c.from.offset &&
			r.at < c.end {
			return true
		}
	}
	return false
}

// resolve finds the body of a reference, where it was written or where it
// was moved to.
func (v *survey) resolve(ctx context.Context, r *found) (volume, offset int64, ok bool, err error) {
	if ok, err := v.bodyAt(ctx, r, r.ref); ok || err != nil {
		return r.ref.volume, r.ref.offset, ok, err
	}
	if !v.whole {
		if err := v.readMoved(ctx); err != nil {
			return 0, 0, false, err
		}
	}
	for _, p := range v.bodies[r.ref] {
		if ok, err := v.bodyAt(ctx, r, p); ok || err != nil {
			return p.volume, p.offset, ok, err
		}
	}
	return 0, 0, false, nil
}

// readMoved notes the copies in all moved files.
func (v *survey) readMoved(ctx context.Context) error {
	w := survey{s: v.s, copies: map[identity]bool{}, bodies: map[place][]place{}}
	for _, f := range v.s.list() {
		if f.kind != movedFile {
			continue
		}
		if err := w.read(ctx, f, 0); err != nil {
			return err
		}
	}
	v.bodies, v.whole = w.bodies, true
	return nil
}

// bodyAt says whether the body of a reference is at p.
func (v *survey) bodyAt(ctx context.Context, r *found, p place) (bool, error) {
	b, err := v.s.reader(blob.Location{Volume: p.volume, Offset: p.offset, Size: r.body,
		Sum: r.bodySum})
	if err != nil {
		return false, nil // it is not there
	}
	defer b.Close() // returns nil
	err = b.verify(ctx, r.bodySum)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	return err == nil, nil
}

// Verify implements blob.Store.
func (s *Store) Verify(ctx context.Context, loc blob.Location) error {
	r, err := s.reader(loc)
	if err != nil {
		return err
	}
	defer r.Close() // returns nil
	return r.verify(ctx, loc.Sum)
}

// verify reads all of r and compares the checksum.
func (r *reader) verify(ctx context.Context, sum uint32) error {
	got := summer{ctx: ctx}
	n, err := r.WriteTo(&got)
	switch {
	case err != nil && mail.KindOf(err) == mail.Damaged:
		return err
	case err != nil:
		return ioError("read", r.f.path, err)
	case n != r.size || got.sum != sum:
		return mail.Errorf(mail.Damaged, fmt.Sprintf(
			"the %d bytes at %d in volume %d have another checksum", r.size, r.off, r.f.number))
	}
	return nil
}
