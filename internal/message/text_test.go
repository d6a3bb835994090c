package message

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestDecodeWords(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"none", "plain text", "plain text"},
		{"q", "=?iso-8859-1?q?this=20is=20some=20text?=", "this is some text"},
		{"b", "=?utf-8?b?w6TDtg==?=", "äö"},
		{"b without padding", "=?utf-8?b?w6TDtg?=", "äö"},
		{"lower case hex", "=?utf-8?q?=c3=a4?=", "ä"},
		{"underscore", "=?utf-8?q?a_b?=", "a b"},
		{"adjacent", "=?utf-8?q?a?= =?utf-8?q?b?=", "ab"},
		{"adjacent, folded", "=?utf-8?q?a?=\r\n =?utf-8?q?b?=", "ab"},
		{"adjacent, no blank", "=?utf-8?q?a?==?utf-8?q?b?=", "ab"},
		{"text between", "=?utf-8?q?a?= and =?utf-8?q?b?=", "a and b"},
		{"blank at the end", "=?utf-8?q?a?= ", "a "},
		{"text before", "Re: =?utf-8?q?a?=", "Re: a"},
		{"split character", "=?utf-8?q?=C3?= =?utf-8?q?=A4?=", "ä"},
		{"split base64 group", "=?utf-8?b?w6?= =?utf-8?b?TDtg==?=", "äö"},
		{"two charsets", "=?iso-8859-1?q?=E4?= =?utf-8?q?=C3=A4?=", "ää"},
		{"two encodings", "=?utf-8?q?=C3?= =?utf-8?b?pA==?=", "ä"},
		{"language", "=?us-ascii*en?q?hi?=", "hi"},
		{"unknown charset", "=?x-klingon?q?a=E4?=", "a\uFFFD"},
		{"unknown charset, UTF-8", "=?x-klingon?q?=C3=A4?=", "ä"},
		{"invalid UTF-8", "=?utf-8?q?a=FFb?=", "a\uFFFDb"},
		{"unknown encoding", "=?utf-8?x?a?=", "=?utf-8?x?a?="},
		{"unclosed", "=?utf-8?q?a", "=?utf-8?q?a"},
		{"unclosed, then good", "=?utf-8?q?a =?utf-8?q?b?=", "=?utf-8?q?a b"},
		{"no charset", "=??q?a?=", "=??q?a?="},
		{"empty text", "a =?utf-8?q??= b", "a  b"},
		{"bad hex", "=?utf-8?q?=4x=?=", "=4x="},
		{"blank in q", "=?utf-8?q?a b?=", "a b"},
		{"control bytes", "=?utf-8?q?a=0D=0ABcc:_x=00=1B?=", "a  Bcc: x"},
		{"junk in b", "=?utf-8?b?w6*TD tg==?=", "äö"},
		{"gb2312", "=?gb2312?b?1tDOxA==?=", "中文"},
		{"iso-2022-jp", "=?ISO-2022-JP?B?GyRCRnxLXBsoQg==?=", "日本"},
		{"8-bit text", "Gr\xfc\xdfe", "Grüße"},
		{"8-bit text and word", "\xfc =?utf-8?q?=C3=BC?=", "ü ü"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := DecodeWords(tt.in); got != tt.want {
				t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

// TestDecodeWordsOracle reads what the standard library wrote.
func TestDecodeWordsOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[ -~äöü日本語€]{0,200}`).Draw(t, "text")
		enc := rapid.SampledFrom([]mime.WordEncoder{mime.QEncoding, mime.BEncoding}).Draw(t, "encoding")
		in := enc.Encode("utf-8", s)
		want, err := new(mime.WordDecoder).DecodeHeader(in)
		if err != nil {
			t.Skip(err)
		}
		if got := DecodeWords(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	})
}

func TestParams(t *testing.T) {
	tests := []struct{ name, in, param, want string }{
		{"plain", "a/b; x=y", "x", "y"},
		{"quoted", `a/b; x="y; z=\"w\""`, "x", `y; z="w"`},
		{"upper case", "a/b; X=Y", "x", "Y"},
		{"none", "a/b; x=y", "z", ""},
		{"first of two", "a/b; x=1; x=2", "x", "1"},
		{"extended", "a/b; x*=utf-8'de'%C3%A4", "x", "ä"},
		{"extended wins", "a/b; x=a; x*=utf-8''%C3%A4", "x", "ä"},
		{"extended latin", "a/b; x*=iso-8859-1''%E4", "x", "ä"},
		{"extended without quotes", "a/b; x*=%41", "x", "A"},
		{"extended bad escapes", "a/b; x*=utf-8''%4%zz%", "x", "%4%zz%"},
		{"extended unknown charset", "a/b; x*=x-y''a%E4", "x", "a\uFFFD"},
		{"continued", "a/b; x*0=a; x*1=b; x*2=c", "x", "abc"},
		{"continued in any order", "a/b; x*1=b; x*0=a", "x", "ab"},
		{"continued with a gap", "a/b; x*0=a; x*2=c", "x", "a"},
		{"continued, mixed", "a/b; x*0*=utf-8''%C3; x*1*=%A4; x*2=%41", "x", "ä%41"},
		{"continued above ten", "a/b; x*0=a; x*1=b; x*2=c; x*3=d; x*4=e; x*5=f; x*6=g; x*7=h;" +
			"x*8=i; x*9=j; x*10=k; x*11=l", "x", "abcdefghijkl"},
		{"only a late piece", "a/b; x*1=b; x=a", "x", "a"},
		{"encoded word", "a/b; x=\"=?utf-8?q?=C3=A4?=\"", "x", "ä"},
		{"8-bit", "a/b; x=\"\xe4\"", "x", "ä"},
		{"longer name", "a/b; xx=1; x=2", "x", "2"},
		{"comments", "a/b (c); (c) x (c) = (c) y (c); z=1", "x", "y"},
		{"missing semicolon", "a/b x=y z=w", "z", "w"},
		{"unclosed quote", `a/b; x="y z; w=1`, "x", "y z"},
		{"no value", "a/b; x; y=1", "y", "1"},
		{"empty value", "a/b; x=; y=1", "y", "1"},
		{"unquoted specials", "a/b; x=c:/d?e=f", "x", "c:/d?e=f"},
		{"blanks, unquoted", "a/b; x=a file.txt; y=1", "x", "a file.txt"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := parseContentType(clean(tt.in))
			if got := c.params.Lookup(tt.param); got != tt.want {
				t.Errorf("%s: got %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

// TestContentTypeOracle compares with package mime on well formed values.
func TestContentTypeOracle(t *testing.T) {
	name := rapid.StringMatching(`[a-z][a-z0-9-]{0,8}`)
	value := rapid.StringMatching(`[ -~äöü]{0,30}`)
	rapid.Check(t, func(t *rapid.T) {
		params := rapid.MapOfN(name, value, 0, 5).Draw(t, "params")
		in := mime.FormatMediaType("text/x-"+name.Draw(t, "subtype"), params)
		media, want, err := mime.ParseMediaType(in)
		if err != nil {
			t.Skip(err)
		}
		got, ok := parseContentType(in)
		if !ok || got.broken || got.typ+"/"+got.subtype != media {
			t.Fatalf("%s: got %+v", in, got)
		}
		for k, v := range want {
			if g := got.params.Lookup(k); g != v && !strings.Contains(v, "=?") {
				t.Errorf("%s: %s: got %q, want %q", in, k, g, v)
			}
		}
	})
}

func TestDecoders(t *testing.T) {
	tests := []struct{ name, encoding, in, want string }{
		{"base64", "base64", "SGVsbG8=", "Hello"},
		{"base64, lines", "base64", "SGVs\r\nbG8=\r\n", "Hello"},
		{"base64, lines at odd places", "base64", "SGVsb\r\nG8=\r\n", "Hello"},
		{"base64, no padding", "base64", "SGVsbG8", "Hello"},
		{"base64, junk", "base64", "S-G V\x00sbG8=!", "Hello"},
		{"base64, two texts", "base64", "SGVsbG8=SGVsbG8=", "HelloHello"},
		{"base64, one sextet", "base64", "SGVsS", "Hel"},
		{"base64, nothing", "base64", "=\r\n==", ""},
		{"qp", "quoted-printable", "a=3Db=C3=A4", "a=bä"},
		{"qp, soft break", "quoted-printable", "a=\r\nb=\nc= \t\r\nd", "abcd"},
		{"qp, blanks at the end", "quoted-printable", "a \t\r\nb", "a\r\nb"},
		{"qp, bad escapes", "quoted-printable", "=zz =4 =\t=", "=zz =4 =\t"},
		{"qp, 8-bit", "quoted-printable", "\xc3\xa4=A", "ä=A"},
		{"qp, bare LF", "quoted-printable", "a\nb=0A", "a\nb\n"},
		{"uuencode", "x-uuencode", "begin 644 x\n#0V%T\n`\nend\n", "Cat"},
		{"uuencode, cut", "uuencode", "junk\nbegin 644 x\r\n#0V", "C`\x00"},
		{"unknown", "x-other", "=41", "=41"},
		{"7bit", "7bit", "=41", "=41"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.in),
				iotest.OneByteReader(strings.NewReader(tt.in)),
				iotest.DataErrReader(strings.NewReader(tt.in))} {
				got, err := io.ReadAll(NewDecoder(r, tt.encoding))
				if err != nil || string(got) != tt.want {
					t.Errorf("%q: got %q, error %v, want %q", tt.in, got, err, tt.want)
				}
			}
			broken := io.MultiReader(strings.NewReader(tt.in), iotest.ErrReader(io.ErrClosedPipe))
			if _, err := io.ReadAll(NewDecoder(broken, tt.encoding)); err != io.ErrClosedPipe {
				t.Errorf("got error %v of a broken source", err)
			}
		})
	}
}

// TestDecodersOracle decodes what the standard library encoded, and what is
// far longer than the buffers.
func TestDecodersOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "unit")
		data := bytes.Repeat(unit, rapid.IntRange(1, 40).Draw(t, "times"))
		var qp bytes.Buffer
		w := quotedprintable.NewWriter(&qp)
		w.Binary = true
		w.Write(data)
		w.Close()
		b64 := base64.StdEncoding.EncodeToString(data)
		if width := rapid.IntRange(0, 80).Draw(t, "width"); width > 0 {
			var lines strings.Builder
			for len(b64) > width {
				lines.WriteString(b64[:width] + "\r\n")
				b64 = b64[width:]
			}
			b64 = lines.String() + b64
		}
		for encoding, coded := range map[string]string{"base64": b64, "quoted-printable": qp.String()} {
			got, err := io.ReadAll(NewDecoder(strings.NewReader(coded), encoding))
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%s of %d bytes: got %d bytes, error %v", encoding, len(data), len(got), err)
			}
		}
	})
}

