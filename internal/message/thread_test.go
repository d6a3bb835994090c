package message

import (
	"testing"
)

func TestThreadKey(t *testing.T) {
	tests := []struct {
		name, header string
		same         string // an id that leads to the same key
	}{
		{"references", "References: <a@b> <c@d>\r\nIn-Reply-To: <c@d>\r\nMessage-ID: <e@f>\r\n", "a@b"},
		{"in reply to", "In-Reply-To: <c@d>\r\nMessage-ID: <e@f>\r\n", "c@d"},
		{"message id", "Message-ID: <e@f>\r\n", "e@f"},
		{"blanks", "Message-ID: < e@\r\n f >\r\n", "e@f"},
		{"no brackets", "Message-ID: e@f\r\n", "e@f"},
		{"comment", "Message-ID: (x) <e@f>\r\n", "e@f"},
		{"double brackets", "Message-ID: <<e@f>>\r\n", "e@f"},
		{"empty references", "References: \r\nMessage-ID: <e@f>\r\n", "e@f"},
		{"junk references", "References: none\r\nMessage-ID: <e@f>\r\n", "e@f"},
		{"prose", "In-Reply-To: Your message of Monday <c@d>\r\n", "c@d"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, _ := ParseHeader([]byte(tt.header+"\r\n"), Limits{})
			if got, want := h.ThreadKey(), threadHash(tt.same); got != want || got <= 0 {
				t.Errorf("got %x, want %x", got, want)
			}
		})
	}
	if got := (Header{}).ThreadKey(); got != 0 {
		t.Errorf("without ids: got %x, want 0", got)
	}
	// The hash is stored; this value must never change.
	if got, want := threadHash("first@example.net"), int64(0x5e8b832e5d9015fd); got != want {
		t.Errorf("threadHash: got %x, want %x", got, want)
	}
}
