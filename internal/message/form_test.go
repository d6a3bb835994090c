package message

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"postrider/internal/mail"
	"postrider/internal/message/field"
)

// sameForm compares forms: headers are not kept, and times are equal when
// instant and zone are.
var sameForm = cmp.Options{
	cmpopts.IgnoreFields(Part{}, "Header"),
	cmp.Comparer(func(a, b time.Time) bool {
		_, za := a.Zone()
		_, zb := b.Zone()
		return a.Equal(b) && za == zb
	}),
}

func TestFormOfCommonMessage(t *testing.T) {
	m := parseBytes(t, message4k(), Limits{})
	b := m.AppendForm([]byte("before"))
	b, ok := bytes.CutPrefix(b, []byte("before"))
	if !ok {
		t.Fatal("what stood before is gone")
	}
	if len(b) < 200 || len(b) > 600 {
		t.Errorf("got %d bytes, want 200 to 600", len(b))
	}
	f, err := ParseForm(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(m.Form(), f, sameForm); d != "" {
		t.Errorf("form (- made, + read):\n%s", d)
	}
	if f.Cut || f.Size != int64(len(message4k())) || f.Thread != m.Header.ThreadKey() ||
		f.Envelope.Subject != "=?utf-8?q?Gr=C3=BC=C3=9Fe?= from here" ||
		f.Sent.Format(time.RFC3339) != "2026-11-21T06:12:39+01:00" || len(f.Root.Parts) != 2 {
		t.Errorf("got %+v", f)
	}
}

// texts are what strangers may put into a field, control bytes excepted.
var texts = rapid.StringMatching(`[ -~äöü日本語]{0,40}`)

func drawAddresses(t *rapid.T, label string) []field.Address {
	var list []field.Address
	for range rapid.IntRange(0, 3).Draw(t, label) {
		list = append(list, field.Address{
			Name: texts.Draw(t, "name"), Route: rapid.SampledFrom([]string{"", "", "@a"}).Draw(t, "route"),
			Local: texts.Draw(t, "local"), Domain: texts.Draw(t, "domain"),
		})
	}
	if rapid.Bool().Draw(t, "group") {
		start := field.Address{Name: texts.Draw(t, "name"), Mark: field.GroupStart}
		list = append([]field.Address{start}, list...)
		list = append(list, field.Address{Mark: field.GroupEnd})
	}
	return list
}

func drawEnvelope(t *rapid.T) *Envelope {
	e := &Envelope{
		Date: texts.Draw(t, "date"), Subject: texts.Draw(t, "subject"),
		InReplyTo: texts.Draw(t, "in-reply-to"), MessageID: texts.Draw(t, "message-id"),
	}
	for _, l := range []*[]field.Address{&e.From, &e.Sender, &e.ReplyTo, &e.To, &e.Cc, &e.Bcc} {
		*l = drawAddresses(t, "addresses")
	}
	return e
}

func drawParams(t *rapid.T) field.Params {
	var ps field.Params
	for range rapid.IntRange(0, 3).Draw(t, "params") {
		ps = append(ps, field.Param{
			Name:  rapid.SampledFrom([]string{"charset", "filename*0*", "x-own"}).Draw(t, "name"),
			Value: texts.Draw(t, "value"),
		})
	}
	return ps
}

func drawPart(t *rapid.T, from int64, depth int) *Part {
	p := &Part{
		Type: "text", Subtype: rapid.SampledFrom([]string{"plain", "x-own"}).Draw(t, "subtype"),
		Params: drawParams(t), DispositionParams: drawParams(t),
		Disposition: rapid.SampledFrom([]string{"", "inline", "own"}).Draw(t, "disposition"),
		Encoding:    rapid.SampledFrom([]string{"7bit", "base64", "x-own"}).Draw(t, "encoding"),
		ID:          texts.Draw(t, "id"), Description: texts.Draw(t, "description"),
		MD5: texts.Draw(t, "md5"), Language: texts.Draw(t, "language"),
		Location: texts.Draw(t, "location"), Opaque: rapid.Bool().Draw(t, "opaque"),
	}
	number := rapid.Int64Range(0, 1<<40)
	p.HeaderOffset = from + number.Draw(t, "offset")
	p.HeaderLen = number.Draw(t, "header")
	p.BodyOffset = p.HeaderOffset + p.HeaderLen
	p.BodyLen, p.Lines = number.Draw(t, "body"), number.Draw(t, "lines")
	if depth > 0 {
		for range rapid.IntRange(0, 3).Draw(t, "parts") {
			p.Parts = append(p.Parts, drawPart(t, p.BodyOffset, depth-1))
		}
		if rapid.Bool().Draw(t, "message") {
			p.Message, p.Envelope = drawPart(t, p.BodyOffset, depth-1), drawEnvelope(t)
		}
	}
	return p
}

func TestFormRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &Form{
			Envelope: drawEnvelope(t), Root: drawPart(t, 0, 2),
			Size: rapid.Int64Min(0).Draw(t, "size"), Thread: rapid.Int64Min(0).Draw(t, "thread"),
			ListID: texts.Draw(t, "list-id"), References: texts.Draw(t, "references"),
			Defects: Defects(rapid.Uint64().Draw(t, "defects")), Cut: rapid.Bool().Draw(t, "cut"),
		}
		if rapid.Bool().Draw(t, "sent") {
			zone := time.FixedZone("", rapid.IntRange(-840, 840).Draw(t, "zone")*60)
			f.Sent = time.Unix(rapid.Int64Range(-1<<34, 1<<38).Draw(t, "time"), 0).In(zone)
		}
		b := f.Append(nil)
		got, err := ParseForm(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(f, got, sameForm); d != "" {
			t.Errorf("form (- made, + read):\n%s", d)
		}
		if again := got.Append(nil); !bytes.Equal(b, again) {
			t.Errorf("written again: got %x, want %x", again, b)
		}
	})
}

