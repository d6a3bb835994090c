package field

import (
	"strings"
	"time"
)

// ParseDate reads the value of a Date field (RFC 5322 section 3.3), the
// obsolete forms of section 4.3, and what real mail has besides: no seconds,
// no or a wrong day of the week, more zones by name, years of two or three
// digits, asctime's order, points in the clock, hyphens between the parts.
// Comments are passed over. The time is given in the zone that was written,
// which is UTC if nobody can tell. It says false if there is no date in it.
func ParseDate(s string) (time.Time, bool) {
	var d dateParts
	d.day, d.month, d.year = -1, -1, -1
	var buf [16]string
	words := dateWords(buf[:0], s)
	for _, w := range words {
		d.word(w)
	}
	if d.day < 1 || d.day > 31 || d.month < 0 || d.year < 0 || !d.clock {
		return time.Time{}, false
	}
	if d.hour > 24 || d.min > 59 || d.sec > 60 {
		return time.Time{}, false
	}
	loc := time.UTC
	if d.offset != 0 {
		loc = time.FixedZone("", d.offset*60)
	}
	t := time.Date(d.year, time.Month(d.month+1), d.day, d.hour, d.min, d.sec, 0, loc)
	if int(t.Month()) != d.month+1 && d.day > 28 && t.Day() < 4 && d.hour < 24 && d.sec < 60 {
		return time.Time{}, false // the 31st of a month that has 30 days
	}
	return t, true
}

// maxDateWords bounds the parts of a date that are looked at.
const maxDateWords = 16

// dateWords splits a date at blanks, commas and hyphens; a sign before a zone
// stays with it. Comments vanish.
func dateWords(words []string, s string) []string {
	for i := 0; i < len(s) && len(words) < maxDateWords; {
		switch c := s[i]; {
		case c == '(':
			n := commentLen(s[i:])
			if n == 0 {
				return words
			}
			i += n
		case isDateByte(c) || (c == '+' || c == '-') && zoneFollows(s[i:], words):
			start := i
			i++
			for i < len(s) && isDateByte(s[i]) {
				if s[i] == '+' {
					break
				}
				i++
			}
			words = append(words, s[start:i])
		default:
			i++
		}
	}
	return words
}

func isDateByte(c byte) bool { return isDigit(c) || isAlpha(c) || c == ':' || c == '.' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// zoneFollows says whether the sign at the start of s begins a zone: four
// digits, or two with a colon, after a clock.
func zoneFollows(s string, words []string) bool {
	n := 1
	for n < len(s) && (isDigit(s[n]) || s[n] == ':') {
		n++
	}
	clock := false
	for _, w := range words {
		clock = clock || isClock(w)
	}
	return clock && n >= 3 && n <= 6
}

// dateParts collects what the words of a date turn out to be.
type dateParts struct {
	day, month, year int
	hour, min, sec   int
	offset           int // minutes east of UTC
	clock, zone      bool
}

func (d *dateParts) word(w string) {
	switch {
	case w[0] == '+' || w[0] == '-':
		d.setZone(w)
	case isAlpha(w[0]):
		d.setName(w)
	case !d.clock && isClock(w):
		d.setClock(w)
	default:
		d.setNumber(w)
	}
}

// isClock says whether a word begins like 9:05 or 09.05.
func isClock(w string) bool {
	i := strings.IndexAny(w, ":.")
	return (i == 1 || i == 2) && len(w) > i+1 && isDigit(w[0]) && isDigit(w[i+1])
}

// setClock reads hh:mm, hh:mm:ss and a fraction, which is dropped; some
// programs write points instead of colons.
func (d *dateParts) setClock(w string) {
	var n [3]int
	k := 0
	for i := 0; i < len(w) && k < 3; i++ {
		switch c := w[i]; {
		case isDigit(c):
			n[k] = min(n[k]*10+int(c-'0'), 1000)
		case c == ':' || c == '.':
			k++
		default: // a zone that sticks to the clock, as in 10:00GMT
			d.setName(w[i:])
			k = 3
		}
	}
	d.hour, d.min, d.sec, d.clock = n[0], n[1], n[2], true
}

func (d *dateParts) setNumber(w string) {
	n := 0
	w = strings.TrimRight(w, ".") // "21. Nov"
	for i := range len(w) {
		if !isDigit(w[i]) {
			return
		}
		n = min(n*10+int(w[i]-'0'), 100_000)
	}
	switch {
	case d.day < 0 && len(w) <= 2:
		d.day = n
	case d.year < 0 && n <= 9999:
		d.year = fullYear(n, len(w))
	}
}

// fullYear reads short years by RFC 5322 section 4.3: 00 to 49 are of this
// century, other years of two digits and all of three count from 1900.
func fullYear(n, digits int) int {
	switch {
	case digits <= 2 && n < 50:
		return 2000 + n
	case digits <= 3:
		return 1900 + n
	}
	return n
}

const months = "janfebmaraprmayjunjulaugsepoctnovdec"

// setName takes the name of a month or zone; days of the week say nothing.
func (d *dateParts) setName(w string) {
	if len(w) >= 3 && d.month < 0 {
		var m [3]byte
		for i := range m {
			m[i] = w[i] | 0x20
		}
		if i := strings.Index(months, string(m[:])); i >= 0 && i%3 == 0 {
			d.month = i / 3
			return
		}
	}
	if d.clock && !d.zone {
		d.setZone(w)
	}
}

// zoneHours are the names of RFC 5322 section 4.3 and of some more that
// mean one thing only, hours east of UTC. Military letters are taken as UTC,
// as that section says.
var zoneHours = map[string]int{
	"UT": 0, "GMT": 0, "UTC": 0, "Z": 0, "WET": 0,
	"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
	"CET": 1, "MET": 1, "CEST": 2, "MEST": 2, "EET": 2, "EEST": 3, "WEST": 1, "MSK": 3,
	"JST": 9, "KST": 9, "HST": -10, "AKST": -9, "AKDT": -8, "NZST": 12, "NZDT": 13,
}

func (d *dateParts) setZone(w string) {
	if d.zone || !d.clock {
		return
	}
	if w[0] != '+' && w[0] != '-' {
		if h, ok := zoneHours[strings.ToUpper(w)]; ok {
			d.zone, d.offset = true, h*60
		}
		return
	}
	digits := strings.ReplaceAll(w[1:], ":", "")
	n := 0
	for i := range len(digits) {
		if !isDigit(digits[i]) {
			return
		}
		n = n*10 + int(digits[i]-'0')
	}
	minutes := n/100*60 + n%100
	switch {
	case len(digits) == 2:
		minutes = n * 60
	case len(digits) > 4 || n%100 > 59:
		return
	}
	if minutes > 24*60 {
		return
	}
	if w[0] == '-' {
		minutes = -minutes
	}
	d.zone, d.offset = true, minutes
}
