package auth

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
)

// prepare brings a password or user name into the one form under which it is
// hashed, so that a keyboard that writes é as one character and one that
// writes it as two give the same: SASLprep, RFC 4013. A string that SASLprep
// forbids is left as it is; so do most programs that clients have.
func prepare(s string) string {
	ascii := true
	for i := range len(s) {
		if s[i] >= 0x80 {
			ascii = false
			break
		}
	}
	if ascii {
		return s
	}
	// RFC 4013 section 2.1: mapping; section 2.2: form KC.
	p := norm.NFKC.String(strings.Map(mapped, s))
	if strings.ContainsFunc(p, prohibited) || !bidiRule(p) {
		return s
	}
	return p
}

// mapped is RFC 4013 section 2.1: other spaces (RFC 3454 table C.1.2) become
// a space, what table B.1 lists becomes nothing.
func mapped(r rune) rune {
	switch {
	case r == 0x200B: // in both tables; clients take it for a space
		return ' '
	case r == 0x00AD, r == 0x034F, r == 0x1806, 0x180B <= r && r <= 0x180D,
		r == 0x200C, r == 0x200D, r == 0x2060, 0xFE00 <= r && r <= 0xFE0F, r == 0xFEFF:
		return -1
	case r != ' ' && unicode.Is(unicode.Zs, r):
		return ' '
	}
	return r
}

// prohibited is RFC 4013 section 2.3, the tables C.2.1 to C.9 of RFC 3454.
func prohibited(r rune) bool {
	switch {
	case unicode.IsControl(r), unicode.Is(unicode.Co, r), unicode.Is(unicode.Cs, r):
		return true // C.2.1, part of C.2.2, C.3, C.5
	case r == 0x06DD, r == 0x070F, r == 0x180E, r == 0x2028, r == 0x2029,
		0x2061 <= r && r <= 0x2063, 0x206A <= r && r <= 0x206F,
		0xFFF9 <= r && r <= 0xFFFD, 0x1D173 <= r && r <= 0x1D17A:
		return true // C.2.2, C.6
	case 0xFDD0 <= r && r <= 0xFDEF, r&0xFFFE == 0xFFFE:
		return true // C.4
	case 0x2FF0 <= r && r <= 0x2FFB:
		return true // C.7
	case r == 0x0340, r == 0x0341, r == 0x200E, r == 0x200F, 0x202A <= r && r <= 0x202E:
		return true // C.8
	case r == 0xE0001, 0xE0020 <= r && r <= 0xE007F:
		return true // C.9
	}
	return false
}

// bidiRule is RFC 3454 section 6: a string with right-to-left characters has
// no left-to-right ones, and begins and ends with right-to-left.
func bidiRule(s string) bool {
	var first, last bidi.Class
	rtl, ltr := false, false
	for i, r := range s {
		p, _ := bidi.LookupRune(r)
		last = p.Class()
		if i == 0 {
			first = last
		}
		rtl = rtl || last == bidi.R || last == bidi.AL
		ltr = ltr || last == bidi.L
	}
	isRTL := func(c bidi.Class) bool { return c == bidi.R || c == bidi.AL }
	return !rtl || !ltr && isRTL(first) && isRTL(last)
}
