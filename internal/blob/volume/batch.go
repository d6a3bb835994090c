package volume

import (
	"errors"
	"fmt"
	"hash/crc32"
	"sync"

	"postrider/internal/blob"
	"postrider/internal/blob/vfs"
	"postrider/internal/mail"
)

// gather is how much is copied together for one write, in bytes.
const gather = 1 << 20

// A batch is the one that Begin began last. It has a part for each file that
// it touches.
type batch struct {
	s       *Store
	number  uint64
	durable uint64
	parts   []*part
	used    int      // parts in use; the others are kept for their memory
	buf     []byte   // what is written next
	last    []extent // what the last Sync has flushed, for Revoke
}

// A part is what a batch appends to one file.
type part struct {
	g       *group
	w       *writer
	end     int64 // of the file after the records added so far
	records []pending
	seal    bool

	failed  error // of the write
	unknown error // of the flush
}

// An extent is what a flushed batch has added to a file.
type extent struct {
	w         *writer
	from, end int64
	batch     uint64
	sealed    bool
}

// A pending record waits for Sync.
type pending struct {
	header header
	body   []byte
	meta   []byte
	draft  *draft
	at     place // of the body
}

// A cut tells that the records of a batch in a part of a volume were never
// confirmed, though they could not be cut off.
type cut struct {
	from  place
	end   int64
	batch uint64
}

// Begin implements blob.Store.
func (s *Store) Begin(number, durable uint64) blob.Batch {
	b := &s.batch
	b.s = s
	b.number, b.durable = number, durable
	b.Reset()
	return b
}

// Reset implements blob.Batch.
func (b *batch) Reset() {
	for _, p := range b.parts[:b.used] {
		clear(p.records) // what they point to is to be freed
		*p = part{records: p.records[:0]}
	}
	b.used = 0
}

// Add implements blob.Batch.
func (b *batch) Add(groupIndex int, d blob.Draft, meta []byte) (blob.Location, error) {
	g, err := b.s.group(groupIndex)
	if err != nil {
		return blob.Location{}, err
	}
	body, ok := d.(*draft)
	switch {
	case !ok || body.s != b.s:
		return blob.Location{}, mail.Errorf(mail.Internal, "the draft is not of these volumes")
	case !body.finished || body.err != nil:
		return blob.Location{}, mail.Errorf(mail.Internal, "the draft is not finished")
	case len(meta) > maxMeta:
		return blob.Location{}, mail.Errorf(mail.Invalid,
			fmt.Sprintf("a record's meta has %d bytes, the limit is %d", len(meta), maxMeta))
	}
	r := pending{meta: meta, draft: body}
	r.header = header{kind: kindMessage, meta: uint32(len(meta)), body: body.size,
		batch: b.number, durable: b.durable, bodySum: body.sum,
		metaSum: crc32.Checksum(meta, castagnoli)}
	loc := blob.Location{Size: body.size, Sum: body.sum}
	if l := body.lent; l != nil {
		r.header.kind = kindReference
		r.header.ref = place{l.f.number, l.start}
		loc.Volume, loc.Offset = l.f.number, l.start
	} else if body.batch != 0 && body.batch != b.s.revoked {
		// A message for very many goes in steps: the body is there already.
		r.header.kind = kindReference
		r.header.ref = body.at
		loc.Volume, loc.Offset = body.at.volume, body.at.offset
	} else {
		r.body = body.buf.B
	}
	p, err := b.part(g, r.header.size())
	if err != nil {
		return blob.Location{}, err
	}
	if r.header.kind == kindMessage {
		loc.Volume, loc.Offset = p.w.f.number, p.end+recordSize
	}
	r.at = place{loc.Volume, loc.Offset}
	p.records = append(p.records, r)
	p.end += r.header.size()
	return loc, nil
}

// part returns the part for a record of size bytes in this group.
func (b *batch) part(g *group, size int64) (*part, error) {
	var p *part
	for _, q := range b.parts[:b.used] {
		if q.g == g {
			p = q // the last one of the group
		}
	}
	if p != nil && (p.end+size+recordSize <= b.s.size || p.end == headSize) {
		return p, nil
	}
	var w *writer
	if p != nil {
		w = p.w
	}
	next, err := b.s.writerAfter(g, w)
	if err != nil {
		return nil, err
	}
	if p == nil && next.end > headSize && next.end+size+recordSize > b.s.size {
		p = b.newPart(g, next)
		if next, err = b.s.writerAfter(g, next); err != nil {
			b.used-- // nothing is in it
			return nil, err
		}
	}
	if p != nil {
		p.seal = true
	}
	return b.newPart(g, next), nil
}

func (b *batch) newPart(g *group, w *writer) *part {
	if b.used == len(b.parts) {
		b.parts = append(b.parts, &part{})
	}
	p := b.parts[b.used]
	b.used++
	p.g, p.w, p.end = g, w, w.end
	return p
}

