package message

import (
	"context"
	"io"
	"strings"

	"postrider/internal/message/coding"
	"postrider/internal/message/field"
)

// Limits bound what Parse looks into. A zero field means its default.
// Beyond a limit nothing fails: the rest is an opaque leaf, and Defects says
// so.
type Limits struct {
	Depth       int // levels of multipart and message/rfc822; DefaultDepth
	Parts       int // parts of the whole message; DefaultParts
	HeaderBytes int // bytes of all headers of the message; DefaultHeaderBytes
	Fields      int // fields of one header; DefaultFields
}

// The defaults of Limits. Real mail stays under a tenth of each; they keep
// a hostile message within a few megabytes of memory.
const (
	DefaultDepth       = 64
	DefaultParts       = 1000
	DefaultHeaderBytes = 1 << 20
	DefaultFields      = 1000
)

// maxBoundary is the longest boundary that is honored, in bytes. RFC 2046
// section 5.1.1 allows 70; some programs write more.
const maxBoundary = 256

func (l Limits) withDefaults() Limits {
	if l.Depth <= 0 {
		l.Depth = DefaultDepth
	}
	if l.Parts <= 0 {
		l.Parts = DefaultParts
	}
	if l.HeaderBytes <= 0 {
		l.HeaderBytes = DefaultHeaderBytes
	}
	if l.Fields <= 0 {
		l.Fields = DefaultFields
	}
	return l
}

// A Message is the structure of a message: its header and its tree of parts
// with their places. It holds no body and does not refer to the source it
// was parsed from. It is read-only after Parse and may be shared.
type Message struct {
	Header  Header // of the message itself, the same as Root.Header
	Root    *Part
	Size    int64 // bytes that were parsed
	Defects Defects
}

// A Part is one entity of RFC 2045 section 2.4. Offsets count bytes from the
// start of the whole message, also within embedded messages.
type Part struct {
	Type    string       // lower case; "text" if not given
	Subtype string       // lower case; "plain" if not given
	Params  field.Params // of Content-Type, as they came

	Disposition       string // lower case; "" if not given
	DispositionParams field.Params

	Encoding    string // Content-Transfer-Encoding, lower case; "7bit" if not given
	ID          string // Content-ID with its angle brackets
	Description string // Content-Description, encoded words not decoded
	MD5         string // RFC 1864
	Language    string // RFC 3282, tags separated by commas
	Location    string // RFC 2557

	HeaderOffset int64
	HeaderLen    int64 // with the empty line, if there is one
	BodyOffset   int64 // HeaderOffset + HeaderLen
	BodyLen      int64 // without the line end before the next delimiter
	Lines        int64 // lines of the body; a last line without an end counts

	// Parts are the parts of a multipart. A multipart without any was broken
	// (Opaque) or empty.
	Parts []*Part
	// Message is the embedded message of message/rfc822 or message/global,
	// nil if it was not looked into; Envelope belongs to it.
	Message  *Part
	Envelope *Envelope
	// Opaque marks a multipart or message that was not looked into, because
	// of a limit, a missing boundary or an encoding that hides it, and the
	// part that stands for everything beyond the limit on parts.
	Opaque bool

	// Header holds the part's own header fields. It is empty in a Form.
	Header Header
}

// MediaType gives type and subtype, such as "text/plain".
func (p *Part) MediaType() string { return p.Type + "/" + p.Subtype }

// Is says whether the part has this type and subtype, given in lower case.
func (p *Part) Is(typ, subtype string) bool { return p.Type == typ && p.Subtype == subtype }

// Charset gives the charset parameter in lower case, "us-ascii" if there is
// none.
func (p *Part) Charset() string {
	if c := p.Params.Lookup("charset"); c != "" {
		return strings.ToLower(c)
	}
	return "us-ascii"
}

// FileName gives the decoded name of an attachment, "" if it has none: the
// filename of Content-Disposition, else the name of Content-Type. It may
// hold anything a stranger likes, path separators included.
func (p *Part) FileName() string {
	if n := p.DispositionParams.Lookup("filename"); n != "" {
		return n
	}
	return p.Params.Lookup("name")
}

// Walk calls f for the part and everything below it, in the order of the
// message, until f says false.
func (p *Part) Walk(f func(*Part) bool) bool {
	if !f(p) {
		return false
	}
	for _, c := range p.Parts {
		if !c.Walk(f) {
			return false
		}
	}
	return p.Message == nil || p.Message.Walk(f)
}

