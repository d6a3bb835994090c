package field

import "strings"

// quotedLen is the length of the quoted string at the start of s (RFC 5322
// section 3.2.4), 0 if it is not closed.
func quotedLen(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// commentLen is the length of the comment at the start of s (RFC 5322
// section 3.2.2), 0 if it is not closed.
func commentLen(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			depth--
			if depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// enclosures measures quoted strings, comments and address literals. What
// was not closed once is not looked for again, so that text full of opening
// bytes costs no more than other text; they are then ordinary bytes.
type enclosures struct{ noQuote, noComment, noLiteral bool }

// length is the length of what s opens with, 0 if it is not closed.
func (e *enclosures) length(s string) int {
	n, none := 0, &e.noQuote
	switch s[0] {
	case '"':
		if !*none {
			n = quotedLen(s)
		}
	case '(':
		if none = &e.noComment; !*none {
			n = commentLen(s)
		}
	default:
		if none = &e.noLiteral; !*none {
			n = strings.IndexByte(s, ']') + 1
		}
	}
	*none = n == 0
	return n
}

// unquote gives the value of a quoted string.
func unquote(s string) string { return unescape(s[1 : len(s)-1]) }

// commentText gives what stands in a comment.
func commentText(s string) string {
	return strings.TrimSpace(unescape(s[1 : len(s)-1]))
}

// unescape takes the backslashes of quoted pairs out of s.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// phrase reads a display name (RFC 5322 section 3.2.5): its words with one
// blank between them, quotes taken off. Comments in it are left out; the
// last is given too.
func phrase(s string) (text, comment string) {
	s = strings.Trim(s, " \t")
	if strings.IndexAny(s, "\"(\\\t") < 0 && !strings.Contains(s, "  ") {
		return s, ""
	}
	var b strings.Builder
	var open enclosures
	blank := false
	word := func(w string) {
		if blank && b.Len() > 0 {
			b.WriteByte(' ')
		}
		blank = false
		b.WriteString(w)
	}
	for i := 0; i < len(s); {
		switch c := s[i]; c {
		case ' ', '\t':
			blank = true
			i++
			continue
		case '"', '(':
			n := open.length(s[i:])
			switch {
			case n == 0: // an ordinary byte
			case c == '"':
				word(unquote(s[i : i+n]))
			default:
				comment, blank = commentText(s[i:i+n]), true
			}
			if n > 0 || c == '"' {
				i += max(n, 1)
				continue
			}
		}
		word(s[i : i+1])
		i++
	}
	return b.String(), comment
}

// addrSpec reads an addr-spec (RFC 5322 section 3.4.1), with a source route
// before it or not. It says whether it is clean: both parts there, no blanks
// or stray specials. The last comment in it is given too.
func addrSpec(s string) (a Address, comment string, ok bool) {
	s = strings.Trim(s, " \t\r\n")
	if len(s) > 7 && strings.EqualFold(s[:7], "mailto:") {
		s = s[7:]
	}
	if simpleSpec(s) {
		local, domain, _ := strings.Cut(s, "@")
		return Address{Local: local, Domain: domain}, "", true
	}
	ok = true
	if strings.HasPrefix(s, "@") {
		a.Route, s, ok = cutRoute(s)
	}
	t := specTokens(s)
	a.Local, a.Domain = t.local, t.domain
	clean := t.clean && a.Local != "" && (a.Domain != "" || !t.at)
	return a, t.comment, ok && clean
}

// simpleSpec says whether s is local@domain of nothing but atoms and dots,
// as almost all addresses are.
func simpleSpec(s string) bool {
	at := strings.IndexByte(s, '@')
	if at <= 0 || at == len(s)-1 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c == 0x7f || i != at && strings.IndexByte(`()<>@,;:\"[]`, c) >= 0 {
			return false
		}
	}
	return true
}

// cutRoute takes the obsolete route "@a,@b:" off the start of s (RFC 5322
// section 4.4).
func cutRoute(s string) (route, rest string, ok bool) {
	var open enclosures
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '[':
			i += max(open.length(s[i:]), 1) - 1
		case ':':
			return strings.ReplaceAll(s[:i], " ", ""), s[i+1:], true
		}
	}
	return "", s, false
}

type spec struct {
	local, domain string
	comment       string
	at            bool
	clean         bool
}

// specTokens reads an addr-spec byte by byte: the last @ outside of quotes
// parts local part and domain, blanks and comments may stand around the
// tokens.
func specTokens(s string) spec {
	r := spec{clean: true}
	var open enclosures
	var b []byte
	lastAt := -1
	blank := false
	for i := 0; i < len(s); {
		c, n := s[i], 1
		if c == '"' || c == '(' || c == '[' {
			n = open.length(s[i:])
		}
		switch {
		case c == ' ' || c == '\t':
			blank = true
		case n == 0: // opened and not closed: left out
			n, r.clean = 1, false
		case c == '(':
			r.comment, blank = commentText(s[i:i+n]), true
		default:
			if blank && len(b) > 0 && c != '.' && c != '@' && b[len(b)-1] != '.' &&
				b[len(b)-1] != '@' {
				b, r.clean = append(b, ' '), false
			}
			blank = false
			switch c {
			case '"':
				b = append(b, unquote(s[i:i+n])...)
			case '@':
				r.clean = r.clean && lastAt < 0
				lastAt = len(b)
				b = append(b, c)
			default:
				r.clean = r.clean && strings.IndexByte(`)<>,;:\]`, c) < 0
				b = append(b, s[i:i+n]...)
			}
		}
		i += n
	}
	r.at = lastAt >= 0
	r.local = string(b)
	if r.at {
		r.local, r.domain = string(b[:lastAt]), string(b[lastAt+1:])
	}
	return r
}