// Sync implements blob.Batch.
func (b *batch) Sync() error {
	defer b.Reset()
	b.last = b.last[:0]
	if b.used == 0 {
		return nil
	}
	if b.s.closed.Load() {
		return errClosed()
	}
	cuts := b.addCuts()
	parts := b.parts[:b.used]
	var failed error
	for _, p := range parts {
		if failed = b.write(p); failed != nil {
			p.failed = failed
			break
		}
	}
	if failed == nil {
		failed = flush(parts)
	}
	if failed != nil {
		b.undo(parts)
		return failed
	}
	b.s.dropCuts(cuts)
	for _, p := range parts {
		for i := range p.records {
			if d := p.records[i].draft; d != nil {
				d.confirmed, d.at, d.batch = true, p.records[i].at, b.number
			}
		}
		b.last = append(b.last, extent{p.w, p.w.end, p.end, b.number, p.seal})
		p.w.advance(p.end, b.number)
		if p.seal {
			b.s.sealed(p.g, p.w)
		}
	}
	return nil
}

// Revoke implements blob.Batch. Where a file cannot be cut back, the next
// batch says that the records were never confirmed.
func (b *batch) Revoke() error {
	b.s.revoked = b.number
	var failed error
	for _, e := range b.last {
		if !e.sealed {
			err := e.w.takeBack(e.from)
			if err == nil {
				continue
			}
			b.s.log.Error("volume not cut back", "volume", e.w.f.number, "err", err)
			failed = errors.Join(failed, err)
		}
		b.s.cutMu.Lock()
		b.s.cuts = append(b.s.cuts, cut{from: place{e.w.f.number, e.from}, end: e.end, batch: e.batch})
		b.s.cutMu.Unlock()
	}
	b.last = b.last[:0]
	return failed
}

// addCuts appends records of the failed batches that could not be cut off,
// and says how many.
func (b *batch) addCuts() int {
	b.s.cutMu.Lock()
	defer b.s.cutMu.Unlock()
	p := b.parts[0]
	for _, c := range b.s.cuts {
		meta := make([]byte, 16)
		le.PutUint64(meta, uint64(c.end))
		le.PutUint64(meta[8:], c.batch)
		r := pending{meta: meta, header: header{kind: kindCut, meta: uint32(len(meta)),
			batch: b.number, durable: b.durable, ref: c.from,
			metaSum: crc32.Checksum(meta, castagnoli)}}
		p.records = append(p.records, r)
		p.end += r.header.size()
	}
	return len(b.s.cuts)
}

func (s *Store) dropCuts(n int) {
	if n == 0 {
		return
	}
	s.cutMu.Lock()
	s.cuts = s.cuts[n:]
	s.cutMu.Unlock()
}

// write writes the records of a part, gathered.
func (b *batch) write(p *part) error {
	at := p.w.end
	b.buf = b.buf[:0]
	put := func() error {
		_, err := p.w.handle.WriteAt(b.buf, at)
		at += int64(len(b.buf))
		b.buf = b.buf[:0]
		if err != nil {
			return ioError("write", p.w.f.path, err)
		}
		return nil
	}
	var h [recordSize]byte
	for i := range p.records {
		r := &p.records[i]
		r.header.encode(h[:], p.w.f.tag)
		b.buf = append(b.buf, h[:]...)
		b.buf = append(b.buf, r.body...)
		b.buf = append(b.buf, r.meta...)
		if len(b.buf) >= gather {
			if err := put(); err != nil {
				return err
			}
		}
	}
	if p.seal {
		t := trailer(max(b.number, p.w.f.batch.Load()))
		t.encode(h[:], p.w.f.tag)
		b.buf = append(b.buf, h[:]...)
		p.end += recordSize
	}
	err := put()
	if cap(b.buf) > 4*gather {
		b.buf = nil
	}
	return err
}

// trailer is the header that ends a sealed file.
func trailer(batch uint64) header {
	return header{kind: kindTrailer, batch: batch, metaSum: crc32.Checksum(nil, castagnoli)}
}

// flush flushes the files of all parts, side by side.
func flush(parts []*part) error {
	sync1 := func(p *part) {
		if err := p.w.handle.Sync(); err != nil {
			p.unknown = ioError("flush", p.w.f.path, err)
		}
	}
	var wg sync.WaitGroup
	for _, p := range parts[1:] {
		wg.Go(func() { sync1(p) })
	}
	sync1(parts[0])
	wg.Wait()
	var all []error
	for _, p := range parts {
		if p.unknown != nil {
			all = append(all, p.unknown)
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	return errors.Join(all...)
}

// undo cuts the files of a failed batch back. A file that cannot be, or
// whose write or flush failed, is closed for writing: what the disk has of it
// is unknown. Want of space alone does not make it so.
func (b *batch) undo(parts []*part) {
	for _, p := range parts {
		err := p.w.cutBack()
		if err != nil {
			b.s.log.Error("volume not cut back", "volume", p.w.f.number, "err", err)
			b.s.cutMu.Lock()
			b.s.cuts = append(b.s.cuts, cut{from: place{p.w.f.number, p.w.end}, end: p.end,
				batch: b.number})
			b.s.cutMu.Unlock()
		}
		if err != nil || p.unknown != nil || p.failed != nil && !vfs.IsFull(p.failed) {
			b.s.log.Error("volume closed for writing", "volume", p.w.f.number,
				"err", errors.Join(p.failed, p.unknown))
			b.s.sealed(p.g, p.w)
		}
	}
}
