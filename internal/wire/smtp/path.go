package smtp

import (
	"bytes"
	"net/netip"
	"strings"
	"unicode/utf8"

	"postrider/internal/mail"
)

// A fault is what is wrong with a path.
type fault uint8

const (
	fine fault = iota
	noBrackets
	badRoute
	badLocal
	noDomain
	badDomain
	badLiteral
	notClosed
	tooLong
	notUTF8
	nullPath
	faults
)

// The texts of the faults.
var faultTexts = [faults]string{
	noBrackets: "the address must stand in angle brackets",
	badRoute:   "bad source route",
	badLocal:   "bad local part",
	noDomain:   "the domain is missing",
	badDomain:  "bad domain",
	badLiteral: "bad address literal",
	notClosed:  "closing angle bracket expected after the address",
	tooLong:    "address too long",
	notUTF8:    "not valid UTF-8",
	nullPath:   "a recipient cannot be empty",
}

// ParsePath reads a path of RFC 5321 section 4.1.2 with its angle brackets
// from the beginning of b, and returns what follows it. A source route is
// read and forgotten (appendix C). <> gives the zero Address. Postmaster, in
// any case, may stand without a domain. UTF-8 is taken (RFC 6531 section
// 3.3); whether it may be there only the parameters after the path tell.
//
// The domain comes out in lower case. An IP address is taken with and
// without brackets, and always comes out with them: [192.0.2.1],
// [ipv6:2001:db8::1].
func ParsePath(b []byte) (a mail.Address, rest []byte, refusal *mail.Reply) {
	a, rest, f := parsePath(b)
	return a, rest, rcptFaults[f]
}

func parsePath(b []byte) (mail.Address, []byte, fault) {
	if len(b) == 0 || b[0] != '<' {
		return mail.Address{}, b, noBrackets
	}
	b = b[1:]
	if len(b) > 0 && b[0] == '>' {
		return mail.Address{}, b[1:], fine
	}
	if len(b) > 0 && b[0] == '@' {
		var f fault
		if b, f = skipRoute(b); f != fine {
			return mail.Address{}, b, f
		}
	}
	var buf [MaxPathUTF8]byte
	out, n, f := appendLocal(buf[:0], b)
	if f != fine {
		return mail.Address{}, b, f
	}
	local := len(out)
	b = b[n:]
	if len(b) > 0 && b[0] == '@' {
		out = append(out, '@')
		if out, n, f = appendDomain(out, b[1:]); f != fine {
			return mail.Address{}, b, f
		}
		b = b[1+n:]
	}
	if len(b) == 0 || b[0] != '>' {
		return mail.Address{}, b, notClosed
	}
	a, f := makeAddress(out, local)
	return a, b[1:], f
}

// makeAddress checks the whole, local part, "@" and domain, and makes one
// string of it.
func makeAddress(out []byte, local int) (mail.Address, fault) {
	limit := MaxPath
	if !isASCII(out) {
		if !utf8.Valid(out) {
			return mail.Address{}, notUTF8
		}
		limit = MaxPathUTF8
	}
	if len(out)+2 > limit {
		return mail.Address{}, tooLong
	}
	s := string(out)
	if local == len(s) {
		// RFC 5321 section 4.1.1.3
		if !strings.EqualFold(s, "postmaster") {
			return mail.Address{}, noDomain
		}
		return mail.Address{Local: s}, fine
	}
	a := mail.Address{Local: s[:local], Domain: s[local+1:]}
	if limit == MaxPathUTF8 {
		a.Domain = strings.ToLower(a.Domain)
	}
	if len(a.Domain) > MaxDomain {
		return mail.Address{}, tooLong
	}
	if c := a.Domain[len(a.Domain)-1]; '0' <= c && c <= '9' {
		if ip, err := netip.ParseAddr(a.Domain); err == nil {
			a.Domain = "[" + ip.String() + "]"
		}
	}
	return a, fine
}

