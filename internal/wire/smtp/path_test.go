package smtp

import (
	"strings"
	"testing"

	"postrider/internal/mail"
)

func TestParsePath(t *testing.T) {
	x63 := strings.Repeat("x", 63)
	tests := []struct {
		name string
		in   string
		want mail.Address
		rest string
	}{
		{"plain", "<bob@example.org>", mail.Address{Local: "bob", Domain: "example.org"}, ""},
		{"rest", "<b@a.org> SIZE=1", mail.Address{Local: "b", Domain: "a.org"}, " SIZE=1"},
		{"domain in lower case", "<Bob@EXAMPLE.Org>",
			mail.Address{Local: "Bob", Domain: "example.org"}, ""},
		{"null", "<>", mail.Address{}, ""},
		{"postmaster", "<PostMaster>", mail.Address{Local: "PostMaster"}, ""},
		{"dots", "<a.b.c@x.y.z>", mail.Address{Local: "a.b.c", Domain: "x.y.z"}, ""},
		{"every atom", "<!#$%&'*+-/=?^_`{|}~@x>",
			mail.Address{Local: "!#$%&'*+-/=?^_`{|}~", Domain: "x"}, ""},
		{"percent", "<a%b@x>", mail.Address{Local: "a%b", Domain: "x"}, ""},
		{"bang", "<x!b@y>", mail.Address{Local: "x!b", Domain: "y"}, ""},
		{"source route", "<@a.org:bob@b.org>", mail.Address{Local: "bob", Domain: "b.org"}, ""},
		{"long source route", "<@a.org,@[192.0.2.1],@c:bob@b.org>",
			mail.Address{Local: "bob", Domain: "b.org"}, ""},
		{"quoted", `<"bob smith"@x>`, mail.Address{Local: "bob smith", Domain: "x"}, ""},
		{"quoted without need", `<"bob"@x>`, mail.Address{Local: "bob", Domain: "x"}, ""},
		{"quoted at and bracket", `<"a@b>c"@x>`, mail.Address{Local: "a@b>c", Domain: "x"}, ""},
		{"quoted pair", `<"a\"\\b"@x>`, mail.Address{Local: `a"\b`, Domain: "x"}, ""},
		{"IPv4 literal", "<b@[192.0.2.1]>", mail.Address{Local: "b", Domain: "[192.0.2.1]"}, ""},
		{"IPv6 literal", "<b@[IPv6:2001:DB8::1]>",
			mail.Address{Local: "b", Domain: "[ipv6:2001:db8::1]"}, ""},
		{"bare IPv4", "<b@192.0.2.1>", mail.Address{Local: "b", Domain: "[192.0.2.1]"}, ""},
		{"digits are no IP", "<b@163.com>", mail.Address{Local: "b", Domain: "163.com"}, ""},
		{"underscore", "<b@my_host.x>", mail.Address{Local: "b", Domain: "my_host.x"}, ""},
		{"UTF-8", "<jörg@bücher.example>",
			mail.Address{Local: "jörg", Domain: "bücher.example"}, ""},
		{"UTF-8 upper case", "<J@BÜCHER.example>",
			mail.Address{Local: "J", Domain: "bücher.example"}, ""},
		{"long local part", "<" + strings.Repeat("v", 200) + "@x.org>",
			mail.Address{Local: strings.Repeat("v", 200), Domain: "x.org"}, ""},
		{"longest label", "<a@" + x63 + ".org>", mail.Address{Local: "a", Domain: x63 + ".org"}, ""},
		{"longest path", "<a@" + x63 + "." + x63 + "." + x63 + "." + x63[:60] + ">",
			mail.Address{Local: "a", Domain: x63 + "." + x63 + "." + x63 + "." + x63[:60]}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, rest, refusal := ParsePath([]byte(tt.in))
			if refusal != nil {
				t.Fatalf("refused: %v", refusal)
			}
			if got != tt.want || string(rest) != tt.rest {
				t.Errorf("got  %+v %q\nwant %+v %q", got, rest, tt.want, tt.rest)
			}
		})
	}
}

