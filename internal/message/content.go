package message

import (
	"strings"
)

// A Param is a parameter of Content-Type or Content-Disposition as it came,
// but unquoted: its name in lower case, with the asterisks of RFC 2231.
type Param struct {
	Name  string
	Value string
}

// Params are the parameters of a field, in their order.
type Params []Param

// Lookup gives the decoded value of a parameter, whose name is in lower
// case: put together from continuations and converted from its charset
// (RFC 2231 sections 3 and 4), else as it stands, with any encoded words
// decoded, which RFC 2047 section 5 forbids there and many programs write.
// It is "" if there is none.
func (ps Params) Lookup(name string) string {
	plain, found := "", false
	for _, p := range ps {
		rest, ok := strings.CutPrefix(p.Name, name)
		switch {
		case !ok:
		case strings.HasPrefix(rest, "*"):
			return ps.extended(name)
		case rest == "" && !found:
			plain, found = p.Value, true
		}
	}
	if strings.Contains(plain, "=?") {
		return DecodeWords(plain)
	}
	return ensureUTF8(plain)
}

// extended puts a parameter together by RFC 2231. Each continuation is
// encoded or not on its own; the charset stands in the first. Continuations
// are used from number 0 up to the first gap.
func (ps Params) extended(name string) string {
	if v, ok := ps.raw(name + "*"); ok {
		charset, value := splitExtended(v)
		return decodeCharset(charset, percentDecode(nil, value))
	}
	var charset string
	var b []byte
	for n := range len(ps) {
		numbered := name + "*" + itoa(n)
		if v, ok := ps.raw(numbered + "*"); ok {
			if n == 0 {
				charset, v = splitExtended(v)
			}
			b = percentDecode(b, v)
			continue
		}
		v, ok := ps.raw(numbered)
		if !ok {
			break
		}
		b = append(b, v...)
	}
	if b == nil {
		v, _ := ps.raw(name)
		return ensureUTF8(v)
	}
	return decodeCharset(charset, b)
}

// boundary gives the boundary as it came: it may look like an encoded word
// and hold any bytes.
func (ps Params) boundary() string {
	b, ok := ps.raw("boundary")
	if !ok {
		b = ps.extended("boundary")
	}
	return strings.TrimRight(b, " \t")
}

func (ps Params) raw(name string) (string, bool) {
	for _, p := range ps {
		if p.Name == name {
			return p.Value, true
		}
	}
	return "", false
}

func itoa(n int) string {
	if n < 10 {
		return "0123456789"[n : n+1]
	}
	return itoa(n/10) + itoa(n%10)
}

// splitExtended takes charset'language'value apart. Where the quotes are
// missing, all of it is the value.
func splitExtended(s string) (charset, value string) {
	charset, rest, ok := strings.Cut(s, "'")
	if !ok {
		return "", s
	}
	_, value, ok = strings.Cut(rest, "'")
	if !ok {
		return "", s
	}
	return charset, value
}

// percentDecode appends s to b with %XX decoded; what is no such thing
// stays.
func percentDecode(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, ok1 := unhex(s[i+1])
			lo, ok2 := unhex(s[i+2])
			if ok1 && ok2 {
				b = append(b, hi<<4|lo)
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return b
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// content fills a part from its Content fields. Of a field that stands twice
// the first holds.
func (p *parser) content(part *Part, digest bool) {
	part.Type, part.Subtype, part.Encoding = "text", "plain", "7bit"
	if digest {
		part.Type, part.Subtype = "message", "rfc822"
	}
	var seen uint32
	for i := range part.Header.Fields {
		f := &part.Header.Fields[i]
		if f.kind < kContentDescription || f.kind > kContentType || seen&(1<<f.kind) != 0 {
			continue
		}
		seen |= 1 << f.kind
		p.contentField(part, f)
	}
	if part.Header.Truncated && seen&(1<<kContentType) == 0 {
		// What it would have said is unknown.
		part.Type, part.Subtype, part.Opaque = "application", "octet-stream", true
	}
}

func (p *parser) contentField(part *Part, f *Field) {
	switch f.kind {
	case kContentType:
		t, ok := parseContentType(f.Text())
		if !ok {
			p.defects |= DefectContentType
		}
		if t.broken {
			p.defects |= DefectParams
		}
		part.Type, part.Subtype, part.Params = t.typ, t.subtype, t.params
	case kContentDisposition:
		s := fieldScanner{s: f.Text()}
		part.Disposition = lower(s.token())
		part.DispositionParams = s.params()
		if s.broken {
			p.defects |= DefectParams
		}
	case kContentEncoding:
		s := fieldScanner{s: f.Text()}
		if e := lower(s.token()); e != "" {
			part.Encoding = e
		}
	case kContentID:
		part.ID = f.Text()
	case kContentDescription:
		part.Description = f.Text()
	case kContentMD5:
		part.MD5 = f.Text()
	case kContentLanguage:
		part.Language = f.Text()
	case kContentLocation:
		part.Location = f.Text()
	}
}

type contentType struct {
	typ, subtype string
	params       Params
	broken       bool // the parameters
}

// parseContentType reads the value of Content-Type (RFC 2045 section 5.1).
// Where type or subtype are missing it says so and gives text/plain, as
// section 5.2 advises.
func parseContentType(v string) (contentType, bool) {
	s := fieldScanner{s: v}
	var t contentType
	t.typ = lower(s.token())
	if s.skip('/') {
		t.subtype = lower(s.token())
	}
	ok := t.typ != "" && t.subtype != ""
	t.params = s.params()
	t.broken = s.broken
	switch {
	case ok:
	case t.typ == "multipart":
		t.subtype = "mixed"
	default:
		t.typ, t.subtype = "text", "plain"
	}
	return t, ok
}

// lower is strings.ToLower for ASCII, without work for what is lower case.
func lower(s string) string {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			return strings.ToLower(s)
		}
	}
	return s
}

