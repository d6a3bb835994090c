package smtp

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// decodeXtext decodes RFC 3461 section 4: printable ASCII without "+" and
// "=", anything else as "+" and two upper-case hexadecimal digits.
func decodeXtext(b []byte) (string, bool) {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case c == '+':
			if i+2 >= len(b) {
				return "", false
			}
			high, low := hexDigit(b[i+1]), hexDigit(b[i+2])
			if high > 15 || low > 15 {
				return "", false
			}
			c = high<<4 | low
			i += 2
		case c < '!' || c > '~' || c == '=':
			return "", false
		}
		out = append(out, c)
	}
	return string(out), true
}

// AppendXtext appends s in xtext.
func AppendXtext(dst []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if c < '!' || c > '~' || c == '+' || c == '=' {
			dst = append(dst, '+', digits[c>>4], digits[c&15])
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

// hexDigit gives 16 or more for what is none. Lower case is no xtext.
func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// decodeUnitext decodes the utf-8 address type of RFC 6533 section 3: UTF-8
// as it is, or \x{HEX} for one character.
func decodeUnitext(b []byte) (string, bool) {
	s := string(b)
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(s, `\x{`)
		if strings.ContainsAny(before, `\=`) || !utf8.ValidString(before) {
			return "", false
		}
		out.WriteString(before)
		if !found {
			return out.String(), true
		}
		hex, after, closed := strings.Cut(rest, "}")
		n, err := strconv.ParseUint(hex, 16, 21)
		if !closed || err != nil || !utf8.ValidRune(rune(n)) {
			return "", false
		}
		out.WriteRune(rune(n))
		s = after
	}
}

// isPrintable says whether s can be written into logs and reports: valid
// UTF-8 without control characters.
func isPrintable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}
