package message

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postrider/internal/message/field"
)

func addFiles(f *testing.F, add func(raw []byte)) {
	files, err := filepath.Glob("testdata/*.eml")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds in testdata")
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		add(raw)
	}
}

// FuzzParse holds every message to what Parse promises: the same in memory
// and through the window, every place within its parent, headers that can be
// found again, readable parts, and a form that comes back.
func FuzzParse(f *testing.F) {
	addFiles(f, func(raw []byte) { f.Add(raw) })
	f.Add(message4k())
	f.Fuzz(func(t *testing.T, raw []byte) {
		lim := Limits{Depth: 6, Parts: 20, HeaderBytes: 4000, Fields: 30}
		m := parseBytes(t, raw, lim)
		r := windowed{bytes.NewReader(raw)}
		m2, err := Parse(context.Background(), r, int64(len(raw)), lim)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(m, m2, cmp.AllowUnexported(Field{})); d != "" {
			t.Fatalf("in memory and through the window differ:\n%s", d)
		}
		if m.Root.HeaderOffset != 0 || m.Root.BodyOffset+m.Root.BodyLen != int64(len(raw)) {
			t.Errorf("the root is %d+%d of %d", m.Root.BodyOffset, m.Root.BodyLen, len(raw))
		}
		checkPart(t, raw, m.Root)
		form := m.AppendForm(nil)
		got, err := ParseForm(form)
		if err != nil {
			t.Fatalf("ParseForm: %v", err)
		}
		if d := cmp.Diff(m.Form(), got, sameForm); d != "" && !got.Cut {
			t.Errorf("form (- made, + read):\n%s", d)
		}
		Recipients(m.Header)
		field.BaseSubject(m.Header.Decoded("Subject"))
	})
}

func checkPart(t *testing.T, raw []byte, p *Part) {
	end := p.BodyOffset + p.BodyLen
	if p.HeaderLen < 0 || p.BodyLen < 0 || p.BodyOffset != p.HeaderOffset+p.HeaderLen ||
		end > int64(len(raw)) {
		t.Fatalf("part at %d+%d %d+%d of %d", p.HeaderOffset, p.HeaderLen, p.BodyOffset, p.BodyLen,
			len(raw))
	}
	body := raw[p.BodyOffset:end]
	lines := int64(bytes.Count(body, lf))
	if len(body) > 0 && body[len(body)-1] != '\n' {
		lines++
	}
	if p.Lines != lines {
		t.Errorf("part at %d: got %d lines, want %d: %q", p.HeaderOffset, p.Lines, lines, body)
	}
	for i := range p.Header.Fields {
		f := &p.Header.Fields[i]
		if text := raw[f.Offset : f.Offset+f.Len]; !bytes.HasPrefix(text, []byte(f.Name)) {
			t.Errorf("field %s at %d: got %q", f.Name, f.Offset, text)
		}
		if s := f.Text(); strings.ContainsAny(s, "\r\n\x00") {
			t.Errorf("field %s: got control bytes in %q", f.Name, s)
		}
	}
	for _, c := range p.Parts {
		inside(t, p, c)
		checkPart(t, raw, c)
	}
	if p.Message != nil {
		inside(t, p, p.Message)
		checkPart(t, raw, p.Message)
	}
	if _, err := io.Copy(io.Discard, p.Text(bytes.NewReader(raw))); err != nil {
		t.Errorf("Text: %v", err)
	}
	p.FileName()
}

func inside(t *testing.T, p, c *Part) {
	if c.HeaderOffset < p.BodyOffset || c.BodyOffset+c.BodyLen > p.BodyOffset+p.BodyLen {
		t.Errorf("part %d to %d is not inside %d to %d", c.HeaderOffset, c.BodyOffset+c.BodyLen,
			p.BodyOffset, p.BodyOffset+p.BodyLen)
	}
}

func FuzzForm(f *testing.F) {
	addFiles(f, func(raw []byte) { f.Add(parseBytes(f, raw, Limits{}).AppendForm(nil)) })
	f.Fuzz(func(t *testing.T, b []byte) {
		form, err := ParseForm(b)
		if err != nil {
			return
		}
		again, err := ParseForm(form.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(form, again, sameForm); d != "" && !again.Cut {
			t.Errorf("form (- read, + read again):\n%s", d)
		}
	})
}
