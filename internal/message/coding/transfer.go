package coding

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
)

// NewDecoder takes a transfer encoding, in lower case, off what r gives
// (RFC 2045 section 6): base64, quoted-printable, and the uuencode of old
// programs. Any other encoding is passed through. Broken input is read as
// far as it makes sense; the only errors are those of r.
func NewDecoder(r io.Reader, encoding string) io.Reader {
	switch encoding {
	case "base64":
		return &base64Reader{r: r}
	case "quoted-printable":
		return &lineDecoder{r: bufio.NewReaderSize(r, maxCodedLine), decode: decodeQPLine}
	case "uuencode", "x-uuencode", "x-uue", "uue":
		var u uuDecoder
		return &lineDecoder{r: bufio.NewReaderSize(r, maxCodedLine), decode: u.line}
	}
	return r
}

// A base64Reader decodes base64 (RFC 2045 section 6.8). Bytes outside the
// alphabet are passed over, padding ends a group and not the data, and the
// last group may lack it.
type base64Reader struct {
	r    io.Reader
	in   [3 << 10]byte
	part [4]byte // an unfinished group
	n    int     // bytes in part
	out  []byte  // decoded, not yet given; part of buf
	buf  [4 << 10]byte
	err  error
}

func (b *base64Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(b.out) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		n, err := b.r.Read(b.in[:])
		b.out = b.buf[:0]
		b.decode(b.in[:n])
		if err != nil {
			b.group()
			b.err = err
		}
	}
	n := copy(p, b.out)
	b.out = b.out[n:]
	return n, nil
}

// decode takes input bytes: whole clean runs at once, the rest one by one.
func (b *base64Reader) decode(in []byte) {
	for i := 0; i < len(in); {
		if b.n == 0 {
			run := i
			for run < len(in) && base64Alphabet[in[run]] {
				run++
			}
			if run -= (run - i) % 4; run > i {
				at := len(b.out)
				n := base64.StdEncoding.DecodedLen(run - i)
				b.out = b.out[:at+n]
				// The run holds nothing but the alphabet: it cannot fail.
				base64.StdEncoding.Decode(b.out[at:], in[i:run])
				i = run
				continue
			}
		}
		c := in[i]
		i++
		switch {
		case base64Alphabet[c]:
			b.part[b.n] = c
			b.n++
			if b.n == 4 {
				b.group()
			}
		case c == '=':
			b.group()
		}
	}
}

// group decodes the unfinished group; one sextet alone is no byte.
func (b *base64Reader) group() {
	if b.n >= 2 {
		var three [3]byte
		n, _ := base64.RawStdEncoding.Decode(three[:], b.part[:b.n])
		b.out = append(b.out, three[:n]...)
	}
	b.n = 0
}

var base64Alphabet = func() (t [256]bool) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		t[c] = true
	}
	return t
}()

// maxCodedLine is the longest line that a lineDecoder takes at once; longer
// ones come in pieces.
const maxCodedLine = 4 << 10

// A lineDecoder decodes what is coded line by line.
type lineDecoder struct {
	r      *bufio.Reader
	decode func(dst, line []byte) []byte
	buf    []byte
	out    []byte
	held   []byte // an escape at the end of a piece of a long line
	err    error
}

func (l *lineDecoder) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(l.out) == 0 {
		if l.err != nil {
			return 0, l.err
		}
		line, err := l.r.ReadSlice('\n')
		if len(l.held) > 0 {
			line = append(l.held, line...)
			l.held = nil
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			err = nil
			line = l.hold(line)
		}
		l.err = err
		l.buf = l.decode(l.buf[:0], line)
		l.out = l.buf
	}
	n := copy(p, l.out)
	l.out = l.out[n:]
	return n, nil
}

// hold keeps back what may be torn at the end of a piece: blanks, whose
// meaning the next bytes decide, and an escape.
func (l *lineDecoder) hold(line []byte) []byte {
	n := len(bytes.TrimRight(line, " \t\r"))
	if i := bytes.LastIndexByte(line[:n], '='); i >= 0 && i >= n-2 {
		n = i
	}
	if len(line)-n > maxCodedLine/2 {
		return line
	}
	l.held = bytes.Clone(line[n:])
	return line[:n]
}

// decodeQPLine decodes a line of quoted-printable (RFC 2045 section 6.7)
// with its end. Blanks before the end go (rule 3); an escape that is none
// stays as it is.
func decodeQPLine(dst, line []byte) []byte {
	body := line
	var eol []byte
	if n := len(line); n > 0 && line[n-1] == '\n' {
		body = line[:n-1]
		if n > 1 && line[n-2] == '\r' {
			body = line[:n-2]
		}
		eol = line[len(body):]
		body = bytes.TrimRight(body, " \t")
		if b, ok := bytes.CutSuffix(body, []byte{'='}); ok {
			body, eol = b, nil
		}
	}
	for {
		i := bytes.IndexByte(body, '=')
		if i < 0 {
			break
		}
		dst = append(dst, body[:i]...)
		body = body[i:]
		if len(body) >= 3 {
			if c, ok := unhex(body[1], body[2]); ok {
				dst = append(dst, c)
				body = body[3:]
				continue
			}
		}
		if len(body) == 1 && eol == nil {
			body = nil // a soft break at the end of the part
			break
		}
		dst = append(dst, '=')
		body = body[1:]
	}
	return append(append(dst, body...), eol...)
}

// A uuDecoder decodes the lines between "begin" and "end" of uuencode, as
// POSIX has it. What stands around them is passed over.
type uuDecoder struct{ inside bool }

func (u *uuDecoder) line(dst, line []byte) []byte {
	line = bytes.TrimRight(line, "\r\n")
	if !u.inside {
		u.inside = bytes.HasPrefix(line, []byte("begin "))
		return dst
	}
	if bytes.Equal(line, []byte("end")) {
		u.inside = false
		return dst
	}
	if len(line) == 0 {
		return dst
	}
	n := int(line[0]-' ') & 63
	at := func(i int) byte {
		if i >= len(line) {
			return 0 // blanks at the end that were lost on the way
		}
		return (line[i] - ' ') & 63
	}
	for i := 1; n > 0; i += 4 {
		a, b, c, d := at(i), at(i+1), at(i+2), at(i+3)
		three := [3]byte{a<<2 | b>>4, b<<4 | c>>2, c<<6 | d}
		k := min(n, 3)
		dst = append(dst, three[:k]...)
		n -= k
	}
	return dst
}
