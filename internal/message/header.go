package message

import (
	"bytes"
	"iter"
	"strings"
	"unicode/utf8"

	"postrider/internal/message/field"
)

// A Header is the list of fields of a message or part, in their order. The
// zero Header has none.
type Header struct {
	Fields []Field
	// Truncated says that a limit cut the header: there are fields that are
	// not listed.
	Truncated bool
}

// A Field is a header field (RFC 5322 section 2.2).
type Field struct {
	Name   string // as it came
	Value  string // as it came: folded, without the line end after it
	Offset int64  // from the start of the message
	Len    int64  // with its line end, if that belongs to the header
	kind   kind
}

// Text gives the value on one line: unfolded (RFC 5322 section 2.2.3),
// without the blanks around it and without control bytes; encoded words are
// not decoded.
func (f *Field) Text() string { return field.Unfold(f.Value) }

// Get gives the Text of the first field of this name, in any case; "" if
// there is none.
func (h Header) Get(name string) string {
	if f := h.Field(name); f != nil {
		return f.Text()
	}
	return ""
}

// Field gives the first field of this name, in any case; nil if there is
// none.
func (h Header) Field(name string) *Field {
	for i := range h.Fields {
		if strings.EqualFold(h.Fields[i].Name, name) {
			return &h.Fields[i]
		}
	}
	return nil
}

// All gives the fields of this name, in any case, in their order.
func (h Header) All(name string) iter.Seq[*Field] {
	return func(yield func(*Field) bool) {
		for i := range h.Fields {
			if strings.EqualFold(h.Fields[i].Name, name) && !yield(&h.Fields[i]) {
				return
			}
		}
	}
}

// Has says whether there is a field of this name, in any case.
func (h Header) Has(name string) bool { return h.Field(name) != nil }

// Decoded gives the text of the first field of this name with its encoded
// words decoded (RFC 2047); "" if there is none.
func (h Header) Decoded(name string) string { return field.DecodeWords(h.Get(name)) }

// CountReceived counts the Received fields, each a hop of the message
// (RFC 5321 section 6.3).
func (h Header) CountReceived() int {
	n := 0
	for i := range h.Fields {
		if h.Fields[i].kind == kReceived {
			n++
		}
	}
	return n
}

// text gives the Text of the first field of a kind.
func (h Header) text(k kind) string {
	for i := range h.Fields {
		if h.Fields[i].kind == k {
			return h.Fields[i].Text()
		}
	}
	return ""
}

// A kind is a field name that this package looks for, recognized once.
type kind uint8

const (
	kOther kind = iota
	kBcc
	kCc
	kContentDescription
	kContentDisposition
	kContentID
	kContentLanguage
	kContentLocation
	kContentMD5
	kContentEncoding
	kContentType
	kDate
	kFrom
	kInReplyTo
	kListID
	kMessageID
	kReceived
	kReferences
	kReplyTo
	kSender
	kSubject
	kTo
)

// once holds the kinds that may stand only once in a header (RFC 5322
// section 3.6).
const once = 1<<kBcc | 1<<kCc | 1<<kContentDescription | 1<<kContentDisposition | 1<<kContentID |
	1<<kContentEncoding | 1<<kContentType | 1<<kDate | 1<<kFrom | 1<<kInReplyTo | 1<<kMessageID |
	1<<kReferences | 1<<kReplyTo | 1<<kSender | 1<<kSubject | 1<<kTo

// kindOf recognizes a field name. Its length decides first: most names of
// no interest are told by that alone.
func kindOf(name string) kind {
	switch len(name) {
	case 2:
		return is(name, "to", kTo) | is(name, "cc", kCc)
	case 3:
		return is(name, "bcc", kBcc)
	case 4:
		return is(name, "from", kFrom) | is(name, "date", kDate)
	case 6:
		return is(name, "sender", kSender)
	case 7:
		return is(name, "subject", kSubject) | is(name, "list-id", kListID)
	case 8:
		return is(name, "received", kReceived) | is(name, "reply-to", kReplyTo)
	case 10:
		return is(name, "message-id", kMessageID) | is(name, "references", kReferences) |
			is(name, "content-id", kContentID)
	case 11:
		return is(name, "in-reply-to", kInReplyTo) | is(name, "content-md5", kContentMD5)
	case 12:
		return is(name, "content-type", kContentType)
	case 16:
		return is(name, "content-language", kContentLanguage) |
			is(name, "content-location", kContentLocation)
	case 19:
		return is(name, "content-disposition", kContentDisposition) |
			is(name, "content-description", kContentDescription)
	case 25:
		return is(name, "content-transfer-encoding", kContentEncoding)
	}
	return kOther
}

// is gives k if name is want, which is in lower case, else kOther.
func is(name, want string, k kind) kind {
	// Or-ing 0x20 makes ASCII letters lower case.
	if name[0]|0x20 == want[0] && name[len(name)-1]|0x20 == want[len(want)-1] &&
		strings.EqualFold(name, want) {
		return k
	}
	return kOther
}