// A fieldScanner reads the tokens of RFC 2045 section 5.1 in an unfolded
// value, passing over blanks and comments.
type fieldScanner struct {
	s      string
	i      int
	broken bool
}

func (f *fieldScanner) blanks() {
	for f.i < len(f.s) {
		switch f.s[f.i] {
		case ' ', '\t':
			f.i++
		case '(':
			n := commentLen(f.s[f.i:])
			if n == 0 {
				n = len(f.s) - f.i
			}
			f.i += n
		default:
			return
		}
	}
}

func (f *fieldScanner) skip(c byte) bool {
	f.blanks()
	if f.i < len(f.s) && f.s[f.i] == c {
		f.i++
		return true
	}
	return false
}

// isToken says of each byte whether it may stand in a token of RFC 2045;
// those above ASCII are let through.
var isToken = func() (t [256]bool) {
	for c := '!'; int(c) < len(t); c++ {
		t[c] = c != 0x7f && !strings.ContainsRune(`()<>@,;:\"/[]?=`, c)
	}
	return t
}()

func (f *fieldScanner) token() string {
	f.blanks()
	start := f.i
	for f.i < len(f.s) && isToken[f.s[f.i]] {
		f.i++
	}
	return f.s[start:f.i]
}

// maxParams bounds the parameters of one field.
const maxParams = 100

// params reads the parameters up to the end. A missing semicolon, quote or
// value does not end them.
func (f *fieldScanner) params() Params {
	var ps Params
	first := true
	for {
		semicolon := f.skip(';')
		f.blanks()
		if f.i == len(f.s) {
			return ps
		}
		name := f.token()
		if name == "" || len(ps) == maxParams {
			f.broken = true
			f.i++ // some special; go on behind it
			continue
		}
		if !semicolon {
			f.broken = true
		}
		if !f.skip('=') {
			f.broken = true
			continue
		}
		if first {
			ps = make(Params, 0, 2)
			first = false
		}
		ps = append(ps, Param{Name: lower(name), Value: f.value()})
	}
}

// value reads a token or quoted string. Outside quotes everything up to the
// semicolon counts, since many programs forget to quote file names.
func (f *fieldScanner) value() string {
	f.blanks()
	if f.i < len(f.s) && f.s[f.i] == '"' {
		if n := quotedLen(f.s[f.i:]); n > 0 {
			f.i += n
			return unquote(f.s[f.i-n : f.i])
		}
		f.broken = true
		f.i++ // a quote that is never closed
	}
	start := f.i
	for f.i < len(f.s) && (isToken[f.s[f.i]] || strings.IndexByte(":/?=@<>[]", f.s[f.i]) >= 0) {
		f.i++
	}
	f.i += f.forgottenQuotes()
	return strings.TrimRight(f.s[start:f.i], " \t")
}

// forgottenQuotes is the length of what follows a token up to the semicolon
// and belongs to the value, had it been quoted; 0 if it is a comment or looks
// like the next parameter without its semicolon.
func (f *fieldScanner) forgottenQuotes() int {
	rest, _, _ := strings.Cut(f.s[f.i:], ";")
	text := strings.Trim(rest, " \t")
	if text == "" || strings.Contains(text, "=") ||
		text[0] == '(' && commentLen(text) == len(text) {
		return 0
	}
	f.broken = true
	return len(rest)
}
