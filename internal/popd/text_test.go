package popd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"postrider/internal/blob"
	"postrider/internal/intake"
	"postrider/internal/store"
)

// mail-like texts: all that matters are dots and line ends.
func drawText(t *rapid.T) string {
	parts := rapid.SliceOfN(rapid.SampledFrom([]string{
		".", "..", "\r\n", "\n", "\r", "a", "text", "\r\n.\r\n", "\r\n\r\n",
	}), 0, 30).Draw(t, "text")
	return strings.Join(parts, "")
}

// drawCuts splits a text into pieces.
func drawCuts(t *rapid.T, s string) []string {
	var out []string
	for len(s) > 0 {
		n := rapid.IntRange(1, len(s)).Draw(t, "piece")
		out, s = append(out, s[:n]), s[n:]
	}
	return out
}

// stuffed is what a stuffer must write, said in the simplest way: each line,
// however it ends, with CRLF, and with a dot before its dot.
func stuffed(s string) string {
	var out strings.Builder
	for s != "" {
		line, rest, ended := strings.Cut(s, "\n")
		if ended {
			line = strings.TrimSuffix(line, "\r")
		}
		if strings.HasPrefix(line, ".") {
			out.WriteByte('.')
		}
		out.WriteString(line + "\r\n")
		s = rest
	}
	return out.String()
}

func TestStuffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawText(t)
		var got strings.Builder
		s := stuffer{w: &got, lineStart: true}
		for _, piece := range drawCuts(t, in) {
			if err := s.write([]byte(piece)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.end(); err != nil {
			t.Fatal(err)
		}
		if want := stuffed(in); got.String() != want {
			t.Fatalf("%q: got %q, want %q", in, got.String(), want)
		}
	})
}

// topOf is what TOP must send of a message.
func topOf(s string, count int) string {
	lines := strings.SplitAfter(s, "\n")
	for i, line := range lines {
		if strings.TrimRight(line, "\r\n") == "" && strings.HasSuffix(line, "\n") {
			return strings.Join(lines[:min(i+1+count, len(lines))], "")
		}
	}
	return s
}

func TestTopLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawText(t)
		count := rapid.IntRange(0, 5).Draw(t, "lines")
		top := topLines{left: count}
		var got strings.Builder
		for _, piece := range drawCuts(t, in) {
			got.Write(top.cut([]byte(piece)))
			if top.done {
				break
			}
		}
		if want := topOf(in, count); got.String() != want {
			t.Fatalf("%d lines of %q: got %q, want %q", count, in, got.String(), want)
		}
	})
}

type sink struct {
	strings.Builder
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	return s.Builder.Write(p)
}
func (s *sink) Commit(context.Context) (*intake.Receipt, error) { return nil, nil }
func (s *sink) Yield()                                          {}
func (s *sink) Abort()                                          {}

