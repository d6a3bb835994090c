package terminal

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	var b strings.Builder
	Table(&b, [][]string{{"NAME", "STATE"}, {"ann@example.org", "enabled"}, {"bé", "-", "more"}})
	want := "NAME             STATE\nann@example.org  enabled\nbé               -  more\n"
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestFold(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", ""},
		{"blanks only", " \n ", ""},
		{"fits", "one two", "one two"},
		{"exactly", "12345 7890", "12345 7890"},
		{"one too many", "12345 78901", "12345\n78901"},
		{"long word", "a 12345678901234 b", "a\n12345678901234\nb"},
		{"white space is one blank", " a\n\tb  c ", "a b c"},
	} {
		if got := Fold(tt.in, 10); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestParseSize(t *testing.T) {
	type sized struct {
		N  int64
		OK bool
	}
	for text, want := range map[string]sized{
		"0": {0, true}, "1024": {1024, true}, "500M": {500 << 20, true}, "2g": {2 << 30, true},
		"64 MB": {64 << 20, true}, "1KiB": {1024, true}, "": {}, "M": {}, "-1": {}, "1.5G": {},
		"9999999999T": {}, "9007199254740992": {1 << 53, true}, "x": {},
	} {
		n, ok := ParseSize(text)
		if d := cmp.Diff(want, sized{n, ok}); d != "" {
			t.Errorf("%q (-want +got)\n%s", text, d)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1536: "1.5 kB", 10 << 20: "10.0 MB", 500 << 20: "500 MB",
		3 << 40: "3.0 TB", 5 << 50: "5120 TB",
	} {
		if got := Size(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2h":                   now.Add(-2 * time.Hour),
		"3d":                   now.AddDate(0, 0, -3),
		"1w":                   now.AddDate(0, 0, -7),
		"2026-03-01T08:00:00Z": time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC),
		"2026-03-01 08:00:01":  time.Date(2026, 3, 1, 8, 0, 1, 0, time.Local),
		"2026-03-01 08:00":     time.Date(2026, 3, 1, 8, 0, 0, 0, time.Local),
		"2026-03-01":           time.Date(2026, 3, 1, 0, 0, 0, 0, time.Local),
		"yesterday":            {},
		"-2h":                  {},
		"-1d":                  {},
		"40000d":               {},
		"":                     {},
	} {
		got, ok := ParseTime(text, now)
		if !got.Equal(want) || ok == want.IsZero() {
			t.Errorf("%s: got %v, %v; want %v", text, got, ok, want)
		}
	}
}

func TestWords(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{Plural(0, "line", "lines"), "0 lines"},
		{Plural(1, "line", "lines"), "1 line"},
		{Plural(2, "line", "lines"), "2 lines"},
		{YesNo(true), "yes"},
		{YesNo(false), "no"},
		{Moment(time.Time{}), "-"},
		{Moment(time.Date(2026, 3, 1, 8, 5, 9, 0, time.Local)), "2026-03-01 08:05:09"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
