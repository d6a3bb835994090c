package smtp

import (
	"bytes"
	"io"
)

// A Bare says which characters stood alone that may only stand together:
// RFC 5321 section 2.3.8 knows CR and LF as CRLF only. Receivers that took
// them for line ends, or for the end of the message, were open to smuggling.
type Bare uint8

// The bits of a Bare.
const (
	BareCR Bare = 1 << iota
	BareLF
)

// A Decoder undoes the transparency of DATA (RFC 5321 section 4.5.2) and
// finds the end of the message: CRLF, a dot, CRLF, where the first CRLF may
// be that of the DATA command, and nothing else. The zero Decoder is ready.
type Decoder struct {
	state dataState
	bare  Bare
}

// Bare tells what stood alone so far. A message with any must be refused as
// a whole; the decoder goes on to its true end.
func (d *Decoder) Bare() Bare { return d.bare }

type dataState uint8

const (
	atStart dataState = iota // of a line
	atDot                    // a dot at the start, kept back
	atDotCR                  // the dot and CR, kept back
	inLine
	atCR // CR in a line, handed out already
)

var crByte = []byte{'\r'}

// Next decodes from the beginning of p. It returns a part of the message,
// which may be empty and mostly is a part of p; how many bytes of p are used
// up, at least one but when end is reported or kept-back bytes come out; and
// whether this was the end. To decode p whole, call it until p is used up.
func (d *Decoder) Next(p []byte) (out []byte, n int, end bool) {
	begin, i := 0, 0
	for i < len(p) {
		switch d.state {
		case atStart:
			d.state = inLine
			if p[i] != '.' {
				continue
			}
			d.state = atDot
			i++
			if i > 1 {
				return p[begin : i-1], i, false
			}
			begin = i
		case atDot:
			d.state = inLine
			if p[i] == '\r' {
				d.state = atDotCR
				i++
				begin = i
			}
		case atDotCR:
			if p[i] == '\n' {
				return nil, i + 1, true
			}
			d.state = inLine
			d.bare |= BareCR
			return crByte, i, false
		case atCR:
			d.state = inLine
			if p[i] != '\n' {
				d.bare |= BareCR
				continue
			}
			d.state = atStart
			i++
		case inLine:
			i = d.line(p, i)
		}
	}
	return p[begin:], len(p), false
}

// line goes on in a line at p[i] and returns where it is then: behind the
// line end, or at the end of p.
func (d *Decoder) line(p []byte, i int) int {
	b := p[i:]
	j := bytes.IndexByte(b, '\n')
	if j < 0 {
		j = bytes.IndexByte(b, '\r')
		switch {
		case j < 0:
		case j == len(b)-1:
			d.state = atCR
		default:
			d.bare |= BareCR
			if b[len(b)-1] == '\r' {
				d.state = atCR
			}
		}
		return len(p)
	}
	if j == 0 || b[j-1] != '\r' {
		d.bare |= BareLF
		if bytes.IndexByte(b[:j], '\r') >= 0 {
			d.bare |= BareCR
		}
		return i + j + 1
	}
	if bytes.IndexByte(b[:j-1], '\r') >= 0 {
		d.bare |= BareCR
	}
	d.state = atStart
	return i + j + 1
}

// A Lines looks for CR and LF that stand alone in bytes that are not
// dot-stuffed, as those of BDAT. The zero Lines is ready.
type Lines struct {
	bare Bare
	cr   bool // the last byte was CR
}

// Check goes on with p.
func (l *Lines) Check(p []byte) {
	if len(p) == 0 {
		return
	}
	if l.cr {
		l.cr = false
		if p[0] == '\n' {
			p = p[1:]
		} else {
			l.bare |= BareCR
		}
	}
	for len(p) > 0 {
		j := bytes.IndexByte(p, '\n')
		if j < 0 {
			j = len(p)
			l.cr = p[j-1] == '\r'
			if l.cr {
				j--
			}
			if bytes.IndexByte(p[:j], '\r') >= 0 {
				l.bare |= BareCR
			}
			return
		}
		line := p[:j]
		p = p[j+1:]
		if j == 0 || line[j-1] != '\r' {
			l.bare |= BareLF
		} else {
			line = line[:j-1]
		}
		if bytes.IndexByte(line, '\r') >= 0 {
			l.bare |= BareCR
		}
	}
}

// Bare tells what stood alone so far; with end, a CR that came last counts.
func (l *Lines) Bare(end bool) Bare {
	if end && l.cr {
		return l.bare | BareCR
	}
	return l.bare
}

// An Encoder is the client's side of DATA: it doubles the dots at the start
// of lines. Line ends must be CRLF already. It writes slices of what it is
// given; w should buffer.
type Encoder struct {
	w     io.Writer
	state dataState
}

// NewEncoder makes an encoder for one message.
func NewEncoder(w io.Writer) *Encoder { return &Encoder{w: w} }

var (
	dotByte  = []byte{'.'}
	endBytes = []byte("\r\n.\r\n")
)

// Write encodes p.
func (e *Encoder) Write(p []byte) (int, error) {
	done := 0
	for i := 0; i < len(p); {
		if e.state == atStart && p[i] == '.' {
			if _, err := e.w.Write(p[done:i]); err != nil {
				return done, err
			}
			done = i
			if _, err := e.w.Write(dotByte); err != nil {
				return done, err
			}
		}
		if e.state == atCR && p[i] == '\n' {
			e.state = atStart
			i++
			continue
		}
		e.state = inLine
		j := bytes.IndexByte(p[i:], '\r')
		if j < 0 {
			break
		}
		e.state = atCR
		i += j + 1
	}
	n, err := e.w.Write(p[done:])
	return done + n, err
}

// Close ends the last line where that is missing, and the message. It does
// not close or flush the writer.
func (e *Encoder) Close() error {
	end := endBytes
	if e.state == atStart {
		end = end[2:]
	}
	_, err := e.w.Write(end)
	return err
}
