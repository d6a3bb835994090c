package smtp

import (
	"bytes"
	"encoding/base64"
	"unicode/utf8"
)

// MaxVerb is the length of the longest verb, in bytes.
const MaxVerb = 8

// SplitVerb splits a command line into its verb, in upper case in buf, and
// its arguments without white space around them. A verb that is too long to
// be one comes out empty.
func SplitVerb(line []byte, buf *[MaxVerb]byte) (verb, args []byte) {
	i := bytes.IndexByte(line, ' ')
	if i < 0 {
		i = len(line)
	}
	args = bytes.Trim(line[i:], " \t")
	for i > 0 && line[i-1] == '\t' {
		i--
	}
	if i > MaxVerb {
		return nil, args
	}
	return upper(line[:i], buf[:0]), args
}

// upper appends b in upper case to dst.
func upper(b, dst []byte) []byte {
	for _, c := range b {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// ParseHello reads the argument of EHLO, HELO or LHLO. RFC 5321 section
// 4.1.4 forbids to refuse a client for a name that cannot be verified, and
// many send what is no domain; so all is taken that is one word of letters,
// digits and the punctuation of domains and literals.
func ParseHello(args []byte) (name string, ok bool) {
	if len(args) == 0 || len(args) > MaxDomain || !utf8.Valid(args) {
		return "", false
	}
	for _, c := range args {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c >= 0x80:
		case bytes.IndexByte([]byte(".-_:[]"), c) >= 0:
		default:
			return "", false
		}
	}
	return string(args), true
}

// ParseBDAT reads the arguments of BDAT (RFC 3030 section 2). When it fails
// the server no longer knows where the next command begins.
func ParseBDAT(args []byte) (size int64, last, ok bool) {
	number, rest, more := bytes.Cut(args, []byte{' '})
	size, ok = parseNumber(number)
	if !ok {
		return 0, false, false
	}
	if !more {
		return size, false, true
	}
	rest = bytes.TrimLeft(rest, " ")
	return size, true, bytes.EqualFold(rest, []byte("LAST"))
}

// parseNumber reads up to 18 digits, which always fit.
func parseNumber(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// ParseAuth reads the arguments of AUTH (RFC 4954 section 4). The initial
// response, still in base 64, is nil when there is none.
func ParseAuth(args []byte) (mechanism string, initial []byte, ok bool) {
	name, rest, more := bytes.Cut(args, []byte{' '})
	if len(name) == 0 || len(name) > 20 { // RFC 4422 section 3.1
		return "", nil, false
	}
	var buf [20]byte
	name = upper(name, buf[:0])
	for _, c := range name {
		if !('A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return "", nil, false
		}
	}
	if !more {
		return string(name), nil, true
	}
	initial = bytes.TrimLeft(rest, " ")
	return string(name), initial, bytes.IndexByte(initial, ' ') < 0
}

// DecodeResponse decodes a SASL response. A single "=" stands for an empty
// initial response (RFC 4954 section 4). The result is never nil when ok.
func DecodeResponse(b []byte, initial bool) (response []byte, ok bool) {
	if initial && len(b) == 1 && b[0] == '=' {
		return []byte{}, true
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(b)))
	n, err := base64.StdEncoding.Strict().Decode(out, b)
	// The decoder passes over line ends, which cannot stand in a line but
	// for a bare CR.
	if err != nil || bytes.IndexByte(b, '\r') >= 0 {
		return nil, false
	}
	return out[:n], true
}