// TestQuotedPrintableLongLine has escapes and blanks at the edges of pieces.
func TestQuotedPrintableLongLine(t *testing.T) {
	for pad := range 8 {
		long := strings.Repeat("=C3=A4 x", 3000) + strings.Repeat(" ", pad) + "=41"
		in := strings.Repeat("y", pad) + long + strings.Repeat(" ", 3*maxCodedLine) + "\r\nend"
		want := strings.Repeat("y", pad) + strings.Repeat("ä x", 3000) + strings.Repeat(" ", pad) + "A"
		got, err := io.ReadAll(NewDecoder(strings.NewReader(in), "quoted-printable"))
		if err != nil {
			t.Fatal(err)
		}
		// Blanks longer than a piece are not worth holding back.
		if g := strings.ReplaceAll(string(got), " \r\n", "\r\n"); !strings.HasPrefix(g, want) ||
			!strings.HasSuffix(g, "\r\nend") {
			t.Fatalf("pad %d: got %d bytes, want %d", pad, len(g), len(want))
		}
	}
}

func TestCharsets(t *testing.T) {
	tests := []struct{ charset, in, want string }{
		{"utf-8", "ä", "ä"}, {"UTF8", "ä\xff", "ä\uFFFD"}, {"", "ä", "ä"},
		{"us-ascii", "ä", "ä"}, {"iso-8859-1", "\xe4\x80", "ä€"}, {"Latin1", "\xe4", "ä"},
		{"iso-8859-15", "\xa4", "€"}, {"windows-1251", "\xcf", "П"}, {"koi8-r", "\xf0", "П"},
		{"gbk", "\xd6\xd0", "中"}, {"gb18030", "\xd6\xd0", "中"}, {"big5", "\xa4\xa4", "中"},
		{"hz-gb-2312", "~{VP~}", "中"}, {"euc-kr", "\xc7\xd1", "한"},
		{"ks_c_5601-1987", "\xc7\xd1", "한"},
		{"cp932", "\x93\xfa", "日"}, {"euc-jp", "\xc6\xfc", "日"}, {"cp850", "\x81", "ü"},
		{"macintosh", "\x8a", "ä"}, {"utf-16", "\xfe\xff\x00a", "a"}, {"utf-16le", "a\x00", "a"},
		{"ibm437", "\x81", "ü"}, {"x-unknown", "a\xe4", "a\uFFFD"}, {"no such thing", "ä", "ä"},
		{`"utf-8"`, "ä", "ä"}, {"iso-2022-kr", "a", "a"},
	}
	for _, tt := range tests {
		if got := decodeCharset(tt.charset, []byte(tt.in)); got != tt.want {
			t.Errorf("%s %q: got %q, want %q", tt.charset, tt.in, got, tt.want)
		}
		r := NewCharsetReader(iotest.OneByteReader(strings.NewReader(tt.in)), tt.charset)
		if got, err := io.ReadAll(r); err != nil || string(got) != tt.want {
			t.Errorf("reader of %s %q: got %q, error %v, want %q", tt.charset, tt.in, got, err, tt.want)
		}
	}
}

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

