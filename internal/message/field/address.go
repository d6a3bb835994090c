package field

import (
	"cmp"
	"strings"

	"postrider/internal/mail"
)

// An Address is one entry of an address field (RFC 5322 section 3.4). A
// group stands in the list as an entry GroupStart with its name, its
// members, and an entry GroupEnd, which is also how IMAP shows it.
type Address struct {
	// Name is the display name, unquoted, encoded words not decoded; for
	// want of one, the comment behind the address.
	Name string
	// Route is the obsolete source route before the address, such as
	// "@a,@b" (RFC 5322 section 4.4).
	Route string
	// Local is unquoted. Routes with % and ! stay in it.
	Local string
	// Domain is as it was written, an address literal with its brackets;
	// "" if there was none.
	Domain string
	Mark   Mark
}

// A Mark tells addresses from the ends of a group.
type Mark uint8

// The marks.
const (
	Mailbox Mark = iota
	GroupStart
	GroupEnd
)

// DisplayName gives the name for people, with encoded words decoded.
func (a Address) DisplayName() string { return DecodeWords(a.Name) }

// Mail gives the address as the rest of the program knows it: without name
// and source route, the domain in lower case.
func (a Address) Mail() mail.Address {
	return mail.Address{Local: a.Local, Domain: strings.ToLower(a.Domain)}
}

// Via gives the address of the first host of the source route, with the rest
// as its local part, as SIMS reads "<@first:user@second>"; without a route
// it is Mail. Unroute leads from there to the next host.
func (a Address) Via() mail.Address {
	if a.Route == "" {
		return a.Mail()
	}
	local := a.Mail().String()
	first, rest, more := strings.Cut(strings.TrimPrefix(a.Route, "@"), ",")
	if more {
		local = rest + ":" + local
	}
	return mail.Address{Local: local, Domain: strings.ToLower(first)}
}

// Unroute reads the local part of an address at a host of ours as a way to
// another address: "@b:user@c" and "b!user" lead to b, "user@b" and "user%b"
// too. It goes one step, and says false if there is none. Whoever uses it
// must judge relaying by what comes out, not by what went in.
func Unroute(local string) (mail.Address, bool) {
	if strings.HasPrefix(local, "@") {
		if route, rest, ok := cutRoute(local); ok {
			a := Address{Route: route}
			a.Local, a.Domain = cutLast(rest, '@')
			via := a.Via()
			return via, via.Local != "" && via.Domain != ""
		}
	}
	for _, c := range [...]byte{'@', '!', '%'} {
		user, host := cutLast(local, c)
		if c == '!' {
			host, user, _ = strings.Cut(local, "!")
		}
		if user != "" && validDomain(host) || strings.HasPrefix(host, "[") && user != "" {
			return mail.Address{Local: user, Domain: strings.ToLower(host)}, true
		}
	}
	return mail.Address{}, false
}

// cutLast cuts s around the last c; without one, all is before.
func cutLast(s string, c byte) (before, after string) {
	i := strings.LastIndexByte(s, c)
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i+1:]
}

// maxAddresses bounds the entries of one list; more are left out.
const maxAddresses = 20_000

// ParseAddressList reads the unfolded value of an address field. It takes
// what real mail has: missing quotes, commas and brackets, semicolons as
// separators, empty entries, bare names without a domain, UTF-8 (RFC 6532).
// It never fails; what makes no sense is left out, and so is what comes after
// the first 20 000 entries. Recipients is the strict reader.
func ParseAddressList(s string) []Address { return AppendAddressList(nil, s) }

// AppendAddressList appends to list what ParseAddressList gives of s. The list
// as a whole gets no longer than 20 000 entries.
func AppendAddressList(list []Address, s string) []Address {
	p := addressParser{s: s, out: list}
	p.list()
	return p.out
}

// An addressParser goes over the text once.
type addressParser struct {
	s     string
	i     int
	out   []Address
	open  enclosures
	group bool
	flaw  string // the first entry that is not clean, for strict readers
}

func (p *addressParser) list() {
	for p.i < len(p.s) && len(p.out) < maxAddresses {
		switch c := p.s[p.i]; c {
		case ' ', '\t', ',', '\r', '\n':
			p.i++
		case ';':
			p.i++
			p.endGroup()
		default:
			p.entry()
		}
	}
	p.endGroup()
}

