package smtp

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// decode gives p to a decoder in pieces of at most n bytes.
func decode(p []byte, n int) (out []byte, used int, bare Bare, end bool) {
	var d Decoder
	for used < len(p) {
		piece := p[used:min(used+n, len(p))]
		for len(piece) > 0 {
			got, k, e := d.Next(piece)
			out = append(out, got...)
			used += k
			piece = piece[k:]
			if e {
				return out, used, d.Bare(), true
			}
		}
	}
	return out, used, d.Bare(), false
}

// naive decodes in the plainest way: find the first CRLF.CRLF, cut the lines
// at CRLF, take away one leading dot of each.
func naive(p []byte) (out []byte, used int, bare Bare, end bool) {
	s := "\r\n" + string(p)
	i := strings.Index(s, "\r\n.\r\n")
	if i < 0 {
		return nil, len(p), 0, false
	}
	used = i + 3
	text := s[:i+2]
	joined := strings.ReplaceAll(text, "\r\n", "")
	if strings.Contains(joined, "\r") {
		bare |= BareCR
	}
	if strings.Contains(joined, "\n") {
		bare |= BareLF
	}
	lines := strings.Split(text, "\r\n")
	for k, line := range lines {
		lines[k] = strings.TrimPrefix(line, ".")
	}
	return []byte(strings.TrimPrefix(strings.Join(lines, "\r\n"), "\r\n")), used, bare, true
}

func TestDecoder(t *testing.T) {
	tests := []struct {
		name, in, want string
		rest           string
		bare           Bare
		open           bool
	}{
		{name: "empty", in: ".\r\n"},
		{name: "one line", in: "hello\r\n.\r\n", want: "hello\r\n"},
		{name: "stuffed", in: "..\r\n...x\r\n.y\r\n.\r\n", want: ".\r\n..x\r\ny\r\n"},
		{name: "what follows is left", in: "a\r\n.\r\nQUIT\r\n", want: "a\r\n", rest: "QUIT\r\n"},
		{name: "dots inside", in: "a.\r\nb..c\r\n.\r\n", want: "a.\r\nb..c\r\n"},
		{name: "open", in: "a\r\n", want: "a\r\n", open: true},
		{name: "open dot", in: "a\r\n.", want: "a\r\n", open: true},
		{name: "open dot CR", in: "a\r\n.\r", want: "a\r\n", open: true},
		{name: "LF.LF", in: "a\n.\nb\r\n.\r\n", want: "a\n.\nb\r\n", bare: BareLF},
		{name: "LF.CRLF", in: "a\n.\r\nb\r\n.\r\n", want: "a\n.\r\nb\r\n", bare: BareLF},
		{name: "CRLF.LF", in: "a\r\n.\nb\r\n.\r\n", want: "a\r\n\nb\r\n", bare: BareLF},
		{name: "CR.CR", in: "a\r.\rb\r\n.\r\n", want: "a\r.\rb\r\n", bare: BareCR},
		{name: "CR.CRLF", in: "a\r.\r\nb\r\n.\r\n", want: "a\r.\r\nb\r\n", bare: BareCR},
		{name: "CRLF.CR", in: "a\r\n.\rb\r\n.\r\n", want: "a\r\n\rb\r\n", bare: BareCR},
		{name: "CRLF.CRCRLF", in: "a\r\n.\r\r\nb\r\n.\r\n", want: "a\r\n\r\r\nb\r\n", bare: BareCR},
		{name: "CRCRLF.CRLF ends", in: "a\r\r\n.\r\n", want: "a\r\r\n", bare: BareCR},
		{name: "LFCR.CRLF", in: "a\n\r.\r\nb\r\n.\r\n", want: "a\n\r.\r\nb\r\n", bare: BareCR | BareLF},
		{name: "NUL is data", in: "a\x00b\r\n.\r\n", want: "a\x00b\r\n"},
		{name: "lone LF first", in: "\n.\r\n\r\n.\r\n", want: "\n.\r\n\r\n", bare: BareLF},
		{name: "CR before the end", in: "a\r\n\r.\r\n.\r\n", want: "a\r\n\r.\r\n", bare: BareCR},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for n := 1; n <= len(tt.in); n++ {
				got, used, bare, end := decode([]byte(tt.in), n)
				if string(got) != tt.want || bare != tt.bare || end == tt.open ||
					tt.in[used:] != tt.rest {
					t.Errorf("in pieces of %d: got %q, bare %d, end %t, rest %q\nwant %q, %d, %t, %q",
						n, got, bare, end, tt.in[used:], tt.want, tt.bare, !tt.open, tt.rest)
				}
			}
		})
	}
}

// The decoder agrees with the naive one, however the input is cut, and the
// encoder undoes it.
func FuzzData(f *testing.F) {
	for _, s := range []string{
		".\r\n", "a\r\n.\r\n", "..\r\n.\r\n", "a\n.\r\n.\r\n",
		"\r\n.\r\r\n.\r\nx", "a\r.\r\n\r\n.\r\n", "\r",
	} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, p []byte, n uint8) {
		got, used, bare, end := decode(p, int(n)+1)
		want, wantUsed, wantBare, wantEnd := naive(p)
		if end != wantEnd || used != wantUsed {
			t.Fatalf("%q: got end %t at %d, want %t at %d", p, end, used, wantEnd, wantUsed)
		}
		if !end {
			return
		}
		if !bytes.Equal(got, want) || bare != wantBare {
			t.Fatalf("%q: got %q bare %d\nwant %q bare %d", p, got, bare, want, wantBare)
		}
		var lines Lines
		for rest := got; len(rest) > 0; {
			k := min(int(n)+1, len(rest))
			lines.Check(rest[:k])
			rest = rest[k:]
		}
		if lines.Bare(true) != bare {
			t.Fatalf("%q: Lines found %d, want %d", got, lines.Bare(true), bare)
		}
		roundTrip(t, got, int(n)+1)
	})
}

func roundTrip(t *testing.T, message []byte, n int) {
	t.Helper()
	var wire bytes.Buffer
	e := NewEncoder(&wire)
	for rest := message; len(rest) > 0; {
		k := min(n, len(rest))
		if _, err := e.Write(rest[:k]); err != nil {
			t.Fatal(err)
		}
		rest = rest[k:]
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	got, used, _, end := decode(wire.Bytes(), n)
	want := message
	if len(want) > 0 && !bytes.HasSuffix(want, []byte("\r\n")) {
		want = append(bytes.Clone(want), "\r\n"...)
	}
	if !end || used != wire.Len() || !bytes.Equal(got, want) {
		t.Fatalf("wire %q: got %q, end %t, want %q", wire.Bytes(), got, end, want)
	}
}

// Random messages of the few bytes that matter.
func TestDecoderModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		p := make([]byte, r.IntN(24))
		for i := range p {
			p[i] = "\r\n.\r\n.a"[r.IntN(7)]
		}
		p = append(p, "\r\n.\r\n"...)
		got, used, bare, _ := decode(p, 1+r.IntN(len(p)))
		want, wantUsed, wantBare, _ := naive(p)
		if !bytes.Equal(got, want) || used != wantUsed || bare != wantBare {
			t.Fatalf("%q: got %q %d %d\nwant %q %d %d", p, got, used, bare, want, wantUsed, wantBare)
		}
	}
}

func BenchmarkDecoder(b *testing.B) {
	message := []byte(strings.Repeat(strings.Repeat("x", 74)+"\r\n", 54) + ".\r\n")
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		var d Decoder
		for p := message; len(p) > 0; {
			_, n, _ := d.Next(p)
			p = p[n:]
		}
	}
}
