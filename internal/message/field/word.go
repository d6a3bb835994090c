package field

import (
	"strings"

	"postrider/internal/message/coding"
)

// DecodeWords decodes the encoded words of RFC 2047 in an unfolded value and
// gives UTF-8. Blanks between adjacent words vanish (section 6.2), and a
// character that a sender split across words is put together. What is no
// proper encoded word stays as it is; words inside other text, without the
// blanks that section 5 wants around them, are decoded too. Words cannot
// smuggle control bytes in: line ends and tabs become blanks, others vanish.
func DecodeWords(s string) string {
	i := strings.Index(s, "=?")
	if i < 0 {
		return coding.UTF8(s)
	}
	d := wordDecoder{}
	for s != "" {
		i := strings.Index(s, "=?")
		if i < 0 {
			break
		}
		w, ok := parseWord(s[i:])
		if !ok {
			d.text(s[:i+2])
			s = s[i+2:]
			continue
		}
		d.text(s[:i])
		d.word(w)
		s = s[i+w.len:]
	}
	d.text(s)
	d.flush()
	return d.out.String()
}

// A wordDecoder collects the text between words and the bytes of adjacent
// words of one charset.
type wordDecoder struct {
	out     strings.Builder
	charset string
	bytes   []byte // of the pending words
	sextets []byte // base64 of the pending words that makes no whole group yet
	pending bool   // bytes holds a word that is not written yet
	blanks  string // what stood after the pending word: nothing but blanks
}

func (d *wordDecoder) text(s string) {
	if s == "" {
		return
	}
	if d.pending && d.blanks == "" && strings.Trim(s, " \t\r\n") == "" {
		d.blanks = s
		return
	}
	d.flush()
	d.out.WriteString(coding.UTF8(s))
}

func (d *wordDecoder) word(w encodedWord) {
	if d.pending && !strings.EqualFold(d.charset, w.charset) {
		d.blanks = ""
		d.flush()
	}
	d.charset, d.pending, d.blanks = w.charset, true, ""
	if w.base64 {
		d.bytes, d.sextets = coding.AppendB(d.bytes, d.sextets, w.text)
		return
	}
	d.endBase64()
	d.bytes = coding.AppendQ(d.bytes, w.text)
}

func (d *wordDecoder) flush() {
	if d.pending {
		d.endBase64()
		d.out.WriteString(strings.Map(printable, coding.Decode(d.charset, d.bytes)))
		d.out.WriteString(d.blanks)
	}
	d.bytes, d.pending, d.blanks = d.bytes[:0], false, ""
}

func (d *wordDecoder) endBase64() {
	d.bytes, d.sextets = coding.EndB(d.bytes, d.sextets), d.sextets[:0]
}

func printable(r rune) rune {
	switch {
	case r == '\t' || r == '\r' || r == '\n':
		return ' '
	case r < ' ' || r == 0x7f:
		return -1
	}
	return r
}

// An encodedWord is a word before its text is decoded.
type encodedWord struct {
	charset string
	base64  bool
	text    string
	len     int
}

// maxWord is the longest text of an encoded word, in bytes. RFC 2047 section
// 2 allows 75; whole subjects in one word are seen. The bound keeps text full
// of beginnings of words from costing more than other text.
const maxWord = 8 << 10

// parseWord reads the encoded word at the start of s: =?charset?B?text?=
// (RFC 2047 section 2). Blanks within the text are let through, as in some
// Q words of careless programs.
func parseWord(s string) (encodedWord, bool) {
	charset, rest, ok := strings.Cut(s[2:], "?")
	if !ok || charset == "" || strings.ContainsAny(charset, " \t=\"(),<>@") ||
		len(rest) < 2 || rest[1] != '?' {
		return encodedWord{}, false
	}
	enc, text := rest[0]|0x20, rest[2:]
	end := strings.Index(text[:min(len(text), maxWord)], "?=")
	if end < 0 || enc != 'q' && enc != 'b' || strings.Contains(text[:end], "=?") {
		return encodedWord{}, false
	}
	w := encodedWord{charset: charset, base64: enc == 'b', text: text[:end]}
	w.len = len(s) - len(text) + end + 2
	return w, true
}
