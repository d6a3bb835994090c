package field

import (
	"strconv"
	"strings"

	"postrider/internal/message/coding"
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
	return coding.UTF8(plain)
}

// extended puts a parameter together by RFC 2231. Each continuation is
// encoded or not on its own; the charset stands in the first. Continuations
// are used from number 0 up to the first gap.
func (ps Params) extended(name string) string {
	if v, ok := ps.raw(name + "*"); ok {
		charset, value := splitExtended(v)
		return coding.Decode(charset, coding.AppendPercent(nil, value))
	}
	var charset string
	var b []byte
	for n := range len(ps) {
		numbered := name + "*" + strconv.Itoa(n)
		if v, ok := ps.raw(numbered + "*"); ok {
			if n == 0 {
				charset, v = splitExtended(v)
			}
			b = coding.AppendPercent(b, v)
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
		return coding.UTF8(v)
	}
	return coding.Decode(charset, b)
}

// Boundary gives the boundary parameter as it came: it may look like an encoded word
// and hold any bytes.
func (ps Params) Boundary() string {
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
