package smtp

import (
	"bytes"
	"strings"
	"time"

	"postrider/internal/mail"
)

// MailRules say what a server takes as parameters of MAIL.
type MailRules struct {
	RequireTLS bool             // REQUIRETLS is offered on this connection
	MaxHold    time.Duration    // longest HOLDFOR and HOLDUNTIL
	Now        func() time.Time // for these two
}

// ParseMail reads what follows MAIL: "FROM:<path> parameters". White space
// after the colon, which real senders put there, is passed over.
func ParseMail(args []byte, rules MailRules) (
	from mail.Address, p mail.MailParams, refusal *mail.Reply,
) {
	rest, ok := cutKeyword(args, "FROM:")
	if !ok {
		return from, p, errMailSyntax
	}
	from, rest, f := parsePath(rest)
	if f == fine && from.Domain == "" && from.Local != "" {
		f = noDomain
	}
	if f != fine {
		return mail.Address{}, p, mailFaults[f]
	}
	mp := mailParser{rules: rules}
	if rest, ok = cutSpace(rest); !ok {
		return mail.Address{}, p, errMailSyntax
	}
	for len(rest) > 0 {
		var name string
		var value []byte
		name, value, rest = nextParam(rest)
		if refusal = mp.param(name, value); refusal != nil {
			return mail.Address{}, p, refusal
		}
	}
	if !mp.params.UTF8 && !from.ASCII() {
		return mail.Address{}, mail.MailParams{}, errMailUTF8 // RFC 6531 section 3.5
	}
	return from, mp.params, nil
}

// ParseRcpt reads what follows RCPT: "TO:<path> parameters". UTF8 says
// whether MAIL had SMTPUTF8.
func ParseRcpt(args []byte, utf8 bool) (
	to mail.Address, p mail.RcptParams, refusal *mail.Reply,
) {
	rest, ok := cutKeyword(args, "TO:")
	if !ok {
		return to, p, errRcptSyntax
	}
	to, rest, f := parsePath(rest)
	if f == fine && to.IsZero() {
		f = nullPath
	}
	if f != fine {
		return mail.Address{}, p, rcptFaults[f]
	}
	if !utf8 && !to.ASCII() {
		return mail.Address{}, p, errRcptUTF8
	}
	var rp rcptParser
	if rest, ok = cutSpace(rest); !ok {
		return mail.Address{}, p, errRcptSyntax
	}
	for len(rest) > 0 {
		var name string
		var value []byte
		name, value, rest = nextParam(rest)
		if refusal = rp.param(name, value); refusal != nil {
			return mail.Address{}, p, refusal
		}
	}
	return to, rp.params, nil
}

// cutKeyword cuts FROM: or TO:, in any case, and white space after it.
func cutKeyword(b []byte, keyword string) (rest []byte, ok bool) {
	if len(b) < len(keyword) || !equalFold(b[:len(keyword)], keyword) {
		return b, false
	}
	return bytes.TrimLeft(b[len(keyword):], " \t"), true
}

// equalFold compares, ASCII letters in any case; s is upper case.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

// nextParam reads the first of the parameters in b (RFC 5321 section 4.1.2).
// The name is "" for one that is not known, value nil when there was no "=".
func nextParam(b []byte) (name string, value, rest []byte) {
	end := bytes.IndexByte(b, ' ')
	if end < 0 {
		end = len(b)
	}
	word, rest := b[:end], bytes.TrimLeft(b[end:], " ")
	if eq := bytes.IndexByte(word, '='); eq >= 0 {
		word, value = word[:eq], word[eq+1:]
	}
	return keyword(word), value, rest
}

// cutSpace cuts the space that must stand before the first parameter.
func cutSpace(b []byte) (rest []byte, ok bool) {
	if len(b) > 0 && b[0] != ' ' {
		return b, false
	}
	return bytes.TrimLeft(b, " "), true
}

// keyword gives the known parameter that b is, without making a string, or
// "".
func keyword(b []byte) string {
	for _, k := range keywords {
		if equalFold(b, k) {
			return k
		}
	}
	return ""
}

// keywords in the order of how often they are seen.
var keywords = [...]string{
	"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "NOTIFY", "ORCPT", "AUTH", "REQUIRETLS",
	"HOLDFOR", "HOLDUNTIL",
}

// A mailParser collects the parameters of MAIL.
type mailParser struct {
	rules  MailRules
	params mail.MailParams
	seen   seen
}

// seen remembers which parameters were there already.
type seen uint16

func (s *seen) twice(keyword string) bool {
	for i, k := range keywords {
		if k == keyword {
			old := *s
			*s |= 1 << i
			return old == *s
		}
	}
	return false
}

func (m *mailParser) param(keyword string, value []byte) *mail.Reply {
	if keyword == "" || keyword == "REQUIRETLS" && !m.rules.RequireTLS {
		return errUnknown
	}
	if m.seen.twice(keyword) {
		return errTwice
	}
	switch keyword {
	case "SIZE":
		return m.size(value)
	case "BODY":
		return m.body(value)
	case "SMTPUTF8": // RFC 6531 section 3.4
		m.params.UTF8 = true
		return refuseUnless(value == nil, errFlag)
	case "REQUIRETLS": // RFC 8689 section 2
		m.params.RequireTLS = true
		return refuseUnless(value == nil, errFlag)
	case "AUTH":
		return m.auth(value)
	case "RET":
		return m.ret(value)
	case "ENVID":
		return m.envelopeID(value)
	case "HOLDFOR", "HOLDUNTIL":
		return m.hold(keyword, value)
	}
	return errUnknown
}

