package message

import (
	"bytes"
	"encoding/base64"
	"io"
)

// A View is a message as it is shown: the bytes that were stored, with some
// stretches replaced. It may be read concurrently.
type View struct {
	r      io.ReaderAt
	pieces []piece
	size   int64
}

// A piece is a stretch of a View: a stretch of the source as it is or in
// base64, or text.
type piece struct {
	at     int64  // in the View
	size   int64  // in the View
	text   []byte // if not nil
	offset int64  // in the source
	len    int64
	base64 bool
	last   bool // of base64: the message ends here, and with a line end
}

// base64 comes in lines of 76 characters (RFC 2045 section 6.8), which stand
// for 57 bytes.
const (
	base64Line  = 76
	base64Bytes = 57
	base64Step  = 512 // lines that are encoded at a time
)

// Size is how many bytes the View has.
func (v *View) Size() int64 { return v.size }

// HasBinary says whether a part of the tree has the transfer encoding
// "binary" (RFC 2045 section 6.2, RFC 3030), which not every way out can take.
func (p *Part) HasBinary() bool {
	return !p.Walk(func(p *Part) bool { return p.Encoding != "binary" })
}

// WithoutBinary shows a message where only lines may pass, such as POP3: its
// binary parts are in base64 and labeled so (RFC 3030 section 3). Root is the
// tree of the message, which begins at the byte start of r; what stands before
// is shown as it is. Size is that of all of r. Only the headers of such parts
// are read. The error is that of r.
func WithoutBinary(r io.ReaderAt, size, start int64, root *Part) (*View, error) {
	v := &View{r: r}
	at := int64(0)
	var err error
	root.Walk(func(p *Part) bool {
		if p.Encoding == "binary" {
			at, err = v.relabel(at, start, size, p)
		}
		return err == nil
	})
	v.source(at, size-at, false)
	return v, err
}

// relabel replaces the encoding of one part, after all before it is shown,
// and returns where the source goes on.
func (v *View) relabel(at, start, size int64, p *Part) (int64, error) {
	raw := make([]byte, min(p.HeaderLen, DefaultHeaderBytes))
	n, err := v.r.ReadAt(raw, start+p.HeaderOffset)
	if n < len(raw) {
		return at, err
	}
	h, _ := ParseHeader(raw, Limits{})
	f := h.Field("Content-Transfer-Encoding")
	if f == nil || start+p.HeaderOffset < at {
		return at, nil
	}
	place := start + p.HeaderOffset + f.Offset
	leaf := len(p.Parts) == 0 && p.Message == nil && p.Type != "multipart" && p.Type != "message"
	label := "8bit" // what a container may have (RFC 2045 section 6.4)
	if leaf {
		label = "base64"
	}
	v.source(at, place-at, false)
	v.literal(f.Name + ": " + label + "\r\n")
	at = place + f.Len
	if leaf {
		body := start + p.BodyOffset
		v.source(at, body-at, false)
		v.source(body, p.BodyLen, true)
		at = body + p.BodyLen
		if last := &v.pieces[len(v.pieces)-1]; at == size && p.BodyLen > 0 {
			last.last = true
			last.size += 2
			v.size += 2
		}
	}
	return at, nil
}

// source shows a stretch of the source.
func (v *View) source(offset, n int64, encoded bool) {
	size := n
	if encoded && n > 0 {
		size = (n + 2) / 3 * 4
		size += (size - 1) / base64Line * 2
	}
	v.add(piece{size: size, offset: offset, len: n, base64: encoded})
}

func (v *View) literal(s string) { v.add(piece{size: int64(len(s)), text: []byte(s)}) }

func (v *View) add(p piece) {
	if p.size > 0 {
		p.at = v.size
		v.pieces = append(v.pieces, p)
		v.size += p.size
	}
}

// ReadAt implements io.ReaderAt.
func (v *View) ReadAt(b []byte, off int64) (int, error) {
	n := 0
	for i := range v.pieces {
		p := &v.pieces[i]
		at := off + int64(n) - p.at
		if at < 0 || at >= p.size || n == len(b) {
			continue
		}
		want := b[n:min(int64(len(b)), int64(n)+p.size-at)]
		k, err := p.readAt(v.r, want, at)
		n += k
		if k < len(want) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// readAt fills b, which ends within the piece.
func (p *piece) readAt(r io.ReaderAt, b []byte, at int64) (int, error) {
	switch {
	case p.text != nil:
		return copy(b, p.text[at:]), nil
	case !p.base64:
		return r.ReadAt(b, p.offset+at)
	}
	n := 0
	for n < len(b) {
		text, skip, err := p.encode(r, at+int64(n), len(b)-n)
		n += copy(b[n:], text[min(skip, len(text)):])
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// encode gives the lines that begin with the one at a place, as many as are
// wanted or as one step takes; skip is where in them the place is.
func (p *piece) encode(r io.ReaderAt, at int64, want int) (text []byte, skip int, err error) {
	first := at / (base64Line + 2)
	skip = int(at - first*(base64Line+2))
	lines := min((skip+want)/(base64Line+2)+1, base64Step)
	from := first * base64Bytes
	raw := make([]byte, min(int64(lines*base64Bytes), p.len-from))
	if n, err := r.ReadAt(raw, p.offset+from); n < len(raw) {
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return nil, 0, err
	}
	var out bytes.Buffer
	out.Grow(lines * (base64Line + 2))
	for len(raw) > 0 {
		n := min(len(raw), base64Bytes)
		out.Write(base64.StdEncoding.AppendEncode(out.AvailableBuffer(), raw[:n]))
		raw = raw[n:]
		from += int64(n)
		if from < p.len || p.last {
			out.WriteString("\r\n")
		}
	}
	return out.Bytes(), skip, nil
}
