package message

import (
	"encoding/base64"
	"strings"
)

// DecodeWords decodes the encoded words of RFC 2047 in an unfolded value and
// gives UTF-8. Blanks between adjacent words vanish (section 6.2), and a
// character that a sender split across words is put together. What is no
// proper encoded word stays as it is; words inside other text, without the
// blanks that section 5 wants around them, are decoded too.
func DecodeWords(s string) string {
	i := strings.Index(s, "=?")
	if i < 0 {
		return ensureUTF8(s)
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
	bytes   []byte
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
	d.out.WriteString(ensureUTF8(s))
}

func (d *wordDecoder) word(w encodedWord) {
	if d.pending && !strings.EqualFold(d.charset, w.charset) {
		d.blanks = ""
		d.flush()
	}
	d.charset, d.pending, d.blanks = w.charset, true, ""
	d.bytes = append(d.bytes, w.bytes...)
}

func (d *wordDecoder) flush() {
	if d.pending {
		d.out.WriteString(decodeCharset(d.charset, d.bytes))
		d.out.WriteString(d.blanks)
	}
	d.bytes, d.pending, d.blanks = d.bytes[:0], false, ""
}

type encodedWord struct {
	charset string
	bytes   []byte
	len     int
}

// parseWord reads the encoded word at the start of s: =?charset?B?text?=
// (RFC 2047 section 2). Blanks within the text are let through, as in some
// Q words of careless programs.
func parseWord(s string) (encodedWord, bool) {
	charset, rest, ok := strings.Cut(s[2:], "?")
	if !ok || charset == "" || strings.ContainsAny(charset, " \t=\"(),<>@") || len(rest) < 2 || rest[1] != '?' {
		return encodedWord{}, false
	}
	enc, text := rest[0]|0x20, rest[2:]
	end := wordEnd(text)
	if end < 0 {
		return encodedWord{}, false
	}
	w := encodedWord{charset: charset, len: len(s) - len(text) + end + 2}
	switch text = text[:end]; enc {
	case 'q':
		w.bytes = decodeQ(text)
	case 'b':
		w.bytes = decodeB(text)
	default:
		return encodedWord{}, false
	}
	return w, true
}

// wordEnd finds the "?=" that ends the text of a word. In a Q word the text
// may end in a question mark that should have been encoded.
func wordEnd(text string) int {
	end := strings.Index(text, "?=")
	if end < 0 || strings.Contains(text[:end], "=?") {
		return -1
	}
	return end
}

// decodeQ decodes the Q encoding (RFC 2047 section 4.2).
func decodeQ(s string) []byte {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '_':
			b = append(b, ' ')
		case s[i] == '=' && i+2 < len(s):
			hi, ok1 := unhex(s[i+1])
			lo, ok2 := unhex(s[i+2])
			if !ok1 || !ok2 {
				b = append(b, '=')
				continue
			}
			b = append(b, hi<<4|lo)
			i += 2
		default:
			b = append(b, s[i])
		}
	}
	return b
}

// decodeB decodes base64, passing over what is not of its alphabet and
// with or without padding.
func decodeB(s string) []byte {
	clean := make([]byte, 0, len(s))
	for i := range len(s) {
		if isBase64(s[i]) {
			clean = append(clean, s[i])
		}
	}
	if len(clean)%4 == 1 {
		clean = clean[:len(clean)-1] // six bits that are no byte
	}
	n, err := base64.RawStdEncoding.Decode(clean, clean)
	if err != nil {
		return nil
	}
	return clean[:n]
}

func isBase64(c byte) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/'
}
