package message

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
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
		BaseSubject(m.Header.Decoded("Subject"))
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

func FuzzAddressList(f *testing.F) {
	addFiles(f, func(raw []byte) {
		h, _ := ParseHeader(raw, Limits{})
		for _, name := range []string{"From", "Sender", "To", "Cc", "Bcc", "Reply-To"} {
			if s := h.Get(name); s != "" {
				f.Add(s)
			}
		}
	})
	for _, s := range []string{`"`, `a@b <`, `<@a:b`, `a:b:;`, `(`, `a@[`, `<"<`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		open := false
		for _, a := range ParseAddressList(s) {
			switch a.Mark {
			case GroupStart:
				if open {
					t.Error("a group in a group")
				}
				open = true
			case GroupEnd:
				if !open {
					t.Error("the end of no group")
				}
				open = false
			case Mailbox:
				if a == (Address{}) {
					t.Error("an address of nothing")
				}
			}
			a.DisplayName()
			a.Via()
			Unroute(a.Local)
		}
		if open {
			t.Error("a group without its end")
		}
		addr, err := ParseAddress(s)
		if err != nil {
			return
		}
		// What is accepted must come back the same when it is written.
		again, err := ParseAddress(addr.String())
		if err != nil || again != addr {
			t.Errorf("%q: got %+v, then %+v, error %v", s, addr, again, err)
		}
	})
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

func FuzzEncodedWord(f *testing.F) {
	for _, s := range []string{
		"=?utf-8?q?a?= =?utf-8?b?w6TDtg?=", "=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "=?x?q?=ff?=",
		"=?utf-8?q?=0d=0aBcc:_x?=", "=?", "=?=?=?", "=?utf-8?q??=", "=?utf-16?b?/v8AYQ==?=", "\xff",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := DecodeWords(s)
		if !utf8.ValidString(got) {
			t.Errorf("%q: got invalid UTF-8 %q", s, got)
		}
		if !strings.ContainsAny(s, "\r\n") && strings.ContainsAny(got, "\r\n") {
			t.Errorf("%q: got line ends in %q", s, got)
		}
		c, _ := parseContentType("a/b; x=" + s)
		if got := c.params.Lookup("x"); !utf8.ValidString(got) {
			t.Errorf("parameter %q: got invalid UTF-8 %q", s, got)
		}
	})
}

func FuzzDate(f *testing.F) {
	for _, s := range []string{
		"Sat, 21 Nov 2026 06:12:39 +0100", "Sat Nov 21 06:12:39 PST 2026", "21-Nov-98 6.12 EST",
		"(x) 1 Jan 00 0:0", "1 1 1 1:1", "99 Dec 99999 23:59:60 -2400",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := ParseDate(s)
		if ok != !got.IsZero() && got.Year() != 1 {
			t.Errorf("%q: got %v %v", s, got, ok)
		}
		if !ok {
			return
		}
		const layout = "2 Jan 2006 15:04:05 -0700"
		if got.Year() >= 100 {
			if again, ok := ParseDate(got.Format(layout)); !ok || !again.Equal(got) {
				t.Errorf("%q: got %v, then %v", s, got, again)
			}
		}
	})
}
