package message

import "postrider/internal/message/field"

// content fills a part from its Content fields. Of a field that stands twice
// the first holds.
func (p *parser) content(part *Part, digest bool) {
	part.Type, part.Subtype, part.Encoding = "text", "plain", "7bit"
	if digest {
		part.Type, part.Subtype = "message", "rfc822"
	}
	var seen uint32
	for i := range part.Header.Fields {
		f := &part.Header.Fields[i]
		if f.kind < kContentDescription || f.kind > kContentType || seen&(1<<f.kind) != 0 {
			continue
		}
		seen |= 1 << f.kind
		p.contentField(part, f)
	}
	if part.Header.Truncated && seen&(1<<kContentType) == 0 {
		// What it would have said is unknown.
		part.Type, part.Subtype, part.Opaque = "application", "octet-stream", true
	}
}

func (p *parser) contentField(part *Part, f *Field) {
	switch f.kind {
	case kContentType:
		t, ok := field.ParseContentType(f.Text())
		if !ok {
			p.defects |= DefectContentType
		}
		if t.Broken {
			p.defects |= DefectParams
		}
		part.Type, part.Subtype, part.Params = t.Type, t.Subtype, t.Params
	case kContentDisposition:
		d := field.ParseDisposition(f.Text())
		if d.Broken {
			p.defects |= DefectParams
		}
		part.Disposition, part.DispositionParams = d.Type, d.Params
	case kContentEncoding:
		if e := field.Token(f.Text()); e != "" {
			part.Encoding = e
		}
	case kContentID:
		part.ID = f.Text()
	case kContentDescription:
		part.Description = f.Text()
	case kContentMD5:
		part.MD5 = f.Text()
	case kContentLanguage:
		part.Language = f.Text()
	case kContentLocation:
		part.Location = f.Text()
	}
}
