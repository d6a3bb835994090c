package field

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// Unfold gives a value on one line (RFC 5322 section 2.2.3), without the blanks
// around it and without control bytes; tabs become blanks.
func Unfold(s string) string {
	s = strings.Trim(s, " \t\r\n")
	i := 0
	for i < len(s) && s[i] >= ' ' && s[i] != 0x7f {
		i++
	}
	if i == len(s) {
		return s
	}
	b := make([]byte, i, len(s))
	copy(b, s)
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\t':
			b = append(b, ' ')
		case c >= ' ' && c != 0x7f:
			b = append(b, c)
		}
	}
	return string(bytes.Trim(b, " "))
}

// Cut shortens s to limit bytes at most, not within a character, and says
// whether it had to.
func Cut(s string, limit int) (string, bool) {
	if len(s) <= limit {
		return s, false
	}
	n := limit
	for n > limit-utf8.UTFMax && n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n], true
}
