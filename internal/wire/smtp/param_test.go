package smtp

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postrider/internal/mail"
)

var testNow = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func testRules() MailRules {
	return MailRules{
		RequireTLS: true, MaxHold: time.Hour, Now: func() time.Time { return testNow },
	}
}

func TestParseMail(t *testing.T) {
	bob := mail.Address{Local: "bob", Domain: "example.org"}
	tests := []struct {
		name string
		in   string
		from mail.Address
		want mail.MailParams
	}{
		{"alone", "FROM:<bob@example.org>", bob, mail.MailParams{}},
		{"lower case, spaces", "from:  <bob@example.org>  ", bob, mail.MailParams{}},
		{"null", "FROM:<>", mail.Address{}, mail.MailParams{}},
		{"size", "FROM:<bob@example.org> SIZE=4096", bob, mail.MailParams{Size: 4096}},
		{"size 0", "FROM:<bob@example.org> SIZE=0", bob, mail.MailParams{}},
		{"size with zeros", "FROM:<bob@example.org> SIZE=00000000000000000007", bob,
			mail.MailParams{Size: 7}},
		{"huge size", "FROM:<bob@example.org> SIZE=99999999999999999999", bob,
			mail.MailParams{Size: 1<<63 - 1}},
		{"7 bit", "FROM:<bob@example.org> BODY=7BIT", bob, mail.MailParams{}},
		{"8 bit", "FROM:<bob@example.org> body=8bitmime", bob,
			mail.MailParams{Body: mail.Body8BitMIME}},
		{"binary", "FROM:<bob@example.org> BODY=BINARYMIME", bob,
			mail.MailParams{Body: mail.BodyBinaryMIME}},
		{"UTF-8", "FROM:<jörg@x> SMTPUTF8", mail.Address{Local: "jörg", Domain: "x"},
			mail.MailParams{UTF8: true}},
		{"require TLS", "FROM:<bob@example.org> REQUIRETLS", bob,
			mail.MailParams{RequireTLS: true}},
		{"auth", "FROM:<bob@example.org> AUTH=e+3Dmc2@example.com", bob,
			mail.MailParams{Auth: "e=mc2@example.com"}},
		{"auth unknown", "FROM:<bob@example.org> AUTH=<>", bob, mail.MailParams{Auth: "<>"}},
		{"DSN", "FROM:<bob@example.org> RET=hdrs ENVID=QQ314159+20x", bob,
			mail.MailParams{Return: "HDRS", EnvelopeID: "QQ314159 x"}},
		{"full", "FROM:<bob@example.org> RET=FULL", bob, mail.MailParams{Return: "FULL"}},
		{"hold for", "FROM:<bob@example.org> HOLDFOR=60", bob,
			mail.MailParams{HoldUntil: testNow.Add(time.Minute)}},
		{"hold until", "FROM:<bob@example.org> HOLDUNTIL=2026-01-02T04:00:00+01:00", bob,
			mail.MailParams{HoldUntil: time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)}},
		{"many", "FROM:<bob@example.org> SIZE=1  BODY=8BITMIME SMTPUTF8", bob,
			mail.MailParams{Size: 1, Body: mail.Body8BitMIME, UTF8: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from, got, refusal := ParseMail([]byte(tt.in), testRules())
			if refusal != nil {
				t.Fatalf("refused: %v", refusal)
			}
			if from != tt.from {
				t.Errorf("got %+v, want %+v", from, tt.from)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("parameters (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseMailRefused(t *testing.T) {
	tests := []struct {
		name string
		in   string
		want *mail.Reply
	}{
		{"empty", "", errMailSyntax},
		{"no colon", "FROM <b@x>", errMailSyntax},
		{"to", "TO:<b@x>", errMailSyntax},
		{"glued", "FROM:<b@x>SIZE=1", errMailSyntax},
		{"no domain", "FROM:<b>", mailFaults[noDomain]},
		{"postmaster", "FROM:<postmaster>", mailFaults[noDomain]},
		{"unknown", "FROM:<b@x> FOO=1", errUnknown},
		{"no name", "FROM:<b@x> =1", errUnknown},
		{"of RCPT", "FROM:<b@x> NOTIFY=NEVER", errUnknown},
		{"twice", "FROM:<b@x> SIZE=1 size=1", errTwice},
		{"size without", "FROM:<b@x> SIZE", errSize},
		{"size empty", "FROM:<b@x> SIZE=", errSize},
		{"size negative", "FROM:<b@x> SIZE=-1", errSize},
		{"size no number", "FROM:<b@x> SIZE=1111111111111111111x", errSize},
		{"size too many digits", "FROM:<b@x> SIZE=" + strings.Repeat("1", 21), errSize},
		{"body", "FROM:<b@x> BODY=16BIT", errBody},
		{"flag with value", "FROM:<b@x> SMTPUTF8=1", errFlag},
		{"flag with empty value", "FROM:<b@x> REQUIRETLS=", errFlag},
		{"UTF-8 address without", "FROM:<jörg@x>", errMailUTF8},
		{"auth", "FROM:<b@x> AUTH=nobody", errAuth},
		{"auth empty", "FROM:<b@x> AUTH=", errAuth},
		{"auth no xtext", "FROM:<b@x> AUTH=a+3d@x", errAuth},
		{"ret", "FROM:<b@x> RET=SOME", errReturn},
		{"envid empty", "FROM:<b@x> ENVID=", errEnvelopeID},
		{"envid control", "FROM:<b@x> ENVID=a+0D+0A", errEnvelopeID},
		{"envid long", "FROM:<b@x> ENVID=" + strings.Repeat("x", 101), errEnvelopeID},
		{"envid cut", "FROM:<b@x> ENVID=a+4", errEnvelopeID},
		{"hold", "FROM:<b@x> HOLDFOR=soon", errHold},
		{"hold digits", "FROM:<b@x> HOLDFOR=0000000060", errHold},
		{"hold long", "FROM:<b@x> HOLDFOR=3601", errHoldLong},
		{"hold until long", "FROM:<b@x> HOLDUNTIL=2027-01-01T00:00:00Z", errHoldLong},
		{"hold until", "FROM:<b@x> HOLDUNTIL=tomorrow", errHold},
		{"hold both", "FROM:<b@x> HOLDFOR=1 HOLDUNTIL=2026-01-02T03:04:06Z", errHoldTwice},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, got := ParseMail([]byte(tt.in), testRules())
			if got != tt.want {
				t.Errorf("got  %v\nwant %v", got, tt.want)
			}
		})
	}
	rules := testRules()
	rules.RequireTLS = false
	if _, _, got := ParseMail([]byte("FROM:<b@x> REQUIRETLS"), rules); got != errUnknown {
		t.Errorf("REQUIRETLS in clear text: got %v, want %v", got, errUnknown)
	}
}

func TestParseRcpt(t *testing.T) {
	bob := mail.Address{Local: "bob", Domain: "x"}
	tests := []struct {
		name string
		in   string
		utf8 bool
		to   mail.Address
		want mail.RcptParams
		no   *mail.Reply
	}{
		{name: "alone", in: "TO:<bob@x>", to: bob},
		{name: "space", in: "To: <bob@x> ", to: bob},
		{name: "postmaster", in: "TO:<postmaster>", to: mail.Address{Local: "postmaster"}},
		{name: "never", in: "TO:<bob@x> NOTIFY=never", to: bob,
			want: mail.RcptParams{Notify: "NEVER"}},
		{name: "notify", in: "TO:<bob@x> NOTIFY=delay,SUCCESS", to: bob,
			want: mail.RcptParams{Notify: "SUCCESS,DELAY"}},
		{name: "original", in: "TO:<bob@x> ORCPT=RFC822;Bob+2Bx@Y", to: bob,
			want: mail.RcptParams{Original: "rfc822;Bob+x@Y"}},
		{name: "original in UTF-8", in: `TO:<bob@x> ORCPT=utf-8;j\x{F6}rg@x`, to: bob,
			want: mail.RcptParams{Original: "utf-8;jörg@x"}},
		{name: "UTF-8", in: "TO:<jörg@x>", utf8: true, to: mail.Address{Local: "jörg", Domain: "x"}},
		{name: "UTF-8 without", in: "TO:<jörg@x>", no: errRcptUTF8},
		{name: "null", in: "TO:<>", no: rcptFaults[nullPath]},
		{name: "from", in: "FROM:<bob@x>", no: errRcptSyntax},
		{name: "glued", in: "TO:<bob@x>NOTIFY=NEVER", no: errRcptSyntax},
		{name: "of MAIL", in: "TO:<bob@x> SIZE=1", no: errUnknown},
		{name: "twice", in: "TO:<bob@x> NOTIFY=NEVER NOTIFY=NEVER", no: errTwice},
		{name: "never and more", in: "TO:<bob@x> NOTIFY=NEVER,DELAY", no: errNotify},
		{name: "same twice", in: "TO:<bob@x> NOTIFY=DELAY,DELAY", no: errNotify},
		{name: "notify empty", in: "TO:<bob@x> NOTIFY=", no: errNotify},
		{name: "original without type", in: "TO:<bob@x> ORCPT=bob@x", no: errOriginal},
		{name: "original control", in: "TO:<bob@x> ORCPT=rfc822;a+0A", no: errOriginal},
		{name: "original surrogate", in: `TO:<bob@x> ORCPT=utf-8;\x{D800}`, no: errOriginal},
		{name: "original open", in: `TO:<bob@x> ORCPT=utf-8;\x{41`, no: errOriginal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			to, got, refusal := ParseRcpt([]byte(tt.in), tt.utf8)
			if refusal != tt.no {
				t.Fatalf("got  %v\nwant %v", refusal, tt.no)
			}
			if to != tt.to || got != tt.want {
				t.Errorf("got  %+v %+v\nwant %+v %+v", to, got, tt.to, tt.want)
			}
		})
	}
}

func TestXtext(t *testing.T) {
	for _, s := range []string{"", "plain", "a+b=c d", "\x00\xff", "jörg"} {
		got, ok := decodeXtext(AppendXtext(nil, s))
		if !ok || got != s {
			t.Errorf("%q: got %q, %t", s, got, ok)
		}
	}
}

func TestParseMailAllocations(t *testing.T) {
	in := []byte("FROM:<some.body@example.org> SIZE=1000 BODY=8BITMIME")
	rules := testRules()
	got := testing.AllocsPerRun(100, func() { ParseMail(in, rules) })
	if got > 1 {
		t.Errorf("got %v allocations, want 1, the address", got)
	}
}