func TestMessageIDs(t *testing.T) {
	for in, want := range map[string][]string{
		"<a@b> <c@d>": {"a@b", "c@d"}, "<a@b><c@d>": {"a@b", "c@d"}, "a@b c@d": {"a@b", "c@d"},
		"<a@b> , <c@d": {"a@b", "c@d"}, "": nil, "<>": nil, "words only": nil, "<no-at>": {"no-at"},
	} {
		if d := cmp.Diff(want, MessageIDs(in)); d != "" {
			t.Errorf("%s (- want, + got):\n%s", in, d)
		}
	}
}

func TestBaseSubject(t *testing.T) {
	tests := []struct {
		in, want string
		reply    bool
	}{
		{"hello", "hello", false},
		{"  hello \t world ", "hello world", false},
		{"Re: hello", "hello", true},
		{"RE : hello", "hello", true},
		{"Fwd: Re: FW: hello", "hello", true},
		{"Re[2]: hello", "hello", true},
		{"Re [list] : hello", "hello", true},
		{"[list] Re: [list] hello", "hello", true},
		{"[list] hello", "hello", false},
		{"[only a blob]", "[only a blob]", false},
		{"hello (fwd) (FWD)", "hello", true},
		{"[Fwd: hello]", "hello", true},
		{"[Fwd: Re: [x] hello (fwd)]", "hello", true},
		{"Re:", "", true},
		{"", "", false},
		{"reply: hello", "reply: hello", false},
		{"re hello", "re hello", false},
		{"[a][b] hello", "hello", false},
		{"[a[b]] hello", "[a[b]] hello", false},
		{"Re: [nested [x] hello", "[nested [x] hello", true},
	}
	for _, tt := range tests {
		if got, reply := BaseSubject(tt.in); got != tt.want || reply != tt.reply {
			t.Errorf("%q: got %q %v, want %q %v", tt.in, got, reply, tt.want, tt.reply)
		}
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