// header reads the header of a part, up to and with its empty line. If a
// delimiter comes first, the part has no body, the line end before the
// delimiter is none of its header, and the delimiter is returned.
func (p *parser) header(part *Part) (delimiter, bool) {
	w := &p.w
	part.HeaderOffset = w.offset()
	w.keep = w.pos
	var d delimiter
	var raw string
	var taken, ended bool
	for lineStart := true; ; {
		if lineStart && len(p.stack) > 0 && w.fill(2) && bytes.HasPrefix(w.buf[w.pos:], dashes) {
			d, ended = p.match()
		}
		var line []byte
		var end int64
		if ended {
			end = max(d.start-d.eol, part.HeaderOffset)
		} else {
			line = w.line()
			end = w.offset()
		}
		last := line == nil || lineStart && blank(line)
		n := int(end-w.base) - w.keep
		if !taken && (last || n > p.headerLeft) {
			taken = true
			raw = p.takeHeader(part, n)
		}
		if last {
			if line == nil {
				p.defects |= DefectNoBlankLine
			}
			part.HeaderLen = end - part.HeaderOffset
			p.fields(part, raw)
			return d, ended
		}
		lineStart = line[len(line)-1] == '\n'
	}
}

// takeHeader copies the n kept bytes out of the window, as far as the limit
// allows, and lets the window go on without them.
func (p *parser) takeHeader(part *Part, n int) string {
	w := &p.w
	raw := string(w.buf[w.keep : w.keep+min(n, p.headerLeft)])
	w.keep = -1
	p.headerLeft -= len(raw)
	if len(raw) < n {
		p.defects |= DefectHeaderBytes
		part.Header.Truncated = true
		raw = raw[:strings.LastIndexByte(raw, '\n')+1]
	}
	return raw
}

func blank(line []byte) bool {
	return len(line) == 1 && line[0] == '\n' || len(line) == 2 && line[0] == '\r' && line[1] == '\n'
}

// fields splits the raw header of a part into its fields.
func (p *parser) fields(part *Part, raw string) {
	p.defects |= rawDefects(raw)
	h := &part.Header
	if n := strings.Count(raw, "\n"); n > 0 {
		h.Fields = make([]Field, 0, min(n, p.lim.Fields))
	}
	var seen uint32
	for i := 0; i < len(raw); {
		n := fieldLen(raw[i:])
		text := raw[i : i+n]
		i += n
		f, ok := parseField(text)
		switch {
		case !ok && strings.Trim(text, "\r\n") == "":
			// The empty line that ends the header.
		case !ok && i == n && isMboxFrom(text):
			p.defects |= DefectMboxFrom
		case !ok:
			p.defects |= DefectJunkLine
		case len(h.Fields) >= p.lim.Fields:
			p.defects |= DefectManyFields
			h.Truncated = true
			return
		default:
			f.Offset = part.HeaderOffset + int64(i-n)
			if seen&once&(1<<f.kind) != 0 {
				p.defects |= DefectDuplicate
			}
			seen |= 1 << f.kind
			h.Fields = append(h.Fields, f)
		}
	}
}

// isMboxFrom says whether the first line is that of an mbox file (RFC 4155).
func isMboxFrom(line string) bool {
	return strings.HasPrefix(strings.TrimPrefix(line, ">"), "From ")
}

// fieldLen is the length of the first line of s with all lines that continue
// it (RFC 5322 section 2.2.3).
func fieldLen(s string) int {
	n := 0
	for {
		i := strings.IndexByte(s[n:], '\n')
		if i < 0 {
			return len(s)
		}
		n += i + 1
		if n == len(s) || s[n] != ' ' && s[n] != '\t' {
			return n
		}
	}
}

// parseField reads a field with its line ends. Blanks before the colon are
// allowed (RFC 5322 section 4.5), within the name they are not.
func parseField(text string) (Field, bool) {
	colon := strings.IndexByte(text, ':')
	if colon <= 0 {
		return Field{}, false
	}
	name := strings.TrimRight(text[:colon], " \t")
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c == 0x7f {
			return Field{}, false
		}
	}
	if name == "" {
		return Field{}, false
	}
	value := strings.TrimSuffix(strings.TrimSuffix(text[colon+1:], "\n"), "\r")
	return Field{Name: name, Value: value, Len: int64(len(text)), kind: kindOf(name)}, true
}

// rawDefects finds what is wrong with the bytes of a header.
func rawDefects(raw string) Defects {
	var d Defects
	lfs, crs := strings.Count(raw, "\n"), strings.Count(raw, "\r")
	crlfs := strings.Count(raw, "\r\n")
	if lfs > crlfs {
		d |= DefectBareLF
	}
	if crs > crlfs {
		d |= DefectBareCR
	}
	if strings.IndexByte(raw, 0) >= 0 {
		d |= DefectNUL
	}
	if !utf8.ValidString(raw) {
		d |= Defect8BitHeader
	}
	return d
}
