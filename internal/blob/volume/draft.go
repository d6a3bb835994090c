package volume

import (
	"context"
	"errors"
	"hash/crc32"
	"io"

	"postrider/internal/blob"
	"postrider/internal/blob/memory"
	"postrider/internal/blob/vfs"
	"postrider/internal/mail"
)

// writeOutEvery is after how many bytes of a large body the disk is asked to
// write them, in bytes. Twice as many may be dirty at most, so that neither
// the flush at the end nor other sessions' flushes have to write more.
const writeOutEvery = 2 << 20

var errDiscarded = errors.New("the draft was discarded")

// A draft is a body under way. Until it is finished, buf holds all of it or,
// when it has outgrown memory, what is not yet written to the lent file. One
// that has yielded has no buf: what comes goes to the lent file at once.
type draft struct {
	s         *Store
	group     int
	buf       *memory.Buffer // nil also when it is of no more use
	size      int64
	sum       uint32
	lent      *loan
	finished  bool
	confirmed bool
	at        place  // of the body, once a batch has flushed it
	batch     uint64 // which one; 0 if none has
	err       error  // of an earlier Write; repeated
}

// A loan is a lent file as one draft uses it.
type loan struct {
	f       *file
	handle  vfs.File
	start   int64 // of the body
	written int64 // bytes of the body
	asked   int64 // bytes of the body that the disk was asked to write
	waited  int64 // bytes of the body that it has written
	settled bool  // the file went back to the pool
}

// NewDraft implements blob.Store.
func (s *Store) NewDraft(ctx context.Context, group int) (blob.Draft, error) {
	if _, err := s.group(group); err != nil {
		return nil, err
	}
	b, err := s.memory.Wait(ctx)
	if err != nil {
		return nil, err
	}
	return &draft{s: s, group: group, buf: b}, nil
}

// Size implements blob.Draft.
func (d *draft) Size() int64 { return d.size }

// Bytes implements blob.Draft.
func (d *draft) Bytes() []byte {
	if d.lent != nil || d.buf == nil {
		return nil
	}
	return d.buf.B
}

// Write implements io.Writer.
func (d *draft) Write(p []byte) (int, error) {
	if d.finished && d.err == nil {
		d.err = errors.New("the draft is finished")
	}
	if d.err != nil {
		return 0, d.err
	}
	n := 0
	for n < len(p) {
		k, err := d.take(p[n:])
		if err != nil {
			d.err = err
			return n, err
		}
		d.sum = crc32.Update(d.sum, castagnoli, p[n:n+k])
		d.size += int64(k)
		n += k
	}
	return n, nil
}

// take takes one byte of p at least, and says how many.
func (d *draft) take(p []byte) (int, error) {
	if d.buf == nil && d.lent == nil {
		d.buf = d.s.memory.Try(memory.Small)
	}
	if d.buf == nil {
		return len(p), d.put(p)
	}
	if err := d.room(len(p)); err != nil {
		return 0, err
	}
	b := d.buf.B
	k := copy(b[len(b):cap(b)], p)
	d.buf.B = b[:len(b)+k]
	return k, nil
}

// room makes place for one byte at least; for want of them, if it can.
func (d *draft) room(want int) error {
	b := d.buf.B
	if len(b) < cap(b) {
		if d.lent != nil || len(b)+want <= cap(b) {
			return nil
		}
	}
	if d.lent == nil && cap(b) < memory.Large {
		// Growing never waits: who waits while holding memory may wait for
		// others that do the same.
		if large := d.s.memory.Try(memory.Large); large != nil {
			large.B = append(large.B, b...)
			d.s.memory.Put(d.buf)
			d.buf = large
			return nil
		}
	}
	if len(b) < cap(b) {
		return nil
	}
	return d.spill()
}

// spill writes the buffer to the lent file and empties it.
func (d *draft) spill() error {
	if d.buf == nil || len(d.buf.B) == 0 {
		return nil
	}
	err := d.put(d.buf.B)
	if err == nil {
		d.buf.B = d.buf.B[:0]
	}
	return err
}

// put writes p to the lent file, behind what is there.
func (d *draft) put(p []byte) error {
	if d.lent == nil {
		l, err := d.s.lend(d.group)
		if err != nil {
			return err
		}
		d.lent = l
	}
	l := d.lent
	if _, err := l.handle.WriteAt(p, l.start+l.written); err != nil {
		if !vfs.IsFull(err) {
			l.f.sealed.Store(true)
		}
		return ioError("write", l.f.path, err)
	}
	l.written += int64(len(p))
	if l.written-l.asked < writeOutEvery {
		return nil
	}
	if l.asked > l.waited {
		if err := l.handle.WriteOut(l.start+l.waited, l.asked-l.waited, true); err != nil {
			return ioError("write out", l.f.path, err)
		}
		l.waited = l.asked
	}
	if err := l.handle.WriteOut(l.start+l.asked, l.written-l.asked, false); err != nil {
		return ioError("write out", l.f.path, err)
	}
	l.asked = l.written
	return nil
}

// Yield implements blob.Draft.
func (d *draft) Yield() {
	if d.buf == nil || d.finished || d.err != nil || !d.s.memory.Pressed() {
		return
	}
	if d.err = d.spill(); d.err != nil {
		return
	}
	d.s.memory.Put(d.buf)
	d.buf = nil
}

// Finish implements blob.Draft.
func (d *draft) Finish(ctx context.Context) error {
	switch {
	case d.err != nil:
		return d.err
	case d.finished:
		return nil
	}
	if err := ctx.Err(); err != nil {
		return &mail.Error{Kind: mail.Temporary, Text: "the message was given up", Err: err}
	}
	if d.lent == nil {
		if d.buf == nil { // an empty body, and a batch wants it in memory
			d.buf, d.err = d.s.memory.Wait(ctx)
		}
		d.finished = d.err == nil
		return d.err
	}
	if d.err = d.spill(); d.err != nil {
		return d.err
	}
	l := d.lent
	var b [recordSize]byte
	h := header{kind: kindBody, body: d.size, bodySum: d.sum,
		metaSum: crc32.Checksum(nil, castagnoli)}
	h.encode(b[:], l.f.tag)
	if _, err := l.handle.WriteAt(b[:], l.start-recordSize); err != nil {
		d.err = ioError("write", l.f.path, err)
		return d.err
	}
	if err := l.handle.Sync(); err != nil {
		// What is on the disk now is unknown: the file is lent no more.
		l.f.sealed.Store(true)
		d.err = ioError("flush", l.f.path, err)
		return d.err
	}
	l.f.size.Store(l.start + d.size)
	d.finished = true
	if d.buf != nil {
		d.s.memory.Put(d.buf)
		d.buf = nil
	}
	d.s.repay(l)
	return nil
}

// ReadAt implements io.ReaderAt, after Finish.
func (d *draft) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case d.lent != nil && d.finished:
		return vfs.ReadPart(d.lent.handle, d.lent.start, d.size, p, off)
	case d.buf == nil || d.lent != nil:
		return 0, errDiscarded
	case off < 0:
		return 0, errors.New("negative offset")
	case off >= d.size:
		return 0, io.EOF
	}
	n := copy(p, d.buf.B[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Discard implements blob.Draft.
func (d *draft) Discard() {
	if d.buf != nil {
		d.s.memory.Put(d.buf)
		d.buf = nil
	}
	if d.lent != nil {
		if d.finished && d.confirmed {
			d.s.handles.release(d.lent.f)
		} else {
			d.s.takeBack(d.lent)
		}
		d.lent = nil
	}
	if d.err == nil {
		d.err = errDiscarded
	}
}
