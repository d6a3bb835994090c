package message

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postrider/internal/message/field"
)

var update = flag.Bool("update", false, "rewrite the .want files")

// windowed hides everything of a reader but ReadAt, so that Parse goes
// through its window.
type windowed struct{ r io.ReaderAt }

func (w windowed) ReadAt(p []byte, off int64) (int, error) { return w.r.ReadAt(p, off) }

// whole offers its bytes, as a message in memory does.
type whole struct {
	*bytes.Reader
	b []byte
}

func (w whole) Bytes() []byte { return w.b }

func inMemory(b []byte) whole { return whole{bytes.NewReader(b), b} }

func parseBytes(t testing.TB, b []byte, lim Limits) *Message {
	t.Helper()
	m, err := Parse(context.Background(), inMemory(b), int64(len(b)), lim)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return m
}

// TestGolden parses each testdata/NAME.eml and compares what was found with
// NAME.want.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.eml")
	if err != nil || len(files) < 25 {
		t.Fatalf("got %d messages in testdata, want at least 25 (%v)", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".eml"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := dump(t, raw)
			want := strings.TrimSuffix(file, ".eml") + ".want"
			if *update {
				if err := os.WriteFile(want, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			expected, err := os.ReadFile(want)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(expected), got); d != "" {
				t.Errorf("%s (- want, + got):\n%s", file, d)
			}
		})
	}
}

// dump writes down everything that Parse found in raw.
func dump(t *testing.T, raw []byte) string {
	m := parseBytes(t, raw, Limits{})
	m2, err := Parse(context.Background(), windowed{bytes.NewReader(raw)}, int64(len(raw)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(m, m2, cmp.AllowUnexported(Field{})); d != "" {
		t.Errorf("in memory and through the window differ:\n%s", d)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "size %d received %d defects [%v]\n", m.Size, m.Header.CountReceived(), m.Defects)
	for i := range m.Header.Fields {
		f := &m.Header.Fields[i]
		fmt.Fprintf(&b, "%4d+%-3d %s: %q\n", f.Offset, f.Len, f.Name, field.DecodeWords(f.Text()))
	}
	if s := m.Header.Sent(); !s.IsZero() {
		fmt.Fprintf(&b, "sent %s\n", s.Format(time.RFC3339))
	}
	dumpEnvelope(&b, "", m.Header.Envelope())
	base, reply := field.BaseSubject(m.Header.Decoded("Subject"))
	fmt.Fprintf(&b, "thread %x base %q reply %v\n", m.Header.ThreadKey(), base, reply)
	dumpPart(t, &b, raw, m.Root, "")
	form := m.AppendForm(nil)
	f, err := ParseForm(form)
	if err != nil {
		t.Fatalf("ParseForm: %v", err)
	}
	fmt.Fprintf(&b, "form %d bytes cut %v\n", len(form), f.Cut)
	return b.String()
}

func dumpEnvelope(b *strings.Builder, indent string, e *Envelope) {
	for _, l := range []struct {
		name string
		list []field.Address
	}{
		{"from", e.From}, {"sender", e.Sender}, {"reply-to", e.ReplyTo}, {"to", e.To},
		{"cc", e.Cc}, {"bcc", e.Bcc},
	} {
		for _, a := range l.list {
			switch a.Mark {
			case field.GroupStart:
				fmt.Fprintf(b, "%s%s group %q\n", indent, l.name, a.DisplayName())
			case field.GroupEnd:
				fmt.Fprintf(b, "%s%s end of group\n", indent, l.name)
			default:
				fmt.Fprintf(b, "%s%s %q route %q local %q domain %q\n",
					indent, l.name, a.DisplayName(), a.Route, a.Local, a.Domain)
			}
		}
	}
}

func dumpPart(t *testing.T, b *strings.Builder, raw []byte, p *Part, indent string) {
	fmt.Fprintf(b, "%spart %s header %d+%d body %d+%d lines %d encoding %s", indent, p.MediaType(),
		p.HeaderOffset, p.HeaderLen, p.BodyOffset, p.BodyLen, p.Lines, p.Encoding)
	if p.Opaque {
		b.WriteString(" opaque")
	}
	b.WriteByte('\n')
	in := indent + "  "
	for _, ps := range p.Params {
		fmt.Fprintf(b, "%sparam %s=%q\n", in, ps.Name, ps.Value)
	}
	if p.Disposition != "" {
		fmt.Fprintf(b, "%sdisposition %s\n", in, p.Disposition)
	}
	for _, ps := range p.DispositionParams {
		fmt.Fprintf(b, "%sdisposition param %s=%q\n", in, ps.Name, ps.Value)
	}
	if n := p.FileName(); n != "" {
		fmt.Fprintf(b, "%sfile name %q\n", in, n)
	}
	for i, s := range []string{p.ID, p.Description, p.MD5, p.Language, p.Location} {
		if s != "" {
			name := []string{"id", "description", "md5", "language", "location"}[i]
			fmt.Fprintf(b, "%s%s %q\n", in, name, s)
		}
	}
	for _, c := range p.Parts {
		dumpPart(t, b, raw, c, in)
	}
	if p.Message != nil {
		fmt.Fprintf(b, "%sembedded subject %q\n", in, p.Envelope.Subject)
		dumpEnvelope(b, in, p.Envelope)
		dumpPart(t, b, raw, p.Message, in)
	}
	if p.Parts == nil && p.Message == nil {
		text, err := io.ReadAll(p.Text(bytes.NewReader(raw)))
		if err != nil {
			t.Errorf("Text: %v", err)
		}
		if len(text) > 200 {
			text = append(text[:200], "…"...)
		}
		fmt.Fprintf(b, "%stext %q\n", in, text)
	}
}
