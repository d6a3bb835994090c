package message

import (
	"bytes"
)

// A parser walks the message once, from its first byte to its last.
type parser struct {
	w          window
	lim        Limits
	stack      [][]byte // boundaries of the open multiparts, outermost first
	shortest   int      // length of the shortest of them
	parts      int
	headerLeft int  // bytes of headers that may still be kept
	full       bool // no more parts
	defects    Defects
}

// A delimiter is what ended a part: a delimiter line of an open multipart,
// or the end of the message.
type delimiter struct {
	level   int // of the stack; -1 at the end of the message
	closing bool
	start   int64 // where its line begins
	lines   int64 // LFs before it
	eol     int64 // length of the line end before it
	partial bool  // the line before that is not ended by the body itself
}

// entity reads a header and a body up to the delimiter that ends it. In a
// multipart/digest a part without a type is a message (RFC 2046 section
// 5.1.5).
func (p *parser) entity(part *Part, depth int, digest bool) delimiter {
	d, ended := p.header(part)
	p.content(part, digest)
	part.BodyOffset = part.HeaderOffset + part.HeaderLen
	if ended {
		part.Opaque = part.Type == "multipart" || isMessage(part)
		return d
	}
	startLines := p.w.lines
	switch {
	case part.Type == "multipart":
		d = p.multipart(part, depth)
	case isMessage(part):
		d = p.embedded(part, depth)
	default:
		d = p.skip()
	}
	p.end(part, d, startLines)
	return d
}

// end notes where the body of a part ends, given what ended it. The line end
// before a delimiter belongs to the delimiter (RFC 2046 section 5.1.1), unless
// it is the empty line of an embedded header.
func (p *parser) end(part *Part, d delimiter, startLines int64) {
	end := max(d.start-d.eol, part.BodyOffset)
	part.Lines = d.lines - startLines
	if c := part.last(); c != nil && c.BodyOffset+c.BodyLen > end {
		part.BodyLen = d.start - part.BodyOffset
		return
	}
	part.BodyLen = end - part.BodyOffset
	if d.eol > 0 && part.Lines > 0 {
		part.Lines--
	}
	if part.BodyLen > 0 && d.partial {
		part.Lines++
	}
}

// last is the last part within a part, nil if there is none.
func (p *Part) last() *Part {
	if n := len(p.Parts); n > 0 {
		return p.Parts[n-1]
	}
	return p.Message
}

// multipart reads the parts of a multipart body (RFC 2046 section 5.1).
func (p *parser) multipart(part *Part, depth int) delimiter {
	boundary := part.Params.Boundary()
	switch {
	case boundary == "" || len(boundary) > maxBoundary:
		p.defects |= DefectNoBoundary
	case depth+1 >= p.lim.Depth:
		p.defects |= DefectDepth
	case p.full:
	default:
		if !identity(part.Encoding) {
			// Forbidden by RFC 2045 section 6.4, and wrong in practice: the
			// parts are not encoded as a whole.
			p.defects |= DefectEncodedParts
		}
		return p.children(part, boundary, depth)
	}
	part.Opaque = true
	return p.skip()
}

func (p *parser) children(part *Part, boundary string, depth int) delimiter {
	outer := p.shortest
	level := len(p.stack)
	p.stack = append(p.stack, []byte(boundary))
	if p.shortest = len(boundary); level > 0 {
		p.shortest = min(p.shortest, outer)
	}
	d := p.skip()
	for d.level == level && !d.closing {
		d = p.child(part, depth, level)
	}
	if len(part.Parts) == 0 && !p.full {
		p.defects |= DefectNoParts
		part.Opaque = true
	}
	p.stack, p.shortest = p.stack[:level], outer
	if d.level == level {
		return p.skip() // the epilogue
	}
	p.defects |= DefectUnterminated
	return d
}

// child reads one part of a multipart, or, past the limit, everything up to
// the end of the multipart.
func (p *parser) child(parent *Part, depth, level int) delimiter {
	if p.parts < p.lim.Parts {
		p.parts++
		c := &Part{}
		parent.Parts = append(parent.Parts, c)
		return p.entity(c, depth+1, parent.Subtype == "digest")
	}
	p.defects |= DefectManyParts
	rest := &Part{
		Type: "application", Subtype: "octet-stream", Encoding: "binary", Opaque: true,
		HeaderOffset: p.w.offset(), BodyOffset: p.w.offset(),
	}
	startLines := p.w.lines
	d := p.skip()
	for d.level == level && !d.closing {
		d = p.skip()
	}
	if !p.full {
		p.full = true
		p.end(rest, d, startLines)
		parent.Parts = append(parent.Parts, rest)
	}
	return d
}

