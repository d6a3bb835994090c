package mail

import (
	"net/netip"
	"strings"
)

// An Address is a mailbox of RFC 5321 section 4.1.2. Local is unquoted, as
// its owner writes it; Domain is lower case, either a name in its ASCII or
// UTF-8 form or an address literal with its brackets. The zero Address is
// the null return path <>. The local part Postmaster may stand without a
// domain.
type Address struct {
	Local  string
	Domain string
}

// IsZero says whether a is the null return path.
func (a Address) IsZero() bool { return a.Local == "" && a.Domain == "" }

// String writes the address as it stands on the wire, without angle
// brackets; a local part that is no dot-string is quoted.
func (a Address) String() string {
	if a.IsZero() {
		return ""
	}
	local := a.Local
	if !isDotString(local) {
		local = quote(local)
	}
	if a.Domain == "" {
		return local
	}
	return local + "@" + a.Domain
}

// Literal gives the IP address of a domain that is an address literal
// (RFC 5321 section 4.1.3).
func (a Address) Literal() (netip.Addr, bool) {
	s, ok := strings.CutPrefix(a.Domain, "[")
	if !ok {
		return netip.Addr{}, false
	}
	s, ok = strings.CutSuffix(s, "]")
	if !ok {
		return netip.Addr{}, false
	}
	if len(s) > 5 && strings.EqualFold(s[:5], "ipv6:") {
		s = s[5:]
	}
	ip, err := netip.ParseAddr(s)
	return ip, err == nil && ip.Zone() == ""
}

// ASCII says whether the address can travel without SMTPUTF8.
func (a Address) ASCII() bool { return isASCII(a.Local) && isASCII(a.Domain) }

// Key is the form under which an address is looked up: lower case, without
// quoting.
func (a Address) Key() string {
	return strings.ToLower(a.Local) + "@" + strings.ToLower(a.Domain)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// IsAtom says whether c may stand in an unquoted local part: atext of
// RFC 5322 section 3.2.3, and what RFC 6531 section 3.3 adds.
func IsAtom(c byte) bool {
	return c >= 0x80 || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func isDotString(s string) bool {
	dot := true
	for i := range len(s) {
		switch {
		case s[i] == '.':
			if dot {
				return false
			}
			dot = true
		case IsAtom(s[i]):
			dot = false
		default:
			return false
		}
	}
	return !dot
}

func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
	return b.String()
}
