package message

import (
	"bytes"
	"context"
	"errors"
	"io"
)

// windowBytes is how much of a message is in memory at a time.
const windowBytes = 128 << 10

// history is how many bytes before the reading position stay in the window,
// so that the end of the line before a delimiter can be looked at.
const history = 4

// A window shows a part of the source and moves over it once. The bytes
// [base, base+len(buf)) are in memory; buf[pos:] has not been read yet.
type window struct {
	ctx   context.Context
	r     io.ReaderAt
	size  int64
	buf   []byte
	base  int64
	pos   int
	keep  int   // index from which bytes stay, -1 for none
	lines int64 // LFs before pos
	whole bool  // buf is everything; nothing is ever read
	err   error
	short bool
}

func newWindow(ctx context.Context, r io.ReaderAt, size int64) window {
	w := window{ctx: ctx, r: r, size: max(size, 0), keep: -1}
	if b, ok := r.(interface{ Bytes() []byte }); ok {
		if s := b.Bytes(); s != nil {
			w.short = int64(len(s)) < w.size
			w.size = min(w.size, int64(len(s)))
			w.buf, w.whole = s[:w.size], true
			return w
		}
	}
	w.buf = make([]byte, 0, int(min(w.size, windowBytes)))
	return w
}

// offset is the place of the reading position in the message.
func (w *window) offset() int64 { return w.base + int64(w.pos) }

// fill tries to have n unread bytes in memory and says whether it could; if
// not, the message ends before that.
func (w *window) fill(n int) bool {
	for len(w.buf)-w.pos < n {
		if w.whole || w.base+int64(len(w.buf)) >= w.size {
			return false
		}
		w.slide(n)
		w.read()
	}
	return true
}

// slide makes room: what is neither kept nor unread goes, and if that is not
// enough for n bytes and half a window, the buffer grows.
func (w *window) slide(n int) {
	from := max(w.pos-history, 0)
	if w.keep >= 0 {
		from = min(from, w.keep)
		w.keep -= from
	}
	need := w.pos - from + max(n, windowBytes/2)
	if left := w.size - w.base - int64(from); int64(need) > left {
		need = int(left)
	}
	dst := w.buf[:0]
	if need > cap(w.buf) {
		dst = make([]byte, 0, max(need, 2*cap(w.buf)))
	}
	w.buf = append(dst, w.buf[from:]...)
	w.base += int64(from)
	w.pos -= from
}

// read appends to the window what fits. At an error, or when the source is
// shorter than it should be, the message ends there.
func (w *window) read() {
	end := w.base + int64(len(w.buf))
	if err := w.ctx.Err(); err != nil {
		w.err, w.size = err, end
		return
	}
	space := w.buf[len(w.buf):cap(w.buf)]
	if left := w.size - end; int64(len(space)) > left {
		space = space[:left]
	}
	n, err := w.r.ReadAt(space, end)
	w.buf = w.buf[:len(w.buf)+n]
	if n == len(space) {
		return
	}
	w.size = end + int64(n)
	if errors.Is(err, io.EOF) {
		w.short = true
		return
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	w.err = err
}

// line gives the next line with its LF and moves past it. A line longer than
// maxLine comes in pieces; the last one may lack the LF. It is nil at the end.
func (w *window) line() []byte {
	const maxLine = windowBytes / 4
	searched := 0
	for {
		rest := w.buf[w.pos:]
		if i := bytes.IndexByte(rest[searched:], '\n'); i >= 0 {
			n := searched + i + 1
			w.pos += n
			w.lines++
			return rest[:n]
		}
		searched = len(rest)
		if (searched >= maxLine && !w.whole) || !w.fill(searched+1) {
			if searched == 0 {
				return nil
			}
			rest = w.buf[w.pos:][:searched] // fill may have moved it
			w.pos += searched
			return rest
		}
	}
}

// advance moves n bytes on, counting lines.
func (w *window) advance(n int) {
	w.lines += int64(bytes.Count(w.buf[w.pos:w.pos+n], lf))
	w.pos += n
}

var lf = []byte{'\n'}

// finish moves to the end of the message.
func (w *window) finish() {
	for {
		w.advance(len(w.buf) - w.pos)
		if !w.fill(1) {
			return
		}
	}
}

// last is the byte n places before the reading position, 0 if there is none
// in memory.
func (w *window) last(n int) byte {
	if w.pos < n {
		return 0
	}
	return w.buf[w.pos-n]
}

var (
	dashes   = []byte("--")
	lfDashes = []byte("\n--")
)

// indexDelimiter finds "\n--" in b and gives the index of its LF, else -1.
// It looks for dashes first: base64 has none, so that a large attachment is
// passed at the speed of memory.
func indexDelimiter(b []byte) int {
	for i, misses := 1, 0; i < len(b); misses++ {
		if misses > 8+i/64 {
			if j := bytes.Index(b[i-1:], lfDashes); j >= 0 {
				return i - 1 + j
			}
			return -1
		}
		j := bytes.IndexByte(b[i:], '-')
		if j < 0 {
			return -1
		}
		i += j
		if i+1 < len(b) && b[i+1] == '-' && b[i-1] == '\n' {
			return i - 1
		}
		i++
	}
	return -1
}
