package message

import (
	"time"

	"postrider/internal/message/field"
)

// An Envelope is what IMAP calls so (RFC 9051 section 7.5.2): the header
// fields that every listing shows, unfolded, without control bytes, encoded
// words not decoded. Fields that were not there are empty: Sender and
// ReplyTo do not default to From here.
type Envelope struct {
	Date      string
	Subject   string
	From      []field.Address
	Sender    []field.Address
	ReplyTo   []field.Address
	To        []field.Address
	Cc        []field.Address
	Bcc       []field.Address
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

// Addresses gives the entries of all fields of this name, in any case.
func (h Header) Addresses(name string) []field.Address {
	var all []field.Address
	for f := range h.All(name) {
		all = append(all, field.ParseAddressList(f.Text())...)
	}
	return all
}

// addresses gives the entries of all fields of a kind.
func (h Header) addresses(k kind) []field.Address {
	var all []field.Address
	for i := range h.Fields {
		if f := &h.Fields[i]; f.kind == k {
			all = field.AppendAddressList(all, f.Text())
		}
	}
	return all
}

// Sent gives the time of the Date field, the zero Time if there is none or
// it cannot be read.
func (h Header) Sent() time.Time {
	t, _ := field.ParseDate(h.text(kDate))
	return t
}
