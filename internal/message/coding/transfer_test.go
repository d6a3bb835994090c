package coding

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

func TestDecoders(t *testing.T) {
	tests := []struct{ name, encoding, in, want string }{
		{"base64", "base64", "SGVsbG8=", "Hello"},
		{"base64, lines", "base64", "SGVs\r\nbG8=\r\n", "Hello"},
		{"base64, lines at odd places", "base64", "SGVsb\r\nG8=\r\n", "Hello"},
		{"base64, no padding", "base64", "SGVsbG8", "Hello"},
		{"base64, junk", "base64", "S-G V\x00sbG8=!", "Hello"},
		{"base64, two texts", "base64", "SGVsbG8=SGVsbG8=", "HelloHello"},
		{"base64, one sextet", "base64", "SGVsS", "Hel"},
		{"base64, nothing", "base64", "=\r\n==", ""},
		{"qp", "quoted-printable", "a=3Db=C3=A4", "a=bä"},
		{"qp, soft break", "quoted-printable", "a=\r\nb=\nc= \t\r\nd", "abcd"},
		{"qp, blanks at the end", "quoted-printable", "a \t\r\nb", "a\r\nb"},
		{"qp, bad escapes", "quoted-printable", "=zz =4 =\t=", "=zz =4 =\t"},
		{"qp, 8-bit", "quoted-printable", "\xc3\xa4=A", "ä=A"},
		{"qp, bare LF", "quoted-printable", "a\nb=0A", "a\nb\n"},
		{"uuencode", "x-uuencode", "begin 644 x\n#0V%T\n`\nend\n", "Cat"},
		{"uuencode, cut", "uuencode", "junk\nbegin 644 x\r\n#0V", "C`\x00"},
		{"unknown", "x-other", "=41", "=41"},
		{"7bit", "7bit", "=41", "=41"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.in),
				iotest.OneByteReader(strings.NewReader(tt.in)),
				iotest.DataErrReader(strings.NewReader(tt.in))} {
				got, err := io.ReadAll(NewDecoder(r, tt.encoding))
				if err != nil || string(got) != tt.want {
					t.Errorf("%q: got %q, error %v, want %q", tt.in, got, err, tt.want)
				}
			}
			broken := io.MultiReader(strings.NewReader(tt.in), iotest.ErrReader(io.ErrClosedPipe))
			if _, err := io.ReadAll(NewDecoder(broken, tt.encoding)); err != io.ErrClosedPipe {
				t.Errorf("got error %v of a broken source", err)
			}
		})
	}
}

// TestDecodersOracle decodes what the standard library encoded, and what is
// far longer than the buffers.
func TestDecodersOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "unit")
		data := bytes.Repeat(unit, rapid.IntRange(1, 40).Draw(t, "times"))
		var qp bytes.Buffer
		w := quotedprintable.NewWriter(&qp)
		w.Binary = true
		w.Write(data)
		w.Close()
		b64 := base64.StdEncoding.EncodeToString(data)
		if width := rapid.IntRange(0, 80).Draw(t, "width"); width > 0 {
			var lines strings.Builder
			for len(b64) > width {
				lines.WriteString(b64[:width] + "\r\n")
				b64 = b64[width:]
			}
			b64 = lines.String() + b64
		}
		for encoding, coded := range map[string]string{"base64": b64, "quoted-printable": qp.String()} {
			got, err := io.ReadAll(NewDecoder(strings.NewReader(coded), encoding))
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%s of %d bytes: got %d bytes, error %v", encoding, len(data), len(got), err)
			}
		}
	})
}

// TestQuotedPrintableLongLine has escapes and blanks at the edges of pieces.
func TestQuotedPrintableLongLine(t *testing.T) {
	for pad := range 8 {
		long := strings.Repeat("=C3=A4 x", 3000) + strings.Repeat(" ", pad) + "=41"
		in := strings.Repeat("y", pad) + long + strings.Repeat(" ", 3*maxCodedLine) + "\r\nend"
		want := strings.Repeat("y", pad) + strings.Repeat("ä x", 3000) + strings.Repeat(" ", pad) + "A"
		got, err := io.ReadAll(NewDecoder(strings.NewReader(in), "quoted-printable"))
		if err != nil {
			t.Fatal(err)
		}
		// Blanks longer than a piece are not worth holding back.
		if g := strings.ReplaceAll(string(got), " \r\n", "\r\n"); !strings.HasPrefix(g, want) ||
			!strings.HasSuffix(g, "\r\nend") {
			t.Fatalf("pad %d: got %d bytes, want %d", pad, len(g), len(want))
		}
	}
}
