package blobtest

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
)

// Text makes n bytes of plain text as people write it: lines of words, a few
// of them very often. The same n and seed give the same bytes.
func Text(n int, seed uint64) []byte {
	w := newWords(seed)
	b := make([]byte, 0, n+100)
	b = append(b, "Received: from mail.example.org by mx.example.net with ESMTPS;\r\n"+
		"From: Ann <ann@example.org>\r\nTo: Bob <bob@example.net>\r\nSubject: "...)
	b = append(w.line(b), "\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"...)
	for len(b) < n {
		for range 1 + w.rand.IntN(12) {
			b = append(w.line(b), "\r\n"...)
		}
		b = append(b, "\r\n"...)
	}
	return b[:n]
}

// HTML makes n bytes of a newsletter.
func HTML(n int, seed uint64) []byte {
	w := newWords(seed)
	b := make([]byte, 0, n+1000)
	b = append(b, "Content-Type: text/html; charset=utf-8\r\n\r\n<html><body>\r\n"...)
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, `<table width="600" cellpadding="0" cellspacing="0" border="0"><tr>`+
			`<td align="center" style="font-family: Arial, sans-serif; font-size: %dpx; color: `+
			"#%06x; padding: 0 20px\">\r\n<a href=\"https://news.example.org/c/%016x/%d\">\r\n",
			12+i%5, w.rand.IntN(1<<24), w.rand.Uint64(), i)
		b = append(w.line(b), "</a>\r\n<p>"...)
		for range 3 {
			b = append(w.line(b), "\r\n"...)
		}
		b = append(b, "</p></td></tr></table>\r\n"...)
	}
	return b[:n]
}

// Base64 makes n bytes of an attachment that is compressed already.
func Base64(n int, seed uint64) []byte {
	data := base64.StdEncoding.EncodeToString(Body(n*3/4+3, seed))
	b := make([]byte, 0, n+200)
	b = append(b, "Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n"...)
	for len(b) < n {
		k := min(76, len(data))
		b = append(append(b, data[:k]...), "\r\n"...)
		data = data[k:]
	}
	return b[:n]
}

// words draws from a vocabulary of its own, the first words most often.
type words struct {
	rand      *rand.Rand
	zipf      *rand.Zipf
	seed      uint64
	syllables []string
}

func newWords(seed uint64) *words {
	r := rand.New(rand.NewPCG(seed, 7))
	return &words{rand: r, zipf: rand.NewZipf(r, 1.2, 8, 3999), seed: seed,
		syllables: strings.Fields("a the in of to an er on re en st al or ti is at ar te se co de le " +
			"ver men for ing ion ent com pro per con tion ment able ough ight ess")}
}

// word appends the word with number n: up to four syllables.
func (w *words) word(b []byte, n uint64) []byte {
	h := (n + w.seed*5000 + 1) * 0x9e3779b97f4a7c15
	for range 1 + h>>62 {
		h = h<<13 | h>>51
		b = append(b, w.syllables[h%uint64(len(w.syllables))]...)
	}
	return append(b, ' ')
}

// line appends up to 72 bytes of words.
func (w *words) line(b []byte) []byte {
	end := len(b) + 40 + w.rand.IntN(24)
	for len(b) < end {
		b = w.word(b, w.zipf.Uint64())
	}
	return b
}
