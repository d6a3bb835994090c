package volume

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
)

// How much a scan reads at once, in bytes.
const (
	wideWindow   = 256 << 10 // through small records
	narrowWindow = recordSize
	copySize     = 128 << 10 // of one body
)

// A scanner reads a file's records in order.
type scanner struct {
	r      io.ReaderAt
	tag    uint64
	end    int64 // nothing is read beyond
	window int

	buf  []byte
	base int64 // where buf begins
}

// A found record is one whose header is intact. Its meta and body are read
// on demand.
type found struct {
	header
	at int64 // of the header
	sc *scanner
}

// body is where the body begins, or would.
func (r *found) bodyAt() int64 { return r.at + recordSize }

func (r *found) end() int64 { return r.at + r.size() }

// view returns n bytes at off, valid until the next call; fewer at the end.
func (sc *scanner) view(off int64, n int) ([]byte, error) {
	n = int(min(int64(n), max(sc.end-off, 0)))
	if off >= sc.base && off+int64(n) <= sc.base+int64(len(sc.buf)) {
		return sc.buf[off-sc.base:][:n], nil
	}
	want := int(min(int64(max(n, sc.window)), sc.end-off))
	if cap(sc.buf) < want {
		sc.buf = make([]byte, want)
	}
	sc.buf, sc.base = sc.buf[:want], off
	got, err := sc.r.ReadAt(sc.buf, off)
	sc.buf = sc.buf[:got]
	if err != nil && !errors.Is(err, io.EOF) {
		sc.buf = sc.buf[:0]
		return nil, err
	}
	return sc.buf[:min(n, got)], nil
}

// at reads the header at off, if there is an intact one.
func (sc *scanner) at(off int64) (found, bool, error) {
	b, err := sc.view(off, recordSize)
	if err != nil {
		return found{}, false, err
	}
	h, ok := decode(b, sc.tag, sc.end-off)
	return found{header: h, at: off, sc: sc}, ok, nil
}

// search returns the first intact header from off on.
func (sc *scanner) search(off int64) (found, bool, error) {
	if sc.tag == 0 { // of a file that has lost it: no header is accepted
		return found{}, false, nil
	}
	tag := le.AppendUint64(nil, sc.tag)
	for off+recordSize <= sc.end {
		b, err := sc.view(off, wideWindow)
		if err != nil {
			return found{}, false, err
		}
		i := bytes.Index(b, tag)
		if i < 0 {
			if len(b) < len(tag) {
				break
			}
			off += int64(len(b) - len(tag) + 1)
			continue
		}
		if r, ok, err := sc.at(off + int64(i)); ok || err != nil {
			return r, ok, err
		}
		off += int64(i) + 1
	}
	return found{}, false, nil
}

// each calls fn for every record with an intact header from off on, and gap
// for what lies between them. The last gap may reach to the end. Fn says how
// the body is: after a broken one the scan looks for headers inside it too,
// for the length may be as wrong as the rest.
func (sc *scanner) each(off int64, fn func(*found) error, gap func(from, to int64)) error {
	for off < sc.end {
		r, ok, err := sc.at(off)
		if err != nil {
			return err
		}
		if !ok {
			if r, ok, err = sc.search(off + 1); err != nil {
				return err
			}
			if !ok {
				gap(off, sc.end)
				return nil
			}
			gap(off, r.at)
		}
		if err := fn(&r); err != nil {
			return err
		}
		off = r.end()
	}
	return nil
}

// meta returns the meta, or nil and false if it is broken. It is valid until
// the scanner reads on.
func (r *found) metaBytes() ([]byte, bool, error) {
	b, err := r.sc.view(r.bodyAt()+r.inline(), int(r.header.meta))
	if err != nil {
		return nil, false, err
	}
	ok := len(b) == int(r.header.meta) && crc32.Checksum(b, castagnoli) == r.metaSum
	return b, ok, nil
}

// bodyIntact reads the body that follows the header.
func (r *found) bodyIntact(ctx context.Context) (bool, error) {
	size, want := r.stored()
	if size == 0 {
		return want == 0, nil // the checksum of nothing
	}
	if size <= wideWindow {
		b, err := r.sc.view(r.bodyAt(), int(size))
		if err != nil {
			return false, err
		}
		return int64(len(b)) == size && crc32.Checksum(b, castagnoli) == want, nil
	}
	sum := summer{ctx: ctx}
	n, err := io.CopyBuffer(&sum, io.NewSectionReader(r.sc.r, r.bodyAt(), size),
		make([]byte, copySize))
	return n == size && sum.sum == want, err
}

// intact checks body and meta.
func (r *found) intact(ctx context.Context) (bool, error) {
	if ok, err := r.bodyIntact(ctx); !ok || err != nil {
		return false, err
	}
	_, ok, err := r.metaBytes()
	return ok, err
}

// A summer takes the checksum of what is written to it, while ctx lives.
type summer struct {
	ctx context.Context
	sum uint32
}

func (s *summer) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	s.sum = crc32.Update(s.sum, castagnoli, p)
	return len(p), nil
}
