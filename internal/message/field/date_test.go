package field

import (
	netmail "net/mail"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseDate(t *testing.T) {
	tests := []struct{ in, want string }{
		{"Sat, 21 Nov 2026 06:12:39 +0100", "2026-11-21T06:12:39+01:00"},
		{"21 Nov 2026 06:12:39 +0100", "2026-11-21T06:12:39+01:00"},
		{"Sat, 21 Nov 2026 06:12 +0100", "2026-11-21T06:12:00+01:00"},
		{"Sat,21 Nov 2026 06:12:39 GMT", "2026-11-21T06:12:39Z"},
		{"Saturday, 21-Nov-26 06:12:39 UT", "2026-11-21T06:12:39Z"},
		{"Sat, 21 Nov 2026 06:12:39 +0100 (CET)", "2026-11-21T06:12:39+01:00"},
		{"Sat (day), 21 (x) Nov 2026 06:12:39 (a (b)) EST", "2026-11-21T06:12:39-05:00"},
		{"Sat Nov 21 06:12:39 2026", "2026-11-21T06:12:39Z"},
		{"Sat Nov 21 06:12:39 PST 2026", "2026-11-21T06:12:39-08:00"},
		{"Sat, 21 November 2026 06:12:39 -0330", "2026-11-21T06:12:39-03:30"},
		{"Sat, 21 Nov 2026 06:12:39 -0000", "2026-11-21T06:12:39Z"},
		{"Sat, 21 Nov 2026 06:12:39 Z", "2026-11-21T06:12:39Z"},
		{"Sat, 21 Nov 2026 06:12:39 A", "2026-11-21T06:12:39Z"},
		{"Sat, 21 Nov 2026 06:12:39 NOWHERE", "2026-11-21T06:12:39Z"},
		{"Sat, 21 Nov 2026 06:12:39", "2026-11-21T06:12:39Z"},
		{"Sat, 21 Nov 2026 06:12:39 +01:00", "2026-11-21T06:12:39+01:00"},
		{"Sat, 21 Nov 2026 06:12:39 GMT+0200", "2026-11-21T06:12:39Z"},
		{"Sat, 21 Nov 2026 06:12:39 +9999", "2026-11-21T06:12:39Z"},
		{"Sat, 21 Nov 2026 6:2:9 +0100", "2026-11-21T06:02:09+01:00"},
		{"Sat, 21 Nov 2026 06.12.39 +0100", "2026-11-21T06:12:39+01:00"},
		{"Sat, 21 Nov 2026 06:12:39.123 +0100", "2026-11-21T06:12:39+01:00"},
		{"Sat, 21 Nov 2026 06:12:39GMT", "2026-11-21T06:12:39Z"},
		{"Sat, 21 Nov 2026 06:12:39+0100", "2026-11-21T06:12:39+01:00"},
		{"Sa, 21. Nov 2026 06:12:39 +0100", "2026-11-21T06:12:39+01:00"},
		{"21 Nov 49 00:00 GMT", "2049-11-21T00:00:00Z"},
		{"21 Nov 50 00:00 GMT", "1950-11-21T00:00:00Z"},
		{"21 Nov 102 00:00 GMT", "2002-11-21T00:00:00Z"},
		{"21 Nov 1997 09(comment):55:06 -0600", ""},
		{"Sat, 31 Dec 2016 23:59:60 +0000", "2017-01-01T00:00:00Z"},
		{"Sat, 31 Nov 2026 06:12:39 +0100", ""},
		{"Sat, 21 Foo 2026 06:12:39 +0100", ""},
		{"Sat, 21 Nov 2026", ""},
		{"06:12:39", ""},
		{"", ""},
		{"Sat, 21 Nov 2026 25:12:39 +0100", ""},
		{"0 Nov 2026 06:12:39", ""},
		{"(Sat, 21 Nov 2026 06:12:39 +0100", ""},
	}
	for _, tt := range tests {
		got, ok := ParseDate(tt.in)
		s := ""
		if ok {
			s = got.Format(time.RFC3339)
		}
		if s != tt.want {
			t.Errorf("%s: got %q, want %q", tt.in, s, tt.want)
		}
	}
}

// TestParseDateOracle compares with net/mail on proper dates.
func TestParseDateOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sec := rapid.Int64Range(-2_000_000_000, 250_000_000_000).Draw(t, "seconds")
		zone := rapid.IntRange(-14*60, 14*60).Draw(t, "zone")
		layout := rapid.SampledFrom([]string{
			time.RFC1123Z, "2 Jan 2006 15:04:05 -0700", "Mon, 2 Jan 2006 15:04 -0700",
		}).Draw(t, "layout")
		in := time.Unix(sec, 0).In(time.FixedZone("", zone*60)).Format(layout)
		want, err := netmail.ParseDate(in)
		if err != nil {
			t.Fatalf("net/mail: %v", err)
		}
		got, ok := ParseDate(in)
		_, z1 := got.Zone()
		_, z2 := want.Zone()
		if !ok || !got.Equal(want) || z1 != z2 {
			t.Errorf("%s: got %v %v, want %v", in, got, ok, want)
		}
	})
}
