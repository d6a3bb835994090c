package message

import (
	"encoding/binary"
	"strings"
	"time"

	"postrider/internal/message/field"
)

// FormVersion is the version of the form that AppendForm writes. A reader of
// stored forms compares it and parses the message again if it differs.
const FormVersion = 1

// The limits of a form, in bytes. Above maxForm the rest of the structure is
// left out.
const (
	maxForm           = 64 << 10
	maxFormString     = 4 << 10
	maxFormAddresses  = 12 << 10 // of one field
	maxFormReferences = 2 << 10
	maxFormDepth      = 4 * DefaultDepth
)

// A Form is what a message's row in the database keeps of it, so that no
// listing opens a body. Offsets are those of the message as it was parsed: a
// window that shows bytes before it adds their number.
type Form struct {
	Envelope   *Envelope
	Root       *Part     // without the headers; all other fields as in Message
	Size       int64     // bytes that were parsed
	Sent       time.Time // of the Date field, to the second, in its zone; zero if none
	Thread     int64     // see Header.ThreadKey
	ListID     string    // value of List-Id
	References string    // value of References; if long, its first and its last ids
	Defects    Defects
	// Cut says that something was too long and is shortened or left out;
	// who needs it parses the message again.
	Cut bool
}

// Form makes the form of a message. It shares the parts with m.
func (m *Message) Form() *Form {
	f := &Form{
		Envelope: m.Header.Envelope(),
		Root:     m.Root,
		Size:     m.Size,
		Sent:     m.Header.Sent(),
		Thread:   m.Header.ThreadKey(),
		ListID:   m.Header.text(kListID),
		Defects:  m.Defects,
	}
	f.References, f.Cut = cutReferences(m.Header.text(kReferences))
	if f.Sent.IsZero() && f.Envelope.Date != "" {
		f.Defects |= DefectDate
	}
	return f
}

// cutReferences shortens a long References value as RFC 5322 section 3.6.4
// lets it be done: the first id stays, and of the others the last ones.
func cutReferences(s string) (string, bool) {
	if len(s) <= maxFormReferences {
		return s, false
	}
	first := "<" + field.FirstID(s) + ">"
	if len(first) > maxFormReferences/2 {
		first = ""
	}
	tail := s[len(s)-(maxFormReferences-len(first)-1):]
	i := strings.IndexByte(tail, '<')
	if i < 0 {
		return first, true
	}
	return strings.TrimSpace(first + " " + tail[i:]), true
}

// AppendForm appends the form of the message to dst, in the format of the
// package comment. It is 64 kB at most, commonly 300 to 600 bytes.
func (m *Message) AppendForm(dst []byte) []byte { return m.Form().Append(dst) }

// The bits of a form's flags.
const (
	formCut = 1 << iota
	formSent
)

// Append appends the form to dst in the format of the package comment.
func (f *Form) Append(dst []byte) []byte {
	e := formEncoder{start: len(dst), b: append(dst, FormVersion, 0), cut: f.Cut}
	flags := byte(0)
	e.uint(uint64(f.Defects))
	e.uint(uint64(f.Size))
	e.uint(uint64(f.Thread))
	if !f.Sent.IsZero() {
		flags |= formSent
		_, zone := f.Sent.Zone()
		e.int(f.Sent.Unix())
		e.int(int64(zone / 60))
	}
	e.envelope(f.Envelope)
	e.text(f.References)
	e.text(f.ListID)
	e.part(f.Root, 0, 0)
	if e.cut {
		flags |= formCut
	}
	e.b[e.start+1] = flags
	return e.b
}

// A formEncoder appends to b. Past maxForm it writes nothing but empty
// strings and ends of lists.
type formEncoder struct {
	b     []byte
	start int
	cut   bool
}

func (e *formEncoder) full() bool { return len(e.b)-e.start > maxForm-maxFormString-1024 }

func (e *formEncoder) uint(v uint64) { e.b = binary.AppendUvarint(e.b, v) }

func (e *formEncoder) int(v int64) { e.b = binary.AppendVarint(e.b, v) }

func (e *formEncoder) text(s string) {
	limit := maxFormString
	if e.full() {
		limit = 0
	}
	s, shorter := field.Cut(s, limit)
	e.cut = e.cut || shorter
	e.uint(uint64(len(s)))
	e.b = append(e.b, s...)
}

// coded writes s as its place in the table, counted from 1, or as 0 and the
// text.
func (e *formEncoder) coded(table []string, s string) {
	for i, t := range table {
		if s == t {
			e.uint(uint64(i + 1))
			return
		}
	}
	e.uint(0)
	e.text(s)
}

func (e *formEncoder) envelope(v *Envelope) {
	if v == nil {
		v = &Envelope{}
	}
	e.text(v.Date)
	e.text(v.Subject)
	for _, list := range [...][]field.Address{v.From, v.Sender, v.ReplyTo, v.To, v.Cc, v.Bcc} {
		e.addresses(list)
	}
	e.text(v.InReplyTo)
	e.text(v.MessageID)
}

