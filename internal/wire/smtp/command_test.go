package smtp

import (
	"strings"
	"testing"
)

func TestSplitVerb(t *testing.T) {
	tests := []struct{ in, verb, args string }{
		{"", "", ""},
		{"QUIT", "QUIT", ""},
		{"quit ", "QUIT", ""},
		{"Mail FROM:<>", "MAIL", "FROM:<>"},
		{"starttls", "STARTTLS", ""},
		{"starttlsx", "", ""},
		{"NOOP \t x y \t", "NOOP", "x y"},
		{"RSET\t", "RSET", ""},
		{" MAIL", "", "MAIL"},
		{"\x16\x03\x01", "\x16\x03\x01", ""},
	}
	for _, tt := range tests {
		var buf [MaxVerb]byte
		verb, args := SplitVerb([]byte(tt.in), &buf)
		if string(verb) != tt.verb || string(args) != tt.args {
			t.Errorf("%q: got %q %q, want %q %q", tt.in, verb, args, tt.verb, tt.args)
		}
	}
}

func TestParseHello(t *testing.T) {
	for _, s := range []string{
		"x", "mx.example.org", "[192.0.2.1]", "[IPv6:::1]", "my_pc", "bücher",
	} {
		if got, ok := ParseHello([]byte(s)); !ok || got != s {
			t.Errorf("%q: got %q, %t", s, got, ok)
		}
	}
	for _, s := range []string{"", "a b", "a(b)", "a\x00", "a\xff", "<x>", strings.Repeat("x", 256)} {
		if got, ok := ParseHello([]byte(s)); ok {
			t.Errorf("%q: got %q, want a refusal", s, got)
		}
	}
}

func TestParseBDAT(t *testing.T) {
	tests := []struct {
		in   string
		size int64
		last bool
		ok   bool
	}{
		{"0", 0, false, true},
		{"86 LAST", 86, true, true},
		{"86  last", 86, true, true},
		{"999999999999999999", 999999999999999999, false, true},
		{"", 0, false, false},
		{"x", 0, false, false},
		{"-1", 0, false, false},
		{"+1", 0, false, false},
		{"1000000000000000000", 0, false, false},
		{"LAST", 0, false, false},
	}
	for _, tt := range tests {
		size, last, ok := ParseBDAT([]byte(tt.in))
		if size != tt.size || last != tt.last || ok != tt.ok {
			t.Errorf("%q: got %d %t %t, want %d %t %t", tt.in, size, last, ok, tt.size, tt.last, tt.ok)
		}
	}
	if _, _, ok := ParseBDAT([]byte("86 FIRST")); ok {
		t.Error("86 FIRST was taken")
	}
}

func TestParseAuth(t *testing.T) {
	tests := []struct {
		in, mechanism, initial string
		given, ok              bool
	}{
		{"PLAIN", "PLAIN", "", false, true},
		{"plain AGE=", "PLAIN", "AGE=", true, true},
		{"SCRAM-SHA-256-PLUS  =", "SCRAM-SHA-256-PLUS", "=", true, true},
		{"", "", "", false, false},
		{"PL(AIN", "", "", false, false},
		{"PLAIN a b", "PLAIN", "a b", true, false},
		{strings.Repeat("X", 21), "", "", false, false},
	}
	for _, tt := range tests {
		mechanism, initial, ok := ParseAuth([]byte(tt.in))
		if mechanism != tt.mechanism || string(initial) != tt.initial ||
			(initial != nil) != tt.given || ok != tt.ok {
			t.Errorf("%q: got %q %q %t", tt.in, mechanism, initial, ok)
		}
	}
}

func TestDecodeResponse(t *testing.T) {
	tests := []struct {
		in      string
		initial bool
		want    string
		ok      bool
	}{
		{"", false, "", true},
		{"=", true, "", true},
		{"=", false, "", false},
		{"YWxpY2U=", false, "alice", true},
		{"YWxpY2U", false, "", false},
		{"YWxpY2V=", false, "", false}, // bits after the end
		{"YW xpY2U=", false, "", false},
		{"YWxp\rY2U=", false, "", false},
		{"*", false, "", false},
	}
	for _, tt := range tests {
		got, ok := DecodeResponse([]byte(tt.in), tt.initial)
		if string(got) != tt.want || ok != tt.ok || ok && got == nil {
			t.Errorf("%q: got %q %t, want %q %t", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

// No line makes a parser panic, and what is taken is fit for logs.
func FuzzLine(f *testing.F) {
	for _, s := range []string{
		"EHLO mx.example.org", "MAIL FROM:<a@b> SIZE=1 BODY=8BITMIME", "RCPT TO:<c@d> NOTIFY=NEVER",
		"BDAT 10 LAST", "AUTH PLAIN AGFsaWNlAHNlY3JldA==", "MAIL FROM: <> AUTH=<> RET=FULL ENVID=a+20",
		`RCPT TO:<"x y"@[IPv6:::1]> ORCPT=utf-8;\x{41}`, "MAIL FROM:<a@b> HOLDFOR=1", "\x16\x03\x01",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var buf [MaxVerb]byte
		verb, args := SplitVerb([]byte(s), &buf)
		_ = verb
		from, p, refusal := ParseMail(args, testRules())
		if refusal == nil && strings.ContainsAny(from.String()+p.EnvelopeID+p.Auth, "\r\n\x00") {
			t.Errorf("%q: got %+v %+v", s, from, p)
		}
		to, rp, refusal := ParseRcpt(args, true)
		if refusal == nil && strings.ContainsAny(to.String()+rp.Original, "\r\n\x00") {
			t.Errorf("%q: got %+v %+v", s, to, rp)
		}
		if size, _, ok := ParseBDAT(args); ok && size < 0 {
			t.Errorf("%q: got %d", s, size)
		}
		if name, ok := ParseHello(args); ok && strings.ContainsAny(name, " \r\n\x00()<>") {
			t.Errorf("%q: got %q", s, name)
		}
		if _, initial, ok := ParseAuth(args); ok {
			DecodeResponse(initial, true)
		}
	})
}
