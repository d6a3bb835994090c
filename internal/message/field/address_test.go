package field

import (
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"postrider/internal/mail"
)

// show writes a list in one line: name<route:local|domain>, groups as {name …}.
func show(list []Address) string {
	var out []string
	for _, a := range list {
		switch a.Mark {
		case GroupStart:
			out = append(out, a.Name+"{")
		case GroupEnd:
			out = append(out, "}")
		default:
			s := a.Name + "<"
			if a.Route != "" {
				s += a.Route + ":"
			}
			out = append(out, s+a.Local+"|"+a.Domain+">")
		}
	}
	return strings.Join(out, " ")
}

func TestParseAddressList(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"empty", "", ""},
		{"only separators", " , ; ,", ""},
		{"bare", "a@b.example", "<a|b.example>"},
		{"name", "Ann Archer <a@b>", "Ann Archer<a|b>"},
		{"blanks in name", "Ann   Archer\t<a@b>", "Ann Archer<a|b>"},
		{"quoted name", `"Archer, Ann" <a@b>`, "Archer, Ann<a|b>"},
		{"quoted pairs", `"a \"b\" \\c" <a@b>`, `a "b" \c<a|b>`},
		{"dots in name", "J. R. Doe <a@b>", "J. R. Doe<a|b>"},
		{"half quoted", `"Ann" X. "Archer" <a@b>`, "Ann X. Archer<a|b>"},
		{"comment as name", "a@b (Ann (the) Archer)", "Ann (the) Archer<a|b>"},
		{"comment in name", "Ann (x) Archer <a@b>", "Ann Archer<a|b>"},
		{"comment after brackets", "<a@b> (Ann)", "Ann<a|b>"},
		{"comments everywhere", "(c)a(c)@(c)b(c).(c)c(d)", "d<a|b.c>"},
		{"blanks around dots and at", "a . b @ c . d", "<a.b|c.d>"},
		{"two", "a@b, c@d", "<a|b> <c|d>"},
		{"semicolon", "a@b; c@d;", "<a|b> <c|d>"},
		{"trailing commas", "a@b,,", "<a|b>"},
		{"missing comma", "<a@b> <c@d>", "<a|b> <c|d>"},
		{"missing comma, bare", "a@b c@d", "<a|b> <c|d>"},
		{"missing comma, names", "A <a@b> C <c@d>", "A<a|b> C<c|d>"},
		{"group", "G: a@b, C <c@d>;", "G{ <a|b> C<c|d> }"},
		{"empty group", "undisclosed recipients: ;", "undisclosed recipients{ }"},
		{"group without end", "G: a@b", "G{ <a|b> }"},
		{"after a group", "G:a@b; c@d", "G{ <a|b> } <c|d>"},
		{"two groups", "G:;H:a@b;", "G{ } H{ <a|b> }"},
		{"route", "<@x,@y:a@b>", "<@x,@y:a|b>"},
		{"route with blanks", "N <@x, @y : a@b>", "N<@x,@y:a|b>"},
		{"IPv4 literal", "a@[192.0.2.1]", "<a|[192.0.2.1]>"},
		{"IPv6 literal", "a@[IPv6:2001:db8::1], c@d", "<a|[IPv6:2001:db8::1]> <c|d>"},
		{"percent", "a%b@c", "<a%b|c>"},
		{"bang", "b!c!a", "<b!c!a|>"},
		{"bang and at", "b!a@c", "<b!a|c>"},
		{"two ats", "a@b@c", "<a@b|c>"},
		{"quoted local", `"a b"@c, "x@y"@z`, "<a b|c> <x@y|z>"},
		{"partly quoted local", `a."b c".d@e`, "<a.b c.d|e>"},
		{"no domain", "root", "<root|>"},
		{"null", "<>", ""},
		{"name and null", "Nobody <>", "Nobody<|>"},
		{"address as name", "a@b <a@b>", "a@b<a|b>"},
		{"mailto", "<mailto:a@b>", "<a|b>"},
		{"unclosed quote", `"Ann <a@b>, c@d`, "Ann<a|b> <c|d>"},
		{"unclosed quote in quotes", `"Ann" "Archer <a@b>`, "Ann Archer<a|b>"},
		{"unclosed comment", "Ann (x <a@b>", "Ann (x<a|b>"},
		{"unclosed bracket", "Ann <a@b, c@d", "Ann<a|b> <c|d>"},
		{"unclosed bracket, then closed", "<a@b, C <c@d>", "<a|b> C<c|d>"},
		{"unclosed literal", "a@[1.2.3.4, c@d", "<a|1.2.3.4> <c|d>"},
		{"double brackets", "Ann <<a@b>>", "Ann<a|b>"},
		{"junk behind", "<a@b> junk, c@d", "<a|b> <c|d>"},
		{"UTF-8", "Jörg <jörg@bücher.example>", "Jörg<jörg|bücher.example>"},
		{"encoded word stays", "=?utf-8?q?J=C3=B6rg?= <j@b>", "=?utf-8?q?J=C3=B6rg?=<j|b>"},
		{"comma in name", "Doe, John <j@d>", "<Doe|> John<j|d>"},
		{"only a comment", "(nobody)", ""},
		{"lone specials", `" ( [ > ) ]`, "[ ><]|>"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := show(ParseAddressList(tt.in)); got != tt.want {
				t.Errorf("%s: got %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

// TestAddressOracle compares with net/mail on what both must agree about.
func TestAddressOracle(t *testing.T) {
	word := rapid.StringMatching(`[a-zA-Z0-9][a-z0-9!#$&'*+/=^_{|}~-]{0,8}`)
	text := rapid.StringMatching(`[ -~äöü]{1,20}`)
	domain := rapid.StringMatching(`[a-z0-9]{1,8}(\.[a-z]{2,5}){1,3}`)
	rapid.Check(t, func(t *rapid.T) {
		var in []string
		var want []*netmail.Address
		for range rapid.IntRange(1, 4).Draw(t, "n") {
			a := &netmail.Address{
				Name:    strings.Trim(text.Draw(t, "name"), " "),
				Address: word.Draw(t, "local") + "@" + domain.Draw(t, "domain"),
			}
			in, want = append(in, a.String()), append(want, a)
		}
		list := strings.Join(in, ", ")
		got := ParseAddressList(list)
		if len(got) != len(want) {
			t.Fatalf("%s: got %d addresses, want %d", list, len(got), len(want))
		}
		for i, a := range got {
			if a.DisplayName() != want[i].Name || a.Mail().String() != want[i].Address {
				t.Errorf("%s: got %q %q, want %q %q", list, a.DisplayName(), a.Mail(),
					want[i].Name, want[i].Address)
			}
		}
	})
}

func TestParseAddress(t *testing.T) {
	for in, want := range map[string]string{
		"a@b": "a@b", " Ann <a@B> ": "a@b", "ann": "ann", "a@b, c@d": "", "": "", "a b@c": "", "G:;": "",
	} {
		got, err := ParseAddress(in)
		if got.String() != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, error %v; want %q", in, got, err, want)
		}
	}
}

// TestRoutes checks the three forms that SIMS reads as "first to zzzz".
func TestRoutes(t *testing.T) {
	steps := func(a mail.Address, n int) string {
		s := a.String()
		for range n {
			next, ok := Unroute(a.Local)
			if !ok {
				return s + " stop"
			}
			a = next
			s += " " + a.String()
		}
		return s
	}
	tests := []struct {
		in   string
		n    int
		want string
	}{
		{"<@zzzz:xxxx@yyyyy>", 1, `"xxxx@yyyyy"@zzzz xxxx@yyyyy`},
		{"<@a,@b:x@c>", 2, `"@b:x@c"@a "x@c"@b x@c`},
		{"xxxx%yyyyy@zzzz", 1, "xxxx%yyyyy@zzzz xxxx@yyyyy"},
		{"u%v%w@us", 2, "u%v%w@us u%v@w u@v"},
		{"user@us", 1, "user@us stop"},
		{`"a@victim"@us`, 1, `"a@victim"@us a@victim`},
		{"zzzz!yyyyy!xxxx@us", 2, "zzzz!yyyyy!xxxx@us yyyyy!xxxx@zzzz xxxx@yyyyy"},
		{"a%@us", 1, "a%@us stop"},
	}
	for _, tt := range tests {
		list := ParseAddressList(tt.in)
		if len(list) != 1 {
			t.Fatalf("%s: got %d addresses", tt.in, len(list))
		}
		if got := steps(list[0].Via(), tt.n); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

// TestAddressCost makes sure that hostile fields cost no more than their
// length: each of these is a megabyte, and quadratic work would take hours.
func TestAddressCost(t *testing.T) {
	start := time.Now()
	for _, unit := range []string{
		`"`, `(`, `[`, `<`, `\"`, `<",`, `<a@b`, `"(`, `a@b `, `:`, `(\(`, `<"<`, `@`, `<@`, `,<(`,
		`=?u?q?x `, `<a@b> "`, "((a)",
	} {
		s := strings.Repeat(unit, 1<<20/len(unit))
		ParseAddressList(s)
		DecodeWords(s)
		MessageIDs(s)
		BaseSubject(s)
		ParseDate(s)
		ParseContentType(s)
	}
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("took %v", d)
	}
}