func TestParsePathRefused(t *testing.T) {
	x64 := strings.Repeat("x", 64)
	tests := []struct {
		name string
		in   string
		want fault
	}{
		{"empty", "", noBrackets},
		{"no brackets", "bob@example.org", noBrackets},
		{"display name", `"Bob" <bob@example.org>`, noBrackets},
		{"open", "<bob@example.org", notClosed},
		{"open local part", "<bob", notClosed},
		{"no domain", "<bob>", noDomain},
		{"empty domain", "<bob@>", badDomain},
		{"no local part", "<@example.org>", badRoute},
		{"empty local part", "< @example.org>", badLocal},
		{"dot first", "<.bob@x>", badLocal},
		{"dot last", "<bob.@x>", badLocal},
		{"two dots", "<b..b@x>", badLocal},
		{"space", "<bob smith@x>", notClosed},
		{"two at", "<a@b@c>", notClosed},
		{"empty quotes", `<""@x>`, badLocal},
		{"open quotes", `<"bob@x>`, badLocal},
		{"quotes and more", `<"a"b@x>`, notClosed},
		{"control in quotes", "<\"a\x01b\"@x>", badLocal},
		{"quoted control", "<\"a\\\x01b\"@x>", badLocal},
		{"backslash at the end", `<"a\`, badLocal},
		{"domain dot first", "<b@.org>", badDomain},
		{"domain dot last", "<b@x.org.>", badDomain},
		{"domain two dots", "<b@x..org>", badDomain},
		{"hyphen first", "<b@-x.org>", badDomain},
		{"hyphen last in label", "<b@x-.org>", badDomain},
		{"hyphen last", "<b@x->", badDomain},
		{"label too long", "<b@" + x64 + ".org>", badDomain},
		{"domain too long", "<b@" + strings.Repeat("x.", 128) + "org>", badDomain},
		{"path too long", "<" + strings.Repeat("v", 250) + "@x.org>", tooLong},
		{"quoted too long", `<"` + strings.Repeat("v", 600) + `"@x.org>`, tooLong},
		{"atom too long", `<` + strings.Repeat("v", 600) + `@x.org>`, tooLong},
		{"not UTF-8", "<b\xff@x.org>", notUTF8},
		{"open literal", "<b@[192.0.2.1>", badLiteral},
		{"no literal", "<b@[example.org]>", badLiteral},
		{"literal without tag", "<b@[2001:db8::1]>", badLiteral},
		{"IPv4 as IPv6", "<b@[IPv6:192.0.2.1]>", badLiteral},
		{"zone", "<b@[IPv6:fe80::1%eth0]>", badLiteral},
		{"route without colon", "<@a.org>", badRoute},
		{"route with hole", "<@a,,@b:c@d>", badRoute},
		{"route ends", "<@a,", badRoute},
		{"route and nothing", "<@a:>", badLocal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, _, f := parsePath([]byte(tt.in))
			if f != tt.want {
				t.Errorf("got fault %d (%s), address %+v\nwant %d (%s)",
					f, faultTexts[f], a, tt.want, faultTexts[tt.want])
			}
			if f != fine && a != (mail.Address{}) {
				t.Errorf("got address %+v with a fault", a)
			}
		})
	}
}

// What was parsed can be written and parsed again to the same.
func FuzzPath(f *testing.F) {
	for _, s := range []string{
		"<>", "<bob@example.org>", "<@a,@b:c@d> x", `<"a \" b"@[IPv6:::1]>`, "<b@1.2.3.4>",
		"<postmaster>", "<jörg@bücher.example>", "<a@b\xff>", `<"`, "<\u212a@\u212a>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, rest, refusal := ParsePath([]byte(s))
		if refusal != nil {
			return
		}
		if !strings.HasSuffix(s, string(rest)) {
			t.Fatalf("rest %q is no end of %q", rest, s)
		}
		if strings.ContainsAny(a.String(), "\r\n\x00") {
			t.Fatalf("control characters in %q", a)
		}
		again, rest, refusal := ParsePath([]byte("<" + a.String() + ">"))
		if refusal != nil && refusal != rcptFaults[tooLong] { // quoting makes it longer
			t.Fatalf("%q of %q refused: %v", a, s, refusal)
		}
		if refusal == nil && (again != a || len(rest) > 0) {
			t.Fatalf("got %+v %q\nwant %+v", again, rest, a)
		}
	})
}

func TestParsePathAllocations(t *testing.T) {
	in := []byte("<Some.Body@Example.ORG> SIZE=1000")
	got := testing.AllocsPerRun(100, func() { ParsePath(in) })
	if got > 1 {
		t.Errorf("got %v allocations, want 1, the address", got)
	}
}
