package message

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func crlf(lines ...string) []byte { return []byte(strings.Join(lines, "\r\n")) }

func TestParseOffsets(t *testing.T) {
	raw := crlf(
		"Content-Type: multipart/mixed; boundary=x", "",
		"preamble",
		"--x", "Content-Type: text/html", "", "<p>", "two", "--x", "", "", "--x--", "epilogue", "")
	m := parseBytes(t, raw, Limits{})
	if m.Defects != 0 {
		t.Errorf("got defects %v, want none", m.Defects)
	}
	if len(m.Root.Parts) != 2 {
		t.Fatalf("got %d parts, want 2", len(m.Root.Parts))
	}
	got := func(p *Part) string {
		return string(raw[p.HeaderOffset:p.BodyOffset]) + "|" +
			string(raw[p.BodyOffset:p.BodyOffset+p.BodyLen]) + "|" + fmt.Sprint(p.Lines)
	}
	if g, want := got(m.Root.Parts[0]), "Content-Type: text/html\r\n\r\n|<p>\r\ntwo|2"; g != want {
		t.Errorf("first part: got %q, want %q", g, want)
	}
	if g, want := got(m.Root.Parts[1]), "\r\n||0"; g != want {
		t.Errorf("second part: got %q, want %q", g, want)
	}
	if got, want := m.Root.BodyOffset+m.Root.BodyLen, int64(len(raw)); got != want {
		t.Errorf("the root ends at %d, want %d", got, want)
	}
}

