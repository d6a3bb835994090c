package field

import (
	"strings"

	"postrider/internal/mail"
)

// maxShown is how much of a wrong address an error quotes, in bytes.
const maxShown = 200

// Recipients reads the unfolded value of the address field name, strictly: the
// first entry that is not clean is refused with an error of kind Invalid that
// quotes it. Groups are taken apart. A bare local part has no domain.
func Recipients(name, value string) ([]mail.Address, error) {
	p := addressParser{s: value}
	p.list()
	if p.flaw != "" {
		return nil, badRecipient(name, p.flaw)
	}
	var all []mail.Address
	for _, a := range p.out {
		if a.Mark != Mailbox {
			continue
		}
		m := a.Mail()
		if !validRecipient(m) {
			return nil, badRecipient(name, m.String())
		}
		all = append(all, m)
	}
	if len(p.out) >= maxAddresses {
		return nil, mail.Errorf(mail.Invalid, "too many addresses in "+name)
	}
	return all, nil
}

func badRecipient(name, text string) error {
	text, _ = Cut(text, maxShown)
	return mail.Errorf(mail.Invalid, "not an address in "+name+": "+text)
}

// ParseAddress reads one address as people type it, with or without a
// display name. The error is of kind Invalid and quotes what is wrong. A bare
// local part has no domain.
func ParseAddress(s string) (mail.Address, error) {
	p := addressParser{s: Unfold(s)}
	p.list()
	if p.flaw != "" || len(p.out) != 1 || !validRecipient(p.out[0].Mail()) {
		text, _ := Cut(s, maxShown)
		return mail.Address{}, mail.Errorf(mail.Invalid, "not a mail address: "+text)
	}
	return p.out[0].Mail(), nil
}

// validRecipient says whether an address may be tried at all.
func validRecipient(a mail.Address) bool {
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	if a.Local == "" || strings.ContainsFunc(a.Local, control) {
		return false
	}
	if strings.HasPrefix(a.Domain, "[") {
		_, ok := a.Literal()
		return ok
	}
	return a.Domain == "" || validDomain(a.Domain)
}

// validDomain checks the letters and the labels of a domain name (RFC 5321
// section 2.3.5, RFC 6531 section 3.3). Underscores are let through.
func validDomain(s string) bool {
	if len(s) > 255 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if c < 0x80 && !isAlpha(c) && !isDigit(c) && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
