package journal

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzRecord holds both forms to what readers rely on, whatever a peer sends:
// a record is one line without control characters that parseLine understands,
// and JSON gives the text back.
func FuzzRecord(f *testing.F) {
	f.Add("recipient refused", "to", "a@example.org")
	f.Add("x\r\n2026-01-01T00:00:00.000Z 1 auth forged", "k\n", "v\x1b[31m\u202e\"\\=")
	f.Add("x", "text", "y")
	f.Add("x", "level", "1")
	f.Add("x", "leveL", "1")
	f.Add("\xff\xfe", "", "\u2028\u0085\x7f")
	f.Add(strings.Repeat("é", 2000), strings.Repeat("k", 2000), strings.Repeat("\x80", 2000))
	f.Fuzz(func(t *testing.T, text, key, value string) {
		at := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
		for _, e := range []encoder{textEncoder{}, jsonEncoder{}} {
			b := e.head(nil, at, 3, "smtp", bounded(text))
			b = appendAttr(e, b, "", slog.String(key, value))
			b = e.tail(b)
			line, ok := strings.CutSuffix(string(b), "\n")
			if !ok || !utf8.ValidString(line) || len(line) > 16*maxValue {
				t.Fatalf("%T: %d bytes: %q", e, len(b), b)
			}
			if i := strings.IndexFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
				t.Fatalf("%T: control character at %d: %q", e, i, line)
			}
			if level, name, ok := parseLine([]byte(line)); !ok || level != 3 || name != "smtp" {
				t.Fatalf("%T: cannot be read back: %q", e, line)
			}
			if _, isJSON := e.(jsonEncoder); !isJSON {
				continue
			}
			var got map[string]any
			if err := json.Unmarshal(b, &got); err != nil {
				t.Fatalf("%v: %q", err, line)
			}
			want := strings.ToValidUTF8(bounded(text), "\ufffd")
			if utf8.ValidString(text) && got["text"] != want {
				t.Fatalf("got %q want %q", got["text"], want)
			}
		}
	})
}