// skipRoute passes over "@a,@b:".
func skipRoute(b []byte) ([]byte, fault) {
	for {
		if len(b) == 0 || b[0] != '@' {
			return b, badRoute
		}
		var buf [MaxDomain + 1]byte
		_, n, f := appendDomain(buf[:0], b[1:])
		if f != fine {
			return b, badRoute
		}
		b = b[1+n:]
		if len(b) == 0 {
			return b, badRoute
		}
		c := b[0]
		b = b[1:]
		switch c {
		case ':':
			return b, fine
		case ',':
		default:
			return b, badRoute
		}
	}
}

// appendLocal reads a local part, unquotes it, and returns how many bytes it
// took.
func appendLocal(out, b []byte) ([]byte, int, fault) {
	if len(b) > 0 && b[0] == '"' {
		return appendQuoted(out, b)
	}
	dot := true
	for i, c := range b {
		switch {
		case c == '.':
			if dot {
				return out, 0, badLocal
			}
			dot = true
		case mail.IsAtom(c):
			dot = false
		default:
			if dot {
				return out, 0, badLocal
			}
			return append(out, b[:i]...), i, fine
		}
		if i >= MaxPathUTF8-3 {
			return out, 0, tooLong
		}
	}
	return out, 0, notClosed
}

func appendQuoted(out, b []byte) ([]byte, int, fault) {
	for i := 1; i < len(b); i++ {
		c := b[i]
		switch {
		case c == '"':
			if i == 1 {
				return out, 0, badLocal
			}
			return out, i + 1, fine
		case c == '\\':
			i++
			if i == len(b) || b[i] < ' ' || b[i] > '~' {
				return out, 0, badLocal
			}
			c = b[i]
		case c < ' ' || c == 0x7f:
			return out, 0, badLocal
		}
		if len(out) >= MaxPathUTF8-3 {
			return out, 0, tooLong
		}
		out = append(out, c)
	}
	return out, 0, badLocal
}

// appendDomain reads a domain or an address literal, in lower case, and
// returns how many bytes it took.
func appendDomain(out, b []byte) ([]byte, int, fault) {
	if len(b) > 0 && b[0] == '[' {
		return appendLiteral(out, b)
	}
	label := 0 // characters of it so far
	last := byte('.')
	for i, c := range b {
		switch {
		case c == '.':
			if label == 0 || last == '-' {
				return out, 0, badDomain
			}
			label = -1
		case c == '-':
			if label == 0 {
				return out, 0, badDomain
			}
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case !isDomainByte(c):
			if label == 0 || last == '-' {
				return out, 0, badDomain
			}
			return out, i, fine
		}
		if c < 0x80 || c >= 0xc0 { // count characters
			label++
		}
		last = c
		if i >= MaxDomain || label > MaxLabel {
			return out, 0, badDomain
		}
		out = append(out, c)
	}
	return out, 0, notClosed
}

// isDomainByte is about what else than "-" and "." may stand in a domain in
// lower case. The underscore is there because such names are in use.
func isDomainByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_' || c >= 0x80
}

// appendLiteral reads an address literal (RFC 5321 section 4.1.3).
func appendLiteral(out, b []byte) ([]byte, int, fault) {
	end := bytes.IndexByte(b, ']')
	if end < 0 || end > 64 {
		return out, 0, badLiteral
	}
	ip, ok := parseLiteral(string(b[1:end]))
	if !ok {
		return out, 0, badLiteral
	}
	out = append(out, '[')
	if ip.Is6() {
		out = append(out, "ipv6:"...)
	}
	out = ip.AppendTo(out)
	return append(out, ']'), end + 1, fine
}

func parseLiteral(s string) (netip.Addr, bool) {
	const tag = "ipv6:"
	if len(s) > len(tag) && strings.EqualFold(s[:len(tag)], tag) {
		ip, err := netip.ParseAddr(s[len(tag):])
		return ip, err == nil && ip.Is6() && ip.Zone() == ""
	}
	ip, err := netip.ParseAddr(s)
	return ip, err == nil && ip.Is4()
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