// TestParseWindow parses messages whose delimiters and headers lie across
// the edges of the window, at every shift.
func TestParseWindow(t *testing.T) {
	for shift := range 40 {
		var b bytes.Buffer
		b.WriteString("Content-Type: multipart/mixed; boundary=edge\r\n\r\n--edge\r\n\r\n")
		b.WriteString(strings.Repeat("a", windowBytes-30+shift-b.Len()))
		b.WriteString("\r\n--edge\r\nContent-Type: text/html; charset=utf-8\r\n\r\nend\r\n--edge--\r\n")
		r := windowed{bytes.NewReader(b.Bytes())}
		m, err := Parse(context.Background(), r, int64(b.Len()), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		want := parseBytes(t, b.Bytes(), Limits{})
		if d := cmp.Diff(want, m, cmp.AllowUnexported(Field{})); d != "" {
			t.Fatalf("shift %d (- in memory, + windowed):\n%s", shift, d)
		}
		if len(m.Root.Parts) != 2 || m.Defects != 0 {
			t.Fatalf("shift %d: got %d parts, defects %v", shift, len(m.Root.Parts), m.Defects)
		}
	}
}

func TestParseLimits(t *testing.T) {
	var nested bytes.Buffer
	for i := range 100 {
		fmt.Fprintf(&nested, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	nested.WriteString("\r\ntext\r\n")
	many := "Content-Type: multipart/mixed; boundary=x\r\n\r\n" +
		strings.Repeat("--x\r\n\r\nbody\r\n", 50) + "--x--\r\n"
	tests := []struct {
		name  string
		raw   string
		lim   Limits
		want  Defects
		parts int
	}{
		{"depth", nested.String(), Limits{Depth: 10}, DefectDepth | DefectUnterminated, 10},
		{"depth default", nested.String(), Limits{}, DefectDepth | DefectUnterminated, DefaultDepth},
		{"parts", many, Limits{Parts: 11}, DefectManyParts, 12},
		{"header bytes", "Subject: a\r\nX: " + strings.Repeat("x", 500) + "\r\n\r\nbody",
			Limits{HeaderBytes: 100}, DefectHeaderBytes, 1},
		{"fields", strings.Repeat("X: y\r\n", 50) + "\r\nbody", Limits{Fields: 10}, DefectManyFields, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := parseBytes(t, []byte(tt.raw), tt.lim)
			if m.Defects != tt.want {
				t.Errorf("got defects %v, want %v", m.Defects, tt.want)
			}
			n := 0
			m.Root.Walk(func(*Part) bool { n++; return true })
			if n != tt.parts {
				t.Errorf("got %d parts, want %d", n, tt.parts)
			}
			if end := m.Root.BodyOffset + m.Root.BodyLen; end != int64(len(tt.raw)) {
				t.Errorf("the root ends at %d, want %d", end, len(tt.raw))
			}
		})
	}
}

func TestParseTruncatedHeaderIsOpaque(t *testing.T) {
	raw := "X: " + strings.Repeat("x", 500) + "\r\nContent-Type: text/html\r\n\r\nbody\r\n"
	m := parseBytes(t, []byte(raw), Limits{HeaderBytes: 100})
	if !m.Root.Opaque || m.Root.MediaType() != "application/octet-stream" || !m.Header.Truncated {
		t.Errorf("got %s opaque %v truncated %v", m.Root.MediaType(), m.Root.Opaque, m.Header.Truncated)
	}
	if got := raw[m.Root.BodyOffset:]; got != "body\r\n" {
		t.Errorf("got body %q", got)
	}
}

type failingReader struct{ err error }

func (f failingReader) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func TestParseErrors(t *testing.T) {
	broken := errors.New("disk gone")
	_, err := Parse(context.Background(), failingReader{broken}, 100, Limits{})
	if !errors.Is(err, broken) {
		t.Errorf("got error %v, want %v", err, broken)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Parse(ctx, windowed{strings.NewReader("a: b\r\n")}, 6, Limits{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
	m, err := Parse(context.Background(), failingReader{io.EOF}, 100, Limits{})
	if err != nil || m.Size != 0 || m.Defects&DefectShort == 0 {
		t.Errorf("short source: got size %d defects %v error %v", m.Size, m.Defects, err)
	}
}

func TestSection(t *testing.T) {
	raw := crlf(
		"Content-Type: multipart/mixed; boundary=x", "",
		"--x", "", "one",
		"--x", "Content-Type: message/rfc822", "",
		"Content-Type: multipart/alternative; boundary=y", "",
		"--y", "", "a", "--y", "Content-Type: text/html", "", "b", "--y--", "",
		"--x", "Content-Type: message/rfc822", "", "Subject: s", "", "plain",
		"--x--", "")
	m := parseBytes(t, raw, Limits{})
	tests := []struct {
		path []int
		want string
	}{
		{nil, "multipart/mixed"},
		{[]int{1}, "text/plain"},
		{[]int{1, 1}, ""},
		{[]int{2}, "message/rfc822"},
		{[]int{2, 1}, "text/plain"},
		{[]int{2, 2}, "text/html"},
		{[]int{3, 1}, "text/plain"},
		{[]int{3, 1, 1}, ""},
		{[]int{3, 2}, ""},
		{[]int{4}, ""},
		{[]int{0}, ""},
	}
	for _, tt := range tests {
		got := ""
		if p := m.Root.Section(tt.path...); p != nil {
			got = p.MediaType()
		}
		if got != tt.want {
			t.Errorf("section %v: got %q, want %q", tt.path, got, tt.want)
		}
	}
	forward := parseBytes(t, crlf("Content-Type: message/rfc822", "",
		"Content-Type: message/rfc822", "", "Content-Type: text/html", "", "x"), Limits{}).Root
	for _, tt := range []struct {
		path []int
		want *Part
	}{
		{[]int{1}, forward}, {[]int{1, 1}, forward.Message},
		{[]int{1, 1, 1}, forward.Message.Message}, {[]int{1, 1, 1, 1}, nil}, {[]int{2}, nil},
	} {
		if got := forward.Section(tt.path...); got != tt.want {
			t.Errorf("forward, section %v: got %+v, want %+v", tt.path, got, tt.want)
		}
	}
}

func TestHeaderLookups(t *testing.T) {
	raw := crlf("Received: a", "RECEIVED : b", "Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=",
		"Received:", "\tc", "message-ID: <1@x>", "", "Received: body")
	h, d := ParseHeader(raw, Limits{})
	if d != 0 {
		t.Errorf("got defects %v, want none", d)
	}
	if got := h.CountReceived(); got != 3 {
		t.Errorf("CountReceived: got %d, want 3", got)
	}
	if got := h.Get("Message-Id"); got != "<1@x>" {
		t.Errorf("Get: got %q", got)
	}
	if got := h.Decoded("subject"); got != "grüße" {
		t.Errorf("Decoded: got %q", got)
	}
	var all []string
	for f := range h.All("received") {
		all = append(all, f.Text())
		if got := string(raw[f.Offset : f.Offset+f.Len]); !strings.HasSuffix(got, "\r\n") {
			t.Errorf("field at %d: got %q", f.Offset, got)
		}
	}
	if d := cmp.Diff([]string{"a", "b", "c"}, all); d != "" {
		t.Errorf("All (- want, + got):\n%s", d)
	}
	if h.Has("To") || h.Get("To") != "" {
		t.Error("found a field that is not there")
	}
}

// An endless reader is a message of any size: a head, then a block over and
// over.
type endless struct {
	head  string
	block string
	size  int64
}

func newEndless(size int64, line string) *endless {
	return &endless{
		head:  "Content-Type: multipart/mixed; boundary=\"=_x\"\r\n\r\n--=_x\r\n\r\n",
		block: strings.Repeat(line, 64<<10/len(line)),
		size:  size,
	}
}

func (e *endless) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) && off < e.size {
		src := e.head
		if off >= int64(len(e.head)) {
			src = e.block[(off-int64(len(e.head)))%int64(len(e.block)):]
		} else {
			src = src[off:]
		}
		if left := e.size - off; int64(len(src)) > left {
			src = src[:left]
		}
		k := copy(p[n:], src)
		n += k
		off += int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// TestParseFlatMemory parses 32 MB of each kind of body and looks at what was
// allocated.
func TestParseFlatMemory(t *testing.T) {
	for _, line := range []string{
		strings.Repeat("QUJD", 19) + "\r\n", "--=_x\r", "\r\n", "x", "-- \r\n", "--=_x\r\n\r\n",
	} {
		r := newEndless(32<<20, line)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := Parse(context.Background(), r, r.size, Limits{})
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		if end := m.Root.BodyOffset + m.Root.BodyLen; end != r.size {
			t.Errorf("%q: the root ends at %d, want %d", line, end, r.size)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 2<<20 {
			t.Errorf("%q: allocated %d bytes, want 2 MB at most", line, got)
		}
	}
}

// TestParseOneLineHeader has a header of one line without an end.
func TestParseOneLineHeader(t *testing.T) {
	r := &endless{head: "Subject: ", block: strings.Repeat("x", 64<<10), size: 64 << 20}
	m, err := Parse(context.Background(), r, r.size, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if want := DefectHeaderBytes | DefectNoBlankLine; m.Defects != want || !m.Header.Truncated {
		t.Errorf("got defects %v, want %v", m.Defects, want)
	}
	if m.Root.HeaderLen != r.size {
		t.Errorf("got a header of %d bytes, want %d", m.Root.HeaderLen, r.size)
	}
}

// TestMultipartOracle writes messages with package mime/multipart and finds
// the same parts in them.
func TestMultipartOracle(t *testing.T) {
	body := rapid.StringMatching(`([ -~]{0,20}(\r\n|\n)?|--|\r\n--x){0,8}`)
	rapid.Check(t, func(t *rapid.T) {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s\r\n\r\n", w.Boundary())
		bodies := rapid.SliceOfN(body, 1, 5).Draw(t, "bodies")
		for i, s := range bodies {
			p, err := w.CreatePart(textproto.MIMEHeader{"Content-Description": {fmt.Sprint(i)}})
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(p, s)
		}
		w.Close()
		raw := b.Bytes()
		m, err := Parse(context.Background(), inMemory(raw), int64(len(raw)), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Root.Parts) != len(bodies) || m.Defects != 0 {
			t.Fatalf("got %d parts, want %d, defects %v", len(m.Root.Parts), len(bodies), m.Defects)
		}
		for i, p := range m.Root.Parts {
			got, _ := io.ReadAll(p.Body(bytes.NewReader(raw)))
			if string(got) != bodies[i] || p.Description != fmt.Sprint(i) {
				t.Errorf("part %d: got %q %q, want %q", i, p.Description, got, bodies[i])
			}
		}
	})
}