func TestUpload(t *testing.T) {
	long := strings.Repeat("0123456789", 10) + "\r\n"
	for _, tc := range []struct {
		name, in, want, rest string
		bare, undoubled      bool
	}{
		{"empty", ".\r\n", "", "", false, false},
		{"lines", "a\r\n\r\nb\r\n.\r\nQUIT\r\n", "a\r\n\r\nb\r\n", "QUIT\r\n", false, false},
		{"doubled", "..\r\n..a\r\n...b\r\n.\r\n", ".\r\n.a\r\n..b\r\n", "", false, false},
		{"single dot kept", ".a\r\n.\r\n", ".a\r\n", "", false, true},
		{"long lines", long + "." + long + "." + long + ".\r\n", long + "." + long + "." + long, "",
			false, true},
		{"bare LF", "a\nb\r\n.\r\n", "", "", true, false},
		{"LF dot LF ends nothing", "a\n.\nb\r\n.\r\nx", "", "x", true, false},
		{"LF dot CRLF ends nothing", "a\n.\r\nb\r\n.\r\nx", "", "x", true, false},
		{"CRLF dot LF ends nothing", "a\r\n.\nb\r\n.\r\nx", "", "x", true, true},
		{"CRLF dot CR ends nothing", "a\r\n.\rb\r\n.\r\nx", "", "x", true, true},
		{"bare CR", "a\rb\r\n.\r\n", "", "", true, false},
		{"CR CR LF", "a\r\r\n.\r\n", "", "", true, false},
		{"bare CR in a long line", strings.Repeat("a", 15) + "\rb\r\n.\r\n", "", "", true, false},
		{"CRLF across the buffer", strings.Repeat("a", 15) + "\r\n.\r\nx",
			strings.Repeat("a", 15) + "\r\n", "x", false, false},
		{"bare CR across the buffer", strings.Repeat("a", 15) + "\r" + strings.Repeat("b", 20) +
			"\r\n.\r\n", "", "", true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got sink
			u := upload{in: bufio.NewReaderSize(iotest.OneByteReader(strings.NewReader(tc.in)), 16),
				to: &got}
			err := u.run()
			rest, _ := io.ReadAll(u.in)
			if err != nil || u.bare != tc.bare || u.undoubled != tc.undoubled ||
				string(rest) != tc.rest || !tc.bare && got.String() != tc.want {
				t.Errorf("got %q rest %q bare %v undoubled %v %v\nwant %q rest %q bare %v undoubled %v",
					got.String(), rest, u.bare, u.undoubled, err,
					tc.want, tc.rest, tc.bare, tc.undoubled)
			}
		})
	}
}

func TestUploadEndsEarly(t *testing.T) {
	for _, in := range []string{"", "a", "a\r\n", "a\r\n.", "a\r\n.\r", "a\r\n..\r\n"} {
		u := upload{in: bufio.NewReader(strings.NewReader(in)), to: &sink{}}
		if err := u.run(); !errors.Is(err, io.EOF) {
			t.Errorf("%q: got %v, want EOF", in, err)
		}
	}
}

func TestField(t *testing.T) {
	for _, tc := range []struct{ name, header, field, want string }{
		{"first of two", "A: 1\r\nB: 2\r\nB: 3\r\n\r\n", "b", "B: 2\r\n"},
		{"folded", "A: 1\r\n 2\r\n\t3\r\nB: 4\r\n", "A", "A: 1\r\n 2\r\n\t3\r\n"},
		{"not in the body", "A: 1\r\n\r\nB: 2\r\n", "B", ""},
		{"not a part of a name", "XB: 1\r\nBX: 2\r\n", "B", ""},
		{"not within a folded one", "A: 1\r\n B: 2\r\n", "B", ""},
		{"space before the colon", "A \t: 1\r\n", "A", "A \t: 1\r\n"},
		{"no colon", "A\r\nB\r\nA: 1\r\n", "A", "A: 1\r\n"},
		{"no line end", "A: 1", "A", "A: 1"},
		{"nothing", "", "A", ""},
		{"empty name", ": 1\r\n", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := string(field([]byte(tc.header), []byte(tc.field))); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestTextIsOnePiece(t *testing.T) {
	srv := New(Config{})
	for _, size := range []int{0, 1, bufferSize, bufferSize + 1, 3 * bufferSize} {
		body := bytes.Repeat([]byte("x"), size)
		r := &countingReader{fakeReader: fakeReader{Reader: bytes.NewReader(body)}}
		row := &store.Email{Location: blob.Location{Sum: crc32.Checksum(body, castagnoli)}}
		x, err := srv.newText(row, r)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := r.closed, size <= bufferSize; got != want {
			t.Errorf("%d bytes: closed after the first piece: got %v, want %v", size, got, want)
		}
		x.close()
		if !r.closed {
			t.Errorf("%d bytes: not closed", size)
		}
	}
}

type countingReader struct {
	fakeReader
	closed bool
}

func (r *countingReader) Close() error { r.closed = true; return nil }