// Section gives the part that IMAP numbers path below p, the root of a
// message (RFC 9051 section 6.4.5.1); nil if there is none. Numbers start at
// 1; an empty path is p itself. A message that is no multipart has itself as
// its only part.
func (p *Part) Section(path ...int) *Part {
	top := true // p is the root of a message, not yet one of its parts
	for _, n := range path {
		if !top && p.Message != nil {
			p, top = p.Message, true
		}
		switch {
		case n >= 1 && n <= len(p.Parts):
			p, top = p.Parts[n-1], false
		case n == 1 && top && len(p.Parts) == 0:
			top = false
		default:
			return nil
		}
	}
	return p
}

// Body gives the bytes of the part's body as they stand in the message r.
func (p *Part) Body(r io.ReaderAt) *io.SectionReader {
	return io.NewSectionReader(r, p.BodyOffset, p.BodyLen)
}

// Decoded gives the body of the part in the message r without its transfer
// encoding. What cannot be decoded is passed over; the only errors are those
// of r.
func (p *Part) Decoded(r io.ReaderAt) io.Reader {
	return coding.NewDecoder(p.Body(r), p.Encoding)
}

// Text gives the decoded body of the part as UTF-8.
func (p *Part) Text(r io.ReaderAt) io.Reader {
	return coding.NewReader(p.Decoded(r), p.Charset())
}

// Parse reads the structure of the size bytes of r in one pass. It keeps a
// window of 128 kB and the headers in memory; if r also has a method
// Bytes() []byte that gives something, that slice is parsed where it is, and
// not referred to afterwards.
//
// No message is wrong enough to fail: what is malformed is read as well as
// can be and noted in Defects. Errors are those of ReadAt and of ctx, which
// is looked at once per window.
func Parse(ctx context.Context, r io.ReaderAt, size int64, lim Limits) (*Message, error) {
	p := parser{lim: lim.withDefaults(), w: newWindow(ctx, r, size)}
	p.headerLeft = p.lim.HeaderBytes
	root := &Part{}
	p.parts = 1
	p.entity(root, 0, false)
	if p.w.err != nil {
		return nil, p.w.err
	}
	return &Message{Header: root.Header, Root: root, Size: p.w.size, Defects: p.defects}, nil
}

// ParseHeader reads the header at the start of raw, up to its empty line or
// its end; offsets count from the start of raw. It is for those who need no
// structure. The limits are those of Parse.
func ParseHeader(raw []byte, lim Limits) (Header, Defects) {
	p := parser{lim: lim.withDefaults()}
	p.headerLeft = p.lim.HeaderBytes
	p.w = window{buf: raw, size: int64(len(raw)), whole: true}
	part := &Part{}
	p.header(part)
	return part.Header, p.defects
}

// Defects are the ways in which a message is malformed, as a set of bits.
// Their values are stored and never change.
type Defects uint64

// The defects.
const (
	DefectBareLF       Defects = 1 << iota // a header line ends without CR
	DefectJunkLine                         // a header line that is no field
	DefectMboxFrom                         // the header begins with a "From " line
	DefectNoBlankLine                      // a header is not ended by an empty line
	DefectNUL                              // a NUL in a header
	DefectBareCR                           // a CR without LF in a header
	Defect8BitHeader                       // bytes that are no UTF-8 in a header
	DefectDuplicate                        // a field twice that may stand once; the first holds
	DefectContentType                      // a Content-Type that cannot be understood
	DefectParams                           // broken parameters
	DefectNoBoundary                       // a multipart without a usable boundary
	DefectUnterminated                     // a multipart without its closing delimiter
	DefectNoParts                          // a multipart whose delimiter never comes
	DefectEncodedParts                     // a multipart or message with a transfer encoding
	DefectDepth                            // deeper than Limits.Depth
	DefectManyParts                        // more than Limits.Parts
	DefectHeaderBytes                      // more than Limits.HeaderBytes
	DefectManyFields                       // more than Limits.Fields in one header
	DefectShort                            // the source ended before size
	DefectDate                             // a Date that cannot be read
	defectEnd
)

var defectNames = [...]string{
	"bare-lf", "junk-line", "mbox-from", "no-blank-line", "nul", "bare-cr", "8bit-header",
	"duplicate", "content-type", "params", "no-boundary", "unterminated", "no-parts",
	"encoded-parts", "depth", "many-parts", "header-bytes", "many-fields", "short", "date",
}

// String lists the defects by their names, separated by blanks.
func (d Defects) String() string {
	var names []string
	for i, n := range defectNames {
		if d&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, " ")
}
