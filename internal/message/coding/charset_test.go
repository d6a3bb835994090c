package coding

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

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
		if got := Decode(tt.charset, []byte(tt.in)); got != tt.want {
			t.Errorf("%s %q: got %q, want %q", tt.charset, tt.in, got, tt.want)
		}
		r := NewReader(iotest.OneByteReader(strings.NewReader(tt.in)), tt.charset)
		if got, err := io.ReadAll(r); err != nil || string(got) != tt.want {
			t.Errorf("reader of %s %q: got %q, error %v, want %q", tt.charset, tt.in, got, err, tt.want)
		}
	}
}
