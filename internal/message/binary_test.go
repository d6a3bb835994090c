package message

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// junk is what no line can hold.
func junk(n int) string {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

func view(t *testing.T, prefix, text string) (*View, string) {
	t.Helper()
	m, err := Parse(t.Context(), strings.NewReader(text), int64(len(text)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := ParseForm(m.AppendForm(nil)) // as it is stored
	if err != nil {
		t.Fatal(err)
	}
	if !f.Root.HasBinary() {
		t.Error("there is no binary part")
	}
	all := prefix + text
	v, err := WithoutBinary(strings.NewReader(all), int64(len(all)), int64(len(prefix)), f.Root)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(io.NewSectionReader(v, 0, v.Size()))
	if err != nil || int64(len(b)) != v.Size() {
		t.Fatalf("read %d bytes of %d, %v", len(b), v.Size(), err)
	}
	return v, string(b)
}

// What is shown has lines only, and decodes to what was sent.
func TestWithoutBinary(t *testing.T) {
	const prefix = "Return-Path: <a@b.c>\r\n"
	for _, n := range []int{0, 1, 2, 3, 56, 57, 58, 113, 114, 115, 10_000, 100_000} {
		body := junk(n)
		for name, text := range map[string]string{
			"root": "Subject: x\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n" +
				"X-Last: y\r\n\r\n" + body,
			"part": "Content-Type: multipart/mixed; boundary=\"=_b0undary\"\r\n" +
				"content-transfer-encoding:\r\n binary (so to say)\r\n\r\npreamble\r\n--=_b0undary\r\n" +
				"Content-Type: text/plain\r\n\r\nHello\r\n--=_b0undary\r\nContent-Type: image/png\r\n" +
				"Content-Transfer-Encoding: BINARY\r\n\r\n" + body + "\r\n--=_b0undary--\r\nepilogue\r\n",
			"within a message": "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\n" +
				"Subject: inner\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n" + body,
		} {
			v, got := view(t, prefix, text)
			if !strings.HasPrefix(got, prefix) {
				t.Fatalf("%s of %d: the prefix is gone", name, n)
			}
			if bare := strings.Count(got, "\n") - strings.Count(got, "\r\n"); bare != 0 ||
				strings.Count(got, "\r") != strings.Count(got, "\r\n") || strings.Contains(got, "\x00") {
				t.Errorf("%s of %d: it does not come in lines", name, n)
			}
			if strings.Contains(strings.ToLower(got), "binary") {
				t.Errorf("%s of %d: a label is left", name, n)
			}
			decoded(t, name, got[len(prefix):], body)
			ranges(t, v, got)
		}
	}
}

// decoded checks that a part of the message decodes to this body.
func decoded(t *testing.T, name, text, want string) {
	t.Helper()
	m, err := Parse(t.Context(), strings.NewReader(text), int64(len(text)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	found := false
	m.Root.Walk(func(p *Part) bool {
		if p.Is("image", "png") {
			b, err := io.ReadAll(p.Decoded(strings.NewReader(text)))
			found = err == nil && string(b) == want && p.Encoding == "base64"
		}
		return true
	})
	if !found {
		t.Errorf("%s of %d bytes: it does not decode to what was sent", name, len(want))
	}
}

// ranges reads at random places.
func ranges(t *testing.T, v *View, want string) {
	t.Helper()
	r := rand.New(rand.NewPCG(2, uint64(len(want))))
	for range 50 {
		from := r.IntN(len(want) + 1)
		b := make([]byte, r.IntN(min(300, len(want)-from)+1))
		n, err := v.ReadAt(b, int64(from))
		if err != nil || string(b[:n]) != want[from:from+len(b)] {
			t.Fatalf("%d bytes at %d of %d: got %d, %v", len(b), from, len(want), n, err)
		}
	}
	b := make([]byte, 10)
	if n, err := v.ReadAt(b, v.Size()-4); n != 4 || err != io.EOF {
		t.Errorf("over the end: got %d, %v", n, err)
	}
}

type failing struct{ io.ReaderAt }

var errRead = errors.New("cannot read")

func (failing) ReadAt([]byte, int64) (int, error) { return 0, errRead }

func TestWithoutBinaryTrouble(t *testing.T) {
	text := "Content-Transfer-Encoding: binary\r\n\r\n" + junk(1000)
	m, err := Parse(t.Context(), strings.NewReader(text), int64(len(text)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := WithoutBinary(failing{}, int64(len(text)), 0, m.Root); !errors.Is(err, errRead) {
		t.Errorf("the header: got %v", err)
	}
	v, err := WithoutBinary(strings.NewReader(text), int64(len(text)), 0, m.Root)
	if err != nil {
		t.Fatal(err)
	}
	v.r = failing{}
	if _, err := io.ReadAll(io.NewSectionReader(v, 0, v.Size())); !errors.Is(err, errRead) {
		t.Errorf("the body: got %v", err)
	}
	v.r = bytes.NewReader([]byte(text[:500]))
	if _, err := io.ReadAll(io.NewSectionReader(v, 0, v.Size())); err == nil {
		t.Error("a source that is too short was read to its end")
	}
}
