package message

import (
	"io"
	"strings"

	"postrider/internal/mail"
	"postrider/internal/message/field"
)

// Recipients reads the envelope recipients out of a header, for a message
// that comes without an envelope dialogue: those of To, Cc and Bcc, or, if
// the message was sent on (RFC 5322 section 3.6.6), of the topmost block of
// Resent fields alone. Each address is given once, in the order of the
// header. A bare local part has no domain.
//
// It is strict: the first entry that is not clean is refused with an error of
// kind Invalid that quotes it, and so is a header without any recipient and
// one that a limit cut, since a recipient may be in the rest.
func Recipients(h Header) ([]mail.Address, error) {
	if h.Truncated {
		return nil, mail.Errorf(mail.Invalid, "the header is too large to read its recipients")
	}
	var all []mail.Address
	seen := make(map[string]bool)
	for _, f := range recipientFields(h) {
		list, err := field.Recipients(f.Name, f.Text())
		if err != nil {
			return nil, err
		}
		for _, m := range list {
			if key := m.Key(); !seen[key] {
				seen[key] = true
				all = append(all, m)
			}
		}
	}
	if len(all) == 0 {
		return nil, mail.Errorf(mail.Invalid, "there is no recipient in To, Cc or Bcc")
	}
	return all, nil
}

// recipientFields gives the fields that name the recipients.
func recipientFields(h Header) []*Field {
	var fields, resent []*Field
	block := false // within the topmost block of Resent fields
	done := false
	for i := range h.Fields {
		f := &h.Fields[i]
		if len(f.Name) > 7 && strings.EqualFold(f.Name[:7], "resent-") {
			block = true
			switch kindOf(f.Name[7:]) {
			case kTo, kCc, kBcc:
				if !done {
					resent = append(resent, f)
				}
			}
			continue
		}
		done = done || block
		switch f.kind {
		case kTo, kCc, kBcc:
			fields = append(fields, f)
		}
	}
	if block {
		return resent
	}
	return fields
}

// A Range is a stretch of a message, in bytes.
type Range struct {
	Offset int64
	Len    int64
}

// BccRanges gives the places of all Bcc and Resent-Bcc fields, in rising
// order, for Without.
func BccRanges(h Header) []Range {
	var rs []Range
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.kind == kBcc || strings.EqualFold(f.Name, "Resent-Bcc") {
			rs = append(rs, Range{f.Offset, f.Len})
		}
	}
	return rs
}

// Without gives the size bytes of r but for the ranges, which must not
// overlap and stand in rising order.
func Without(r io.ReaderAt, size int64, drop []Range) io.Reader {
	var parts []io.Reader
	from := int64(0)
	for _, d := range drop {
		if d.Offset > from {
			parts = append(parts, io.NewSectionReader(r, from, d.Offset-from))
		}
		from = d.Offset + d.Len
	}
	if size > from {
		parts = append(parts, io.NewSectionReader(r, from, size-from))
	}
	return io.MultiReader(parts...)
}
