package field_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"postrider/internal/message"
	"postrider/internal/message/field"
)

func FuzzAddressList(f *testing.F) {
	files, err := filepath.Glob("../testdata/*.eml")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds in testdata")
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		h, _ := message.ParseHeader(raw, message.Limits{})
		for _, name := range []string{"From", "Sender", "To", "Cc", "Bcc", "Reply-To"} {
			if s := h.Get(name); s != "" {
				f.Add(s)
			}
		}
	}
	for _, s := range []string{`"`, `a@b <`, `<@a:b`, `a:b:;`, `(`, `a@[`, `<"<`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		open := false
		for _, a := range field.ParseAddressList(s) {
			switch a.Mark {
			case field.GroupStart:
				if open {
					t.Error("a group in a group")
				}
				open = true
			case field.GroupEnd:
				if !open {
					t.Error("the end of no group")
				}
				open = false
			case field.Mailbox:
				if a == (field.Address{}) {
					t.Error("an address of nothing")
				}
			}
			a.DisplayName()
			a.Via()
			field.Unroute(a.Local)
		}
		if open {
			t.Error("a group without its end")
		}
		addr, err := field.ParseAddress(s)
		if err != nil {
			return
		}
		// What is accepted must come back the same when it is written.
		again, err := field.ParseAddress(addr.String())
		if err != nil || again != addr {
			t.Errorf("%q: got %+v, then %+v, error %v", s, addr, again, err)
		}
	})
}

func FuzzEncodedWord(f *testing.F) {
	for _, s := range []string{
		"=?utf-8?q?a?= =?utf-8?b?w6TDtg?=", "=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "=?x?q?=ff?=",
		"=?utf-8?q?=0d=0aBcc:_x?=", "=?", "=?=?=?", "=?utf-8?q??=", "=?utf-16?b?/v8AYQ==?=", "\xff",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := field.DecodeWords(s)
		if !utf8.ValidString(got) {
			t.Errorf("%q: got invalid UTF-8 %q", s, got)
		}
		if !strings.ContainsAny(s, "\r\n") && strings.ContainsAny(got, "\r\n") {
			t.Errorf("%q: got line ends in %q", s, got)
		}
		c, _ := field.ParseContentType("a/b; x=" + s)
		if got := c.Params.Lookup("x"); !utf8.ValidString(got) {
			t.Errorf("parameter %q: got invalid UTF-8 %q", s, got)
		}
	})
}

func FuzzDate(f *testing.F) {
	for _, s := range []string{
		"Sat, 21 Nov 2026 06:12:39 +0100", "Sat Nov 21 06:12:39 PST 2026", "21-Nov-98 6.12 EST",
		"(x) 1 Jan 00 0:0", "1 1 1 1:1", "99 Dec 99999 23:59:60 -2400",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := field.ParseDate(s)
		if ok != !got.IsZero() && got.Year() != 1 {
			t.Errorf("%q: got %v %v", s, got, ok)
		}
		if !ok {
			return
		}
		const layout = "2 Jan 2006 15:04:05 -0700"
		if got.Year() >= 100 {
			if again, ok := field.ParseDate(got.Format(layout)); !ok || !again.Equal(got) {
				t.Errorf("%q: got %v, then %v", s, got, again)
			}
		}
	})
}
