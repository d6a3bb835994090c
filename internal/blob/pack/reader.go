package pack

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"postrider/internal/mail"
)

// A Reader reads one packed body. Its methods may be called concurrently, of
// which one ReadAt at a time is served. Damaged is what they say where the
// packed bytes are not those that Pack wrote; other errors are those of the
// source. It needs no closing.
type Reader struct {
	c      *Codec
	src    io.ReaderAt
	size   int64 // plain
	frames int64
	index  int64 // where it begins

	mu     sync.Mutex
	chunk  []byte // the last one of which a part was read
	number int64  // of chunk; any if that is empty
}

// Open returns a reader of the body that is packed in the first packed bytes
// of src and has size plain bytes. Nothing is read yet.
func (c *Codec) Open(src io.ReaderAt, packed, size int64) (*Reader, error) {
	r := &Reader{c: c, src: src, size: size, frames: size / Chunk}
	if size%Chunk > 0 {
		r.frames++
	}
	r.index = packed - r.frames*entrySize
	if size < 0 || r.index < 0 {
		return nil, damaged(fmt.Sprintf("%d bytes cannot be packed in %d", size, packed), nil)
	}
	return r, nil
}

// Size is the number of plain bytes.
func (r *Reader) Size() int64 { return r.size }

// ReadAt implements io.ReaderAt for the plain bytes.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	n := 0
	for n < len(p) && off < r.size {
		k, err := r.part(p[n:], off)
		if err != nil {
			return n, err
		}
		n += k
		off += int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// part reads from one chunk. One that p has room for is unpacked there, any
// other is kept: whoever reads a part of it is likely to want the next.
func (r *Reader) part(p []byte, off int64) (int, error) {
	number, skip := off/Chunk, off%Chunk
	if n := r.length(number); skip == 0 && len(p) >= n {
		b, err := r.unpack(p[:0:n], number)
		return copy(p, b), err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.chunk) == 0 || r.number != number {
		if r.chunk == nil {
			r.chunk = make([]byte, 0, min(r.size, Chunk)+slack)
		}
		b, err := r.unpack(r.chunk[:0], number)
		if err != nil {
			r.chunk = r.chunk[:0]
			return 0, err
		}
		r.chunk, r.number = b, number
	}
	return copy(p, r.chunk[skip:]), nil
}

// WriteTo implements io.WriterTo: it writes the whole body.
func (r *Reader) WriteTo(w io.Writer) (n int64, err error) {
	b := make([]byte, 0, min(r.size, Chunk)+slack)
	for number := range r.frames {
		if b, err = r.unpack(b[:0], number); err != nil {
			return n, err
		}
		k, err := w.Write(b)
		n += int64(k)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// length is how many plain bytes a chunk has.
func (r *Reader) length(number int64) int { return int(min(r.size-number*Chunk, Chunk)) }

// unpack returns a chunk in the room that b has.
func (r *Reader) unpack(b []byte, number int64) ([]byte, error) {
	u, err := r.c.unpacker()
	if err != nil {
		return b, err
	}
	defer r.c.unpackers.Put(u)
	frame, err := r.frame(u, number)
	if err != nil {
		return b, err
	}
	plain, err := u.dec.DecodeAll(frame, b)
	if err != nil || len(plain) != r.length(number) {
		return b[:0], damaged(fmt.Sprintf("chunk %d of a packed body is no chunk", number), err)
	}
	return plain, nil
}

// frame reads a frame and compares its checksum.
func (r *Reader) frame(u *unpacker, number int64) ([]byte, error) {
	var start int64
	entry := u.frame[:2*entrySize]
	at := r.index + (number-1)*entrySize
	if number == 0 {
		entry, at = entry[entrySize:], r.index
	}
	if err := r.read(entry, at); err != nil {
		return nil, err
	}
	if number > 0 {
		start = int64(le.Uint64(entry))
		entry = entry[entrySize:]
	}
	end, sum := int64(le.Uint64(entry)), le.Uint32(entry[8:])
	if start < 0 || end <= start || end > r.index || end-start > maxFrame {
		return nil, damaged("the index of a packed body is broken", nil)
	}
	frame := u.frame[:end-start]
	if err := r.read(frame, start); err != nil {
		return nil, err
	}
	if crc32.Checksum(frame, castagnoli) != sum {
		return nil, damaged(fmt.Sprintf("chunk %d of a packed body has another checksum", number),
			nil)
	}
	return frame, nil
}

// read fills b.
func (r *Reader) read(b []byte, off int64) error {
	n, err := r.src.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return damaged("a packed body is shorter than it should be", io.ErrUnexpectedEOF)
	}
	return err
}

func damaged(text string, err error) error {
	return &mail.Error{Kind: mail.Damaged, Text: text, Err: err}
}
