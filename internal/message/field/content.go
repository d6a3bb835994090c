package field

import "strings"

// A ContentType is the value of Content-Type (RFC 2045 section 5.1).
type ContentType struct {
	Type, Subtype string // lower case
	Params        Params
	Broken        bool // the parameters are not as they should be
}

// ParseContentType reads the unfolded value of Content-Type (RFC 2045 section
// 5.1). Where type or subtype are missing it says false and gives text/plain,
// as section 5.2 advises.
func ParseContentType(v string) (ContentType, bool) {
	s := scanner{text: v}
	var t ContentType
	t.Type = lower(s.token())
	if s.skip('/') {
		t.Subtype = lower(s.token())
	}
	ok := t.Type != "" && t.Subtype != ""
	t.Params = s.params()
	t.Broken = s.broken
	switch {
	case ok:
	case t.Type == "multipart":
		t.Subtype = "mixed"
	default:
		t.Type, t.Subtype = "text", "plain"
	}
	return t, ok
}

// A Disposition is the value of Content-Disposition (RFC 2183 section 2).
type Disposition struct {
	Type   string // lower case; "" if it is missing
	Params Params
	Broken bool // the parameters are not as they should be
}

// ParseDisposition reads the unfolded value of Content-Disposition (RFC 2183
// section 2).
func ParseDisposition(v string) Disposition {
	s := scanner{text: v}
	d := Disposition{Type: lower(s.token())}
	d.Params = s.params()
	d.Broken = s.broken
	return d
}

// Token gives the token that an unfolded value begins with (RFC 2045 section
// 5.1), in lower case; "" if there is none. Blanks and comments before it are
// passed over.
func Token(v string) string {
	s := scanner{text: v}
	return lower(s.token())
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

// A scanner reads the tokens of RFC 2045 section 5.1 in an unfolded
// value, passing over blanks and comments.
type scanner struct {
	text   string
	i      int
	broken bool
}

func (s *scanner) blanks() {
	for s.i < len(s.text) {
		switch s.text[s.i] {
		case ' ', '\t':
			s.i++
		case '(':
			n := commentLen(s.text[s.i:])
			if n == 0 {
				n = len(s.text) - s.i
			}
			s.i += n
		default:
			return
		}
	}
}

func (s *scanner) skip(c byte) bool {
	s.blanks()
	if s.i < len(s.text) && s.text[s.i] == c {
		s.i++
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

func (s *scanner) token() string {
	s.blanks()
	start := s.i
	for s.i < len(s.text) && isToken[s.text[s.i]] {
		s.i++
	}
	return s.text[start:s.i]
}

// maxParams bounds the parameters of one field.
const maxParams = 100

// params reads the parameters up to the end. A missing semicolon, quote or
// value does not end them.
func (s *scanner) params() Params {
	var ps Params
	first := true
	for {
		semicolon := s.skip(';')
		s.blanks()
		if s.i == len(s.text) {
			return ps
		}
		name := s.token()
		if name == "" || len(ps) == maxParams {
			s.broken = true
			s.i++ // some special; go on behind it
			continue
		}
		if !semicolon {
			s.broken = true
		}
		if !s.skip('=') {
			s.broken = true
			continue
		}
		if first {
			ps = make(Params, 0, 2)
			first = false
		}
		ps = append(ps, Param{Name: lower(name), Value: s.value()})
	}
}

// value reads a token or quoted string. Outside quotes everything up to the
// semicolon counts, since many programs forget to quote file names.
func (s *scanner) value() string {
	s.blanks()
	if s.i < len(s.text) && s.text[s.i] == '"' {
		if n := quotedLen(s.text[s.i:]); n > 0 {
			s.i += n
			return unquote(s.text[s.i-n : s.i])
		}
		s.broken = true
		s.i++ // a quote that is never closed
	}
	start := s.i
	for s.i < len(s.text) {
		c := s.text[s.i]
		if !isToken[c] && strings.IndexByte(":/?=@<>[]", c) < 0 {
			break
		}
		s.i++
	}
	s.i += s.forgottenQuotes()
	return strings.TrimRight(s.text[start:s.i], " \t")
}

// forgottenQuotes is the length of what follows a token up to the semicolon
// and belongs to the value, had it been quoted; 0 if it is a comment or looks
// like the next parameter without its semicolon.
func (s *scanner) forgottenQuotes() int {
	rest, _, _ := strings.Cut(s.text[s.i:], ";")
	text := strings.Trim(rest, " \t")
	if text == "" || strings.Contains(text, "=") ||
		text[0] == '(' && commentLen(text) == len(text) {
		return 0
	}
	s.broken = true
	return len(rest)
}
