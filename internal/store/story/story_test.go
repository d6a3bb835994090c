package story

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"postrider/internal/store"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func usual() *store.Trace {
	return &store.Trace{ID: "2l8x3k9", Time: noon, Door: "submission", Peer: "2001:db8::1",
		Helo: "[192.0.2.1]", User: "a@b.example", TLS: "TLS 1.3", From: "a@b.example",
		MessageID: "<1@b.example>", Return: "HDRS", EnvelopeID: "E+2B", RequireTLS: true, Size: 12,
		Recipients: []store.TraceRecipient{
			{Address: `"x\y"@é.example`, Account: 1, Email: 1 << 60, Outcome: "delivered",
				Notify: "NEVER", Original: "rfc822;<x>"},
			{Address: "z@b.example", Outcome: "refused", Reason: "line\r\n\x00two"}}, More: 3}
}

func TestRoundTrip(t *testing.T) {
	for name, want := range map[string]*store.Trace{"all": usual(), "nothing": {Time: noon},
		"only counted": {Time: noon, More: 1000}} {
		got, err := Parse(noon, Append(nil, want))
		if err != nil {
			t.Fatal(name, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: want -, got +:\n%s", name, d)
		}
	}
}

// What a sender says cannot make a row large, and a row is readable whatever
// was cut off.
func TestBounded(t *testing.T) {
	for _, char := range []string{"x", "<", "\x00", "é", "\xff", `"`} {
		for _, n := range []int{1, 100, 1000} {
			long := strings.Repeat(char, 5000)
			in := &store.Trace{ID: long, Time: noon, Door: long, Peer: long, Helo: long, User: long,
				TLS: long, From: long, MessageID: long, Return: long, EnvelopeID: long}
			for range n {
				in.Recipients = append(in.Recipients, store.TraceRecipient{Address: long, Account: 1 << 62,
					Email: 1 << 62, Outcome: long, Reason: long, Notify: long, Original: long})
			}
			row := Append([]byte("before"), in)[len("before"):]
			if len(row) > MaxRow {
				t.Errorf("%q %d: got %d bytes, want %d at most", char, n, len(row), MaxRow)
			}
			out, err := Parse(noon, row)
			if err != nil {
				t.Fatalf("%q %d: %v", char, n, err)
			}
			if got := len(out.Recipients) + out.More; got != n {
				t.Errorf("%q %d: %d recipients are told of or counted", char, n, got)
			}
		}
	}
}

func TestClip(t *testing.T) {
	for _, test := range []struct {
		in    string
		limit int
		want  string
	}{
		{"abc", 3, "abc"}, {"abcdef", 5, "ab…"}, {"ééé", 5, "é…"}, {"\xff\xff\xff\xff", 3, "…"},
	} {
		if got := Clip(test.in, test.limit); got != test.want || len(got) > test.limit {
			t.Errorf("%q %d: got %q, want %q", test.in, test.limit, got, test.want)
		}
	}
}

func FuzzAppend(f *testing.F) {
	f.Add("a@b.example", "<x>", "é\xff\x00\"\\")
	f.Add(strings.Repeat("é", 300), "\u2028", "\x7f")
	f.Fuzz(func(t *testing.T, from, address, reason string) {
		in := &store.Trace{Time: noon, From: from, Recipients: []store.TraceRecipient{
			{Address: address, Reason: reason}}}
		out, err := Parse(noon, Append(nil, in))
		if err != nil {
			t.Fatal(err)
		}
		want := Clip(from, maxPath)
		if utf8.ValidString(from) && out.From != want {
			t.Errorf("got %q, want %q", out.From, want)
		}
	})
}

// BenchmarkAppend runs within the committer: one recipient, and as many as
// one trace may spell out.
func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 100} {
		tr := usual()
		tr.Recipients = nil
		for i := range n {
			tr.Recipients = append(tr.Recipients, store.TraceRecipient{Outcome: "delivered",
				Address: fmt.Sprintf("user%d@example.org", i), Account: 1234, Email: 1 << 60})
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			var row []byte
			for b.Loop() {
				row = Append(row[:0], tr)
			}
		})
	}
}
