package message

import (
	"strconv"
	"strings"
	"time"

	"postrider/internal/mail"
	"postrider/internal/message/field"
)

// ParseForm reads what AppendForm wrote. The error is of kind Damaged and
// says where; bytes of any origin do no harm.
func ParseForm(b []byte) (*Form, error) {
	d := formDecoder{s: string(b)}
	if v := d.byte(); v != FormVersion {
		return nil, mail.Errorf(mail.Damaged, "message form has version "+strconv.Itoa(int(v))+
			", this program reads version "+strconv.Itoa(FormVersion))
	}
	flags := d.byte()
	f := &Form{Cut: flags&formCut != 0}
	f.Defects = Defects(d.uint())
	f.Size = d.size()
	f.Thread = d.size()
	if flags&formSent != 0 {
		f.Sent = d.time()
	}
	if flags&^(formCut|formSent) != 0 {
		d.fail("flags")
	}
	f.Envelope = d.envelope()
	f.References = d.text()
	f.ListID = d.text()
	f.Root = d.part(0, 0)
	if d.i != len(d.s) {
		d.fail("bytes behind the end")
	}
	if d.what != "" {
		return nil, mail.Errorf(mail.Damaged, "message form is damaged at byte "+strconv.Itoa(d.at)+
			": "+d.what)
	}
	return f, nil
}

// A formDecoder reads s. After the first failure everything reads as zero.
type formDecoder struct {
	s    string
	i    int
	what string // the first failure
	at   int
}

func (d *formDecoder) fail(what string) {
	if d.what == "" {
		d.what, d.at = what, d.i
	}
	d.i = len(d.s)
}

func (d *formDecoder) byte() byte {
	if d.i >= len(d.s) {
		d.fail("too short")
		return 0
	}
	d.i++
	return d.s[d.i-1]
}

func (d *formDecoder) uint() uint64 {
	v, shift := uint64(0), 0
	for {
		c := d.byte()
		if shift == 63 && c > 1 {
			d.fail("number too large")
			return 0
		}
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if c == 0 && shift > 0 {
				d.fail("number not in its shortest form")
				return 0
			}
			return v
		}
		shift += 7
	}
}

// size reads a number that is not negative as int64.
func (d *formDecoder) size() int64 {
	v := d.uint()
	if v > 1<<63-1 {
		d.fail("number too large")
		return 0
	}
	return int64(v)
}

func (d *formDecoder) int() int64 {
	v := d.uint()
	return int64(v>>1) ^ -int64(v&1) // zigzag, as encoding/binary has it
}

func (d *formDecoder) time() time.Time {
	sec, zone := d.int(), d.int()
	const years = 1 << 40 // seconds; far beyond any year of four digits
	if sec < -years || sec > years || zone < -24*60 || zone > 24*60 {
		d.fail("time")
		return time.Time{}
	}
	t := time.Unix(sec, 0).UTC()
	if zone != 0 {
		t = t.In(time.FixedZone("", int(zone)*60))
	}
	return t
}

func (d *formDecoder) text() string {
	n := d.uint()
	if n > uint64(len(d.s)-d.i) {
		d.fail("text too long")
		return ""
	}
	d.i += int(n)
	return d.s[d.i-int(n) : d.i]
}

func (d *formDecoder) coded(table []string) string {
	n := d.uint()
	switch {
	case n == 0:
		return d.text()
	case n > uint64(len(table)):
		d.fail("unknown code")
		return ""
	}
	return table[n-1]
}

func (d *formDecoder) envelope() *Envelope {
	v := &Envelope{Date: d.text(), Subject: d.text()}
	for _, list := range [...]*[]field.Address{&v.From, &v.Sender, &v.ReplyTo, &v.To, &v.Cc, &v.Bcc} {
		*list = d.addresses()
	}
	v.InReplyTo, v.MessageID = d.text(), d.text()
	return v
}

func (d *formDecoder) addresses() []field.Address {
	var list []field.Address
	for {
		var a field.Address
		switch d.byte() {
		case tagEnd:
			return list
		case tagGroupStart:
			a = field.Address{Mark: field.GroupStart, Name: d.text()}
		case tagGroupEnd:
			a.Mark = field.GroupEnd
		case tagRouted:
			a.Route = d.text()
			a.Name, a.Local, a.Domain = d.text(), d.text(), d.text()
		case tagMailbox:
			a.Name, a.Local, a.Domain = d.text(), d.text(), d.text()
		default:
			d.fail("unknown address tag")
			return nil
		}
		list = append(list, a)
	}
}

func (d *formDecoder) params() field.Params {
	ps := field.Params{}
	for {
		switch d.byte() {
		case 0:
			return ps
		case 1:
			ps = append(ps, field.Param{Name: d.coded(formParams), Value: d.text()})
		default:
			d.fail("unknown parameter tag")
			return ps
		}
	}
}

func (d *formDecoder) part(base int64, depth int) *Part {
	p := &Part{}
	if depth > maxFormDepth {
		d.fail("too deep")
		return p
	}
	media := d.coded(formTypes)
	p.Type, p.Subtype, _ = strings.Cut(media, "/")
	p.Encoding = d.coded(formEncodings)
	bits := d.uint()
	if bits >= partOpaque<<1 {
		d.fail("unknown member of a part")
	}
	p.HeaderOffset = base + d.size()
	p.HeaderLen = d.size()
	p.BodyOffset = p.HeaderOffset + p.HeaderLen
	p.BodyLen = d.size()
	p.Lines = d.size()
	if p.HeaderOffset < 0 || p.BodyOffset < 0 || p.BodyOffset+p.BodyLen < 0 {
		d.fail("offset too large")
	}
	if bits&partParams != 0 {
		p.Params = d.params()
	}
	if bits&partDisposition != 0 {
		p.Disposition = d.coded(formDispositions)
	}
	if bits&partDispositionParams != 0 {
		p.DispositionParams = d.params()
	}
	for i, s := range [...]*string{&p.ID, &p.Description, &p.MD5, &p.Language, &p.Location} {
		if bits&(partID<<i) != 0 {
			*s = d.text()
		}
	}
	p.Opaque = bits&partOpaque != 0
	if bits&partParts != 0 {
		p.Parts = d.parts(p.BodyOffset, depth+1)
	}
	if bits&partMessage != 0 {
		p.Envelope = d.envelope()
		p.Message = d.part(p.BodyOffset, depth+1)
	}
	return p
}

func (d *formDecoder) parts(base int64, depth int) []*Part {
	parts := []*Part{}
	for {
		switch d.byte() {
		case 0:
			return parts
		case 1:
			parts = append(parts, d.part(base, depth))
		default:
			d.fail("unknown part tag")
			return parts
		}
	}
}
