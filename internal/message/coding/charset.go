package coding

import (
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// charsetAliases are names that mail uses and the indexes of WHATWG and
// IANA do not know, in lower case.
var charsetAliases = map[string]string{
	"ansi":             "windows-1252",
	"ascii":            "windows-1252",
	"cp-850":           "ibm850",
	"cp850":            "ibm850",
	"cp932":            "shift_jis",
	"cp936":            "gbk",
	"cp949":            "euc-kr",
	"cp950":            "big5",
	"gb2312_charset":   "gbk",
	"iso-8859-1-win":   "windows-1252",
	"iso-2022-jp-ms":   "iso-2022-jp",
	"iso-8859-8-e":     "iso-8859-8",
	"ks_c_5601-1987":   "euc-kr",
	"latin-1":          "windows-1252",
	"latin-9":          "iso-8859-15",
	"ms932":            "shift_jis",
	"sjis":             "shift_jis",
	"unicode-1-1-utf8": "utf-8",
	"utf":              "utf-8",
	"utf-8mb4":         "utf-8",
	"utf8mb4":          "utf-8",
	"windows-31j":      "shift_jis",
	"windows1250":      "windows-1250",
	"windows1251":      "windows-1251",
	"windows1252":      "windows-1252",
	"windows-936":      "gbk",
	"x-mac-roman":      "macintosh",
	"x-roman8":         "hp-roman8",
	"x-unknown":        "utf-8",
	"unknown-8bit":     "utf-8",
	"unknown":          "utf-8",
}

// lookupCharset finds a charset by name; nil stands for ASCII and UTF-8,
// which need no table, and known says whether the name means anything.
func lookupCharset(name string) (e encoding.Encoding, known bool) {
	name = strings.Trim(strings.ToLower(name), " \t\"'")
	name, _, _ = strings.Cut(name, "*") // a language (RFC 2231 section 5)
	switch name {
	case "", "utf-8", "utf8", "us-ascii":
		return nil, true
	case "hz-gb-2312", "hz":
		return simplifiedchinese.HZGB2312, true
	case "utf-16":
		return unicode.UTF16(unicode.BigEndian, unicode.UseBOM), true
	}
	if alias, ok := charsetAliases[name]; ok {
		name = alias
	}
	e, err := htmlindex.Get(name)
	if err != nil || e == encoding.Replacement {
		e, err = ianaindex.MIME.Encoding(name)
	}
	if err != nil || e == nil {
		return nil, false
	}
	if e == unicode.UTF8 {
		return nil, true
	}
	return e, true
}

// Decode converts b from a charset to UTF-8. What is invalid, and what is not ASCII
// in a charset that nobody knows, becomes U+FFFD.
func Decode(charset string, b []byte) string {
	e, known := lookupCharset(charset)
	if e != nil {
		if out, err := e.NewDecoder().Bytes(b); err == nil {
			return string(out)
		}
	}
	if !known && !utf8.Valid(b) {
		return asciiOnly(b)
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

func asciiOnly(b []byte) string {
	var out strings.Builder
	for _, c := range b {
		if c < utf8.RuneSelf {
			out.WriteByte(c)
		} else {
			out.WriteRune(utf8.RuneError)
		}
	}
	return out.String()
}

// UTF8 gives s if it is UTF-8. Else it reads it as windows-1252, which
// most of the 8-bit mail without a charset is.
func UTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return Decode("windows-1252", []byte(s))
}

// NewReader converts what r gives from a charset to UTF-8. Invalid
// bytes become U+FFFD; a charset that nobody knows is read as UTF-8. The only
// errors are those of r.
func NewReader(r io.Reader, charset string) io.Reader {
	e, _ := lookupCharset(charset)
	if e == nil {
		e = unicode.UTF8
	}
	return transform.NewReader(r, e.NewDecoder())
}