func (p *addressParser) endGroup() {
	if p.group {
		p.group = false
		p.out = append(p.out, Address{Mark: GroupEnd})
	}
}

// bad notes the entry from start to the reading position as not clean.
func (p *addressParser) bad(start int) {
	if p.flaw == "" {
		p.flaw = strings.TrimSpace(p.s[start:p.i])
	}
}

// entry reads an address or the start of a group. It always moves on.
func (p *addressParser) entry() {
	start := p.i
	stop := p.scan()
	text := p.s[start:p.i]
	switch stop {
	case '<':
		p.angle(start, text)
	case ':':
		p.i++
		if p.group {
			p.bad(start)
			p.endGroup()
		}
		p.group = true
		name, _ := phrase(text)
		p.out = append(p.out, Address{Name: name, Mark: GroupStart})
	default:
		p.bare(start, text)
	}
}

// scan moves to what ends the phrase or address at the reading position: an
// angle bracket, the colon of a group, a separator, or the end (0).
func (p *addressParser) scan() byte {
	at := false
	for p.i < len(p.s) {
		switch c := p.s[p.i]; c {
		case '"', '(', '[':
			n := p.open.length(p.s[p.i:])
			if n == 0 {
				p.flaw = cmp.Or(p.flaw, strings.TrimSpace(p.s[p.i:]))
				n = 1
			}
			p.i += n
		case '<', ',', ';':
			return c
		case ':':
			if !at {
				return c
			}
			p.i++
		case '@':
			at = true
			p.i++
		default:
			p.i++
		}
	}
	return 0
}

// angle reads the address in angle brackets at the reading position, behind
// the display name text. A bracket that is not closed ends at the separator.
func (p *addressParser) angle(start int, text string) {
	for p.i < len(p.s) && p.s[p.i] == '<' {
		p.i++ // some programs write two
	}
	from := p.i
	for p.i < len(p.s) && p.s[p.i] != '>' && p.s[p.i] != '<' {
		n := 1
		if p.s[p.i] == '"' {
			n = max(p.open.length(p.s[p.i:]), 1)
		}
		p.i += n
	}
	closed := p.i < len(p.s) && p.s[p.i] == '>'
	if !closed {
		if n := strings.IndexAny(p.s[from:p.i], ",;"); n >= 0 {
			p.i = from + n
		}
	}
	inner := p.s[from:p.i]
	if closed {
		p.i++
	}
	a, comment, ok := addrSpec(inner)
	name, comment2 := phrase(text)
	a.Name = cmp.Or(name, p.behind(), comment, comment2)
	if !ok || !closed || from > start+len(text)+1 {
		p.bad(start)
	}
	if a != (Address{}) {
		p.out = append(p.out, a)
	}
}

// behind reads what follows an address in brackets: comments, of which it
// gives the last, and junk up to the separator, unless that looks like the
// next address without its comma.
func (p *addressParser) behind() string {
	comment := ""
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t', '\r', '\n', '>':
			p.i++
			continue
		case ',', ';':
			return comment
		case '(':
			if n := p.open.length(p.s[p.i:]); n > 0 {
				comment = commentText(p.s[p.i : p.i+n])
				p.i += n
				continue
			}
		}
		junk := p.i
		if n := strings.IndexAny(p.s[p.i:], ",;<@\""); n < 0 {
			p.i = len(p.s)
		} else if c := p.s[p.i+n]; c == ',' || c == ';' {
			p.i += n
		}
		p.flaw = cmp.Or(p.flaw, strings.TrimSpace(p.s[junk:]))
		return comment
	}
	return comment
}

// bare reads an address without brackets. Several with nothing but blanks
// between them are taken apart.
func (p *addressParser) bare(start int, text string) {
	a, comment, ok := addrSpec(text)
	if a == (Address{}) {
		return // nothing but a comment
	}
	if !ok {
		p.bad(start)
		if strings.Count(text, "@") > 1 && strings.IndexByte(text, '"') < 0 {
			p.several(text)
			return
		}
	}
	a.Name = comment
	p.out = append(p.out, a)
}

func (p *addressParser) several(text string) {
	for word := range strings.FieldsSeq(text) {
		if a, _, _ := addrSpec(word); a.Local != "" && a.Domain != "" {
			p.out = append(p.out, a)
		}
	}
}
