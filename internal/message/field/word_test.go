package field

import (
	"mime"
	"testing"

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