// embedded reads the message within a message (RFC 2046 section 5.2.1).
func (p *parser) embedded(part *Part, depth int) delimiter {
	switch {
	case !identity(part.Encoding):
		p.defects |= DefectEncodedParts
	case depth+1 >= p.lim.Depth:
		p.defects |= DefectDepth
	case p.parts >= p.lim.Parts:
		p.defects |= DefectManyParts
	default:
		p.parts++
		part.Message = &Part{}
		d := p.entity(part.Message, depth+1, false)
		part.Envelope = part.Message.Header.Envelope()
		return d
	}
	part.Opaque = true
	return p.skip()
}

// isMessage says whether the part holds a whole message (RFC 2046 section
// 5.2.1, RFC 6532 section 3.7).
func isMessage(p *Part) bool {
	return p.Type == "message" && (p.Subtype == "rfc822" || p.Subtype == "global")
}

func identity(encoding string) bool {
	return encoding == "7bit" || encoding == "8bit" || encoding == "binary"
}

// skip moves past the next delimiter line of any open multipart, or to the
// end of the message. It is called at the start of a line.
func (p *parser) skip() delimiter {
	w := &p.w
	if len(p.stack) == 0 {
		w.finish()
		return p.atEnd()
	}
	for w.fill(1) {
		if w.fill(2) && w.buf[w.pos] == '-' && w.buf[w.pos+1] == '-' {
			if d, ok := p.match(); ok {
				return d
			}
		}
		i := indexDelimiter(w.buf[w.pos:])
		for i < 0 {
			// The last two bytes may begin what is looked for.
			w.advance(max(len(w.buf)-w.pos-2, 0))
			if !w.fill(3) {
				w.finish()
				return p.atEnd()
			}
			i = indexDelimiter(w.buf[w.pos:])
		}
		w.advance(i + 1)
	}
	return p.atEnd()
}

func (p *parser) atEnd() delimiter {
	if p.w.short {
		p.defects |= DefectShort
	}
	last := p.w.last(1)
	return delimiter{
		level: -1, start: p.w.offset(), lines: p.w.lines,
		partial: p.w.offset() > 0 && last != '\n',
	}
}

// match compares the line at the reading position, which begins with two
// dashes, with the boundaries of all open multiparts, innermost first, and
// moves past it if it is one. An inner multipart that lacks its own end is
// so ended by the outer one.
func (p *parser) match() (delimiter, bool) {
	const maxLine = 2 + maxBoundary + 2 + 100 // some blanks may follow
	w := &p.w
	complete := !w.fill(maxLine)
	rest := w.buf[w.pos:]
	if len(rest) > maxLine {
		rest = rest[:maxLine]
	}
	n := bytes.IndexByte(rest, '\n') + 1
	if n == 0 {
		if !complete {
			return delimiter{}, false
		}
		n = len(rest)
	}
	line := bytes.TrimRight(rest[2:n], " \t\r\n")
	if len(line) < p.shortest { // a sender can afford a great many of these
		return delimiter{}, false
	}
	for level := len(p.stack) - 1; level >= 0; level-- {
		after, ok := bytes.CutPrefix(line, p.stack[level])
		if !ok || len(after) > 0 && !bytes.Equal(after, dashes) {
			continue
		}
		d := delimiter{level: level, closing: len(after) > 0, start: w.offset(), lines: w.lines}
		d.eol, d.partial = p.lineBefore()
		w.advance(n)
		return d, true
	}
	return delimiter{}, false
}

// lineBefore looks at what stands before the delimiter line at the reading
// position: the length of the line end, and whether a line stands before it.
func (p *parser) lineBefore() (eol int64, partial bool) {
	if p.w.last(1) != '\n' {
		return 0, false
	}
	eol = 1
	if p.w.last(2) == '\r' {
		eol = 2
	}
	return eol, p.w.last(int(eol)+1) != '\n'
}
