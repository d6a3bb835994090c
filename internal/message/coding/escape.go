package coding

import "encoding/base64"

// AppendQ appends to b what s stands for in the Q encoding of encoded words
// (RFC 2047 section 4.2). An escape that is none stays as it is.
func AppendQ(b []byte, s string) []byte {
	return appendEscaped(b, s, '=', '_')
}

// AppendPercent appends s to b with %XX decoded (RFC 2231 section 4); what is
// no such thing stays.
func AppendPercent(b []byte, s string) []byte {
	return appendEscaped(b, s, '%', ' ')
}

// appendEscaped appends s to b, in which two hexadecimal digits behind the
// byte escape stand for any byte, and the byte blank for a blank.
func appendEscaped(b []byte, s string, escape, blank byte) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == escape && i+2 < len(s) {
			if v, ok := unhex(s[i+1], s[i+2]); ok {
				c = v
				i += 2
			}
		} else if c == blank {
			c = ' '
		}
		b = append(b, c)
	}
	return b
}

// AppendB appends to b what s stands for in the B encoding of encoded words
// (RFC 2047 section 4.1), passing over what is not of its alphabet. Sextets
// are the bytes of s that make no whole group: they come back, to be given
// with the next text, since some senders cut the text of several words
// anywhere. EndB decodes those that are left at the end.
func AppendB(b, sextets []byte, s string) (decoded, rest []byte) {
	for i := range len(s) {
		switch {
		case base64Alphabet[s[i]]:
			sextets = append(sextets, s[i])
		case s[i] == '=' && len(sextets)%4 > 1:
			b, _ = base64.RawStdEncoding.AppendDecode(b, sextets)
			sextets = sextets[:0]
		}
	}
	n := len(sextets) / 4 * 4
	b, _ = base64.RawStdEncoding.AppendDecode(b, sextets[:n])
	return b, append(sextets[:0], sextets[n:]...)
}

// EndB appends to b what the sextets stand for that AppendB gave back for the
// last text, which ends without its padding; one sextet alone is no byte.
func EndB(b, sextets []byte) []byte {
	if len(sextets) >= 2 {
		b, _ = base64.RawStdEncoding.AppendDecode(b, sextets)
	}
	return b
}

// unhex gives the byte of two hexadecimal digits, and false if they are none.
func unhex(hi, lo byte) (byte, bool) {
	h, ok1 := nibble(hi)
	l, ok2 := nibble(lo)
	return h<<4 | l, ok1 && ok2
}

func nibble(c byte) (byte, bool) {
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