// The tags of list entries; 0 ends a list.
const (
	tagEnd = iota
	tagMailbox
	tagRouted
	tagGroupStart
	tagGroupEnd
)

func (e *formEncoder) addresses(list []field.Address) {
	start, group := len(e.b), false
	for _, a := range list {
		if len(e.b)-start > maxFormAddresses || e.full() {
			e.cut = true
			break
		}
		switch {
		case a.Mark == field.GroupStart:
			e.b = append(e.b, tagGroupStart)
			e.text(a.Name)
			group = true
			continue
		case a.Mark == field.GroupEnd:
			e.b = append(e.b, tagGroupEnd)
			group = false
			continue
		case a.Route != "":
			e.b = append(e.b, tagRouted)
			e.text(a.Route)
		default:
			e.b = append(e.b, tagMailbox)
		}
		e.text(a.Name)
		e.text(a.Local)
		e.text(a.Domain)
	}
	if group && e.cut {
		e.b = append(e.b, tagGroupEnd)
	}
	e.b = append(e.b, tagEnd)
}

// The tables of common texts. They belong to FormVersion: entries are never
// moved or taken out, and new ones need a new version.
var (
	formTypes = []string{
		"text/plain", "text/html", "multipart/alternative", "multipart/mixed",
		"multipart/related", "multipart/signed", "multipart/report", "message/rfc822",
		"message/delivery-status", "application/octet-stream", "application/pdf", "image/png",
		"image/jpeg", "image/gif", "text/calendar", "text/csv", "application/pgp-signature",
		"application/pkcs7-signature", "application/zip", "application/msword",
		"message/disposition-notification", "text/rfc822-headers", "multipart/digest",
		"multipart/encrypted", "application/pkcs7-mime", "message/global", "message/partial",
		"application/ics", "application/ms-tnef", "application/vnd.ms-excel",
		"application/vnd.openxmlformats-officedocument.wordprocessingml.document",
		"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	}
	formEncodings    = []string{"7bit", "quoted-printable", "base64", "8bit", "binary"}
	formDispositions = []string{"attachment", "inline"}
	formParams       = []string{
		"charset", "boundary", "name", "filename", "format", "delsp", "type", "report-type",
		"protocol", "micalg", "method", "name*", "filename*", "size", "creation-date",
		"modification-date", "start", "x-unix-mode",
	}
)

// The bits that say which members of a part follow.
const (
	partParams = 1 << iota
	partDisposition
	partDispositionParams
	partID
	partDescription
	partMD5
	partLanguage
	partLocation
	partParts
	partMessage
	partOpaque
)

func (e *formEncoder) part(p *Part, base int64, depth int) {
	bits := partBits(p)
	if depth >= maxFormDepth || e.full() {
		e.cut = e.cut || bits&(partParts|partMessage) != 0
		bits &^= partParts | partMessage
	}
	e.coded(formTypes, p.MediaType())
	e.coded(formEncodings, p.Encoding)
	e.uint(bits)
	e.uint(uint64(p.HeaderOffset - base))
	e.uint(uint64(p.HeaderLen))
	e.uint(uint64(p.BodyLen))
	e.uint(uint64(p.Lines))
	if bits&partParams != 0 {
		e.params(p.Params)
	}
	if bits&partDisposition != 0 {
		e.coded(formDispositions, p.Disposition)
	}
	if bits&partDispositionParams != 0 {
		e.params(p.DispositionParams)
	}
	for i, s := range [...]string{p.ID, p.Description, p.MD5, p.Language, p.Location} {
		if bits&(partID<<i) != 0 {
			e.text(s)
		}
	}
	if bits&partParts != 0 {
		for _, c := range p.Parts {
			if e.full() {
				e.cut = true
				break
			}
			e.b = append(e.b, 1)
			e.part(c, p.BodyOffset, depth+1)
		}
		e.b = append(e.b, 0)
	}
	if bits&partMessage != 0 {
		e.envelope(p.Envelope)
		e.part(p.Message, p.BodyOffset, depth+1)
	}
}

func partBits(p *Part) uint64 {
	bits := uint64(0)
	for i, set := range [...]bool{
		p.Params != nil, p.Disposition != "", p.DispositionParams != nil, p.ID != "",
		p.Description != "", p.MD5 != "", p.Language != "", p.Location != "", p.Parts != nil,
		p.Message != nil, p.Opaque,
	} {
		if set {
			bits |= 1 << i
		}
	}
	return bits
}

func (e *formEncoder) params(ps field.Params) {
	for _, p := range ps {
		if e.full() {
			e.cut = true
			break
		}
		e.b = append(e.b, 1)
		e.coded(formParams, p.Name)
		e.text(p.Value)
	}
	e.b = append(e.b, 0)
}