func refuseUnless(ok bool, r *mail.Reply) *mail.Reply {
	if ok {
		return nil
	}
	return r
}

// size reads SIZE (RFC 1870 section 4): up to 20 digits. What is above all
// that can be stored comes out as the largest number.
func (m *mailParser) size(value []byte) *mail.Reply {
	if len(value) > 20 {
		return errSize
	}
	trimmed := bytes.TrimLeft(value, "0")
	if len(trimmed) == 0 {
		return refuseUnless(len(value) > 0, errSize)
	}
	if len(trimmed) > 18 {
		for _, c := range trimmed {
			if c < '0' || c > '9' {
				return errSize
			}
		}
		m.params.Size = 1<<63 - 1
		return nil
	}
	var ok bool
	m.params.Size, ok = parseNumber(trimmed)
	return refuseUnless(ok, errSize)
}

// body reads BODY (RFC 6152 section 2, RFC 3030 section 3).
func (m *mailParser) body(value []byte) *mail.Reply {
	switch {
	case equalFold(value, "8BITMIME"):
		m.params.Body = mail.Body8BitMIME
	case equalFold(value, "7BIT"):
		m.params.Body = mail.Body7Bit
	case equalFold(value, "BINARYMIME"):
		m.params.Body = mail.BodyBinaryMIME
	default:
		return errBody
	}
	return nil
}

// auth reads AUTH (RFC 4954 section 5): <> or a mailbox in xtext.
func (m *mailParser) auth(value []byte) *mail.Reply {
	s, ok := decodeXtext(value)
	if !ok || s == "" {
		return errAuth
	}
	if s != "<>" {
		if _, rest, f := parsePath([]byte("<" + s + ">")); f != fine || len(rest) > 0 {
			return errAuth
		}
	}
	m.params.Auth = s
	return nil
}

// ret reads RET (RFC 3461 section 4.3).
func (m *mailParser) ret(value []byte) *mail.Reply {
	switch {
	case equalFold(value, "FULL"):
		m.params.Return = "FULL"
	case equalFold(value, "HDRS"):
		m.params.Return = "HDRS"
	default:
		return errReturn
	}
	return nil
}

// envelopeID reads ENVID (RFC 3461 section 4.4).
func (m *mailParser) envelopeID(value []byte) *mail.Reply {
	s, ok := decodeXtext(value)
	if !ok || s == "" || len(value) > 100 || !isPrintable(s) {
		return errEnvelopeID
	}
	m.params.EnvelopeID = s
	return nil
}

// hold reads HOLDFOR and HOLDUNTIL (RFC 4865 section 3).
func (m *mailParser) hold(keyword string, value []byte) *mail.Reply {
	if !m.params.HoldUntil.IsZero() {
		return errHoldTwice
	}
	now := m.rules.Now()
	if keyword == "HOLDFOR" {
		seconds, ok := parseNumber(value)
		if !ok || len(value) > 9 {
			return errHold
		}
		m.params.HoldUntil = now.Add(time.Duration(seconds) * time.Second)
	} else {
		t, err := time.Parse(time.RFC3339, strings.ToUpper(string(value)))
		if err != nil {
			return errHold
		}
		m.params.HoldUntil = t.UTC()
	}
	if m.params.HoldUntil.Sub(now) > m.rules.MaxHold {
		return errHoldLong
	}
	return nil
}

// A rcptParser collects the parameters of RCPT.
type rcptParser struct {
	params mail.RcptParams
	seen   seen
}

func (m *rcptParser) param(keyword string, value []byte) *mail.Reply {
	switch keyword {
	case "NOTIFY", "ORCPT":
	default:
		return errUnknown
	}
	if m.seen.twice(keyword) {
		return errTwice
	}
	if keyword == "NOTIFY" {
		return m.notify(value)
	}
	return m.original(value)
}

// The values of NOTIFY, by the bits of the words in it.
var notifies = [8]string{
	"", "SUCCESS", "FAILURE", "SUCCESS,FAILURE",
	"DELAY", "SUCCESS,DELAY", "FAILURE,DELAY", "SUCCESS,FAILURE,DELAY",
}

// notify reads NOTIFY (RFC 3461 section 4.1).
func (m *rcptParser) notify(value []byte) *mail.Reply {
	if equalFold(value, "NEVER") {
		m.params.Notify = "NEVER"
		return nil
	}
	bits := 0
	for more := true; more; {
		var word []byte
		word, value, more = bytes.Cut(value, []byte{','})
		bit := 0
		switch {
		case equalFold(word, "SUCCESS"):
			bit = 1
		case equalFold(word, "FAILURE"):
			bit = 2
		case equalFold(word, "DELAY"):
			bit = 4
		}
		if bit == 0 || bits&bit != 0 {
			return errNotify
		}
		bits |= bit
	}
	m.params.Notify = notifies[bits]
	return nil
}

// original reads ORCPT (RFC 3461 section 4.2, RFC 6533 section 3).
func (m *rcptParser) original(value []byte) *mail.Reply {
	kind, address, ok := bytes.Cut(value, []byte{';'})
	if !ok || len(kind) == 0 || len(address) == 0 || len(value) > 500 || !isWord(kind) {
		return errOriginal
	}
	decode := decodeXtext
	if equalFold(kind, "UTF-8") {
		decode = decodeUnitext
	}
	s, ok := decode(address)
	if !ok || !isPrintable(s) {
		return errOriginal
	}
	m.params.Original = strings.ToLower(string(kind)) + ";" + s
	return nil
}

func isWord(b []byte) bool {
	for _, c := range b {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}
