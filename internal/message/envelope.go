package message

import (
	"time"
	"unicode/utf8"
)

// An Envelope is what IMAP calls so (RFC 9051 section 7.5.2): the header
// fields that every listing shows, unfolded, without control bytes, encoded
// words not decoded. Fields that were not there are empty: Sender and
// ReplyTo do not default to From here.
type Envelope struct {
	Date      string
	Subject   string
	From      []Address
	Sender    []Address
	ReplyTo   []Address
	To        []Address
	Cc        []Address
	Bcc       []Address
	InReplyTo string
	MessageID string
}

// Envelope makes the envelope of a header. Address fields that stand more
// than once are taken together, of others the first holds.
func (h Header) Envelope() *Envelope {
	return &Envelope{
		Date:      h.text(kDate),
		Subject:   h.text(kSubject),
		From:      h.addresses(kFrom),
		Sender:    h.addresses(kSender),
		ReplyTo:   h.addresses(kReplyTo),
		To:        h.addresses(kTo),
		Cc:        h.addresses(kCc),
		Bcc:       h.addresses(kBcc),
		InReplyTo: h.text(kInReplyTo),
		MessageID: h.text(kMessageID),
	}
}

// Sent gives the time of the Date field, the zero Time if there is none or
// it cannot be read.
func (h Header) Sent() time.Time {
	t, _ := ParseDate(h.text(kDate))
	return t
}

// cut shortens s to limit bytes at most, not within a character, and says
// whether it had to.
func cut(s string, limit int) (string, bool) {
	if len(s) <= limit {
		return s, false
	}
	n := limit
	for n > limit-utf8.UTFMax && n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n], true
}