// TestFormIsBounded makes forms of messages that are large in every way.
func TestFormIsBounded(t *testing.T) {
	var to, parts, nested strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&to, "Name %d <user%d@example.org>, ", i, i)
	}
	for i := range DefaultParts - 10 {
		fmt.Fprintf(&parts, "--x\r\nContent-Type: text/plain; name=\"%0200d\"\r\n\r\nbody\r\n", i)
	}
	for i := range DefaultDepth {
		fmt.Fprintf(&nested, "To: G: %sX;\r\nSubject: %s\r\nContent-Type: message/rfc822\r\n\r\n",
			to.String()[:12<<10], strings.Repeat("s", i*100))
	}
	mixed := "Content-Type: multipart/mixed; boundary=x\r\n"
	tests := []struct{ name, raw string }{
		{"subject", "Subject: " + strings.Repeat("ä", 100_000) + "\r\n\r\n"},
		{"recipients", "To: " + to.String() + "\r\n\r\n"},
		{"group", "To: G: " + to.String() + ";\r\n\r\n"},
		{"references", "References: " + strings.Repeat("<a@b> ", 10_000) + "\r\n\r\n"},
		{"one long reference", "References: " + strings.Repeat("x", 10_000) + "@y\r\n\r\n"},
		{"parts", mixed + "\r\n" + parts.String() + "--x--\r\n"},
		{"nested", nested.String()},
		{"parameters", "Content-Type: a/b; " + strings.Repeat("c="+strings.Repeat("d", 2000)+";", 99) +
			"\r\n\r\n"},
		{"all", "To: " + to.String() + "\r\nCc: " + to.String() + "\r\nSubject: " +
			strings.Repeat("s", 9000) + "\r\n" + mixed + "\r\n" + parts.String()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := parseBytes(t, []byte(tt.raw), Limits{}).AppendForm(nil)
			if len(b) > maxForm {
				t.Errorf("got %d bytes, want %d at most", len(b), maxForm)
			}
			f, err := ParseForm(b)
			if err != nil {
				t.Fatal(err)
			}
			if !f.Cut {
				t.Error("the form does not say that it was cut")
			}
			for _, list := range [][]field.Address{f.Envelope.To, f.Envelope.Cc} {
				n := len(list)
				if n > 0 && list[0].Mark == field.GroupStart && list[n-1].Mark != field.GroupEnd {
					t.Error("a group was cut and not closed")
				}
			}
			if again := f.Append(nil); !bytes.Equal(b, again) {
				t.Error("the cut form is not stable")
			}
		})
	}
}

func TestParseFormErrors(t *testing.T) {
	good := parseBytes(t, message4k(), Limits{}).AppendForm(nil)
	for n := range good {
		if _, err := ParseForm(good[:n]); mail.KindOf(err) != mail.Damaged {
			t.Fatalf("cut to %d bytes: got error %v, want Damaged", n, err)
		}
	}
	if _, err := ParseForm(append(bytes.Clone(good), 0)); mail.KindOf(err) != mail.Damaged {
		t.Errorf("a byte too many: got error %v, want Damaged", err)
	}
	other := bytes.Clone(good)
	other[0] = FormVersion + 1
	if _, err := ParseForm(other); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("other version: got error %v", err)
	}
	for i := range good {
		for _, c := range []byte{0, 1, 0x7f, 0x80, 0xff} {
			bad := bytes.Clone(good)
			bad[i] = c
			ParseForm(bad) // must not panic
		}
	}
}

func TestFormKeepsBadDate(t *testing.T) {
	m := parseBytes(t, []byte("Date: yesterday\r\n\r\n"), Limits{})
	f, err := ParseForm(m.AppendForm(nil))
	if err != nil || f.Envelope.Date != "yesterday" || !f.Sent.IsZero() || f.Defects&DefectDate == 0 {
		t.Errorf("got %+v, error %v", f, err)
	}
}
