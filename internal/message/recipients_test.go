package message

import (
	"io"
	"strings"
	"testing"

	"postrider/internal/mail"
)

func TestRecipients(t *testing.T) {
	tests := []struct{ name, header, want, err string }{
		{"all three", "To: a@b\r\nCc: C <c@D.Example>\r\nBcc: e@f, a@B\r\n", "a@b c@d.example e@f", ""},
		{"group", "To: G: a@b, c@d;\r\n", "a@b c@d", ""},
		{"local", "To: postmaster\r\n", "postmaster", ""},
		{"literal", "To: a@[192.0.2.1], b@[IPv6:2001:db8::1]\r\n",
			"a@[192.0.2.1] b@[ipv6:2001:db8::1]", ""},
		{"route", "To: <@x:a@b>\r\n", "a@b", ""},
		{"percent", "To: a%b@c\r\n", "a%b@c", ""},
		{"quoted", "To: \"a b\"@c\r\n", `"a b"@c`, ""},
		{"folded", "To: a@b,\r\n c@d\r\n", "a@b c@d", ""},
		{"none", "From: a@b\r\n", "", "no recipient"},
		{"only an empty group", "To: undisclosed:;\r\n", "", "no recipient"},
		{"resent", "Resent-To: a@b\r\nResent-Bcc: c@d\r\nReceived: x\r\nResent-To: e@f\r\nTo: g@h\r\n",
			"a@b c@d", ""},
		{"unclosed quote", "To: a@b, \"Ann <c@d>\r\n", "", `To: "Ann <c@d>`},
		{"unclosed bracket", "Cc: a@b, Ann <c@d, e@f\r\n", "", "Cc: Ann <c@d"},
		{"junk", "To: <a@b> junk\r\n", "", "To: junk"},
		{"blank in address", "To: mis sing@b\r\n", "", "To: mis sing@b"},
		{"no local", "To: <@b>\r\n", "", "To: <@b>"},
		{"no domain behind at", "To: a@\r\n", "", "To: a@"},
		{"bad domain", "To: a@b..c\r\n", "", "To: a@b..c"},
		{"bad literal", "To: a@[300.1.1.1]\r\n", "", "To: a@[300.1.1.1]"},
		{"control byte", "To: \"a\x01b\"@c\r\n", "ab@c", ""},
		{"double brackets", "To: <<a@b>>\r\n", "", "To: <<a@b>>"},
		{"missing comma", "To: a@b c@d\r\n", "", "To: a@b c@d"},
		{"name without address", "To: Doe, John <j@d>\r\n", "Doe j@d", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, _ := ParseHeader([]byte(tt.header+"\r\n"), Limits{})
			got, err := Recipients(h)
			var s []string
			for _, a := range got {
				s = append(s, a.String())
			}
			if g := strings.Join(s, " "); g != tt.want {
				t.Errorf("got %q, want %q", g, tt.want)
			}
			if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got error %v, want %q", err, tt.err)
			}
			if err != nil && mail.KindOf(err) != mail.Invalid {
				t.Errorf("got kind %v, want Invalid", mail.KindOf(err))
			}
		})
	}
	h, _ := ParseHeader([]byte("To: a@b\r\nX: y\r\n\r\n"), Limits{Fields: 1})
	if _, err := Recipients(h); err == nil {
		t.Error("a header that was cut gave recipients without an error")
	}
}

func TestWithoutBcc(t *testing.T) {
	raw := "Bcc: first@x\r\nTo: a@b\r\nBCC: c@d,\r\n e@f\r\nResent-Bcc: g@h\r\n" +
		"Subject: s\r\n\r\nBcc: body\r\n"
	h, _ := ParseHeader([]byte(raw), Limits{})
	got, err := io.ReadAll(Without(strings.NewReader(raw), int64(len(raw)), BccRanges(h)))
	if want := "To: a@b\r\nSubject: s\r\n\r\nBcc: body\r\n"; err != nil || string(got) != want {
		t.Errorf("got %q, error %v, want %q", got, err, want)
	}
	got, _ = io.ReadAll(Without(strings.NewReader(raw), int64(len(raw)), nil))
	if string(got) != raw {
		t.Errorf("without ranges: got %q", got)
	}
}
