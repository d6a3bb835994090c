package field

import "strings"

// BaseSubject gives the base subject of RFC 5256 section 2.1 of a decoded
// subject, in which answers and forwards lost their marks, and says whether
// it was that of an answer or forward.
func BaseSubject(subject string) (base string, reply bool) {
	s := strings.Join(strings.Fields(subject), " ")
	for {
		before := s
		s, reply = trimTrailer(s, reply)
		for {
			inner := s
			s, reply = trimLeader(s, reply)
			s = trimBlob(s)
			if s == inner {
				break
			}
		}
		// Step 6: a forward in brackets.
		if len(s) >= 6 && strings.EqualFold(s[:5], "[fwd:") && s[len(s)-1] == ']' {
			s, reply = strings.TrimSpace(s[5:len(s)-1]), true
		}
		if s == before {
			return s, reply
		}
	}
}

// trimTrailer takes "(fwd)" and blanks off the end (step 2).
func trimTrailer(s string, reply bool) (string, bool) {
	s = strings.TrimRight(s, " ")
	for len(s) >= 5 && strings.EqualFold(s[len(s)-5:], "(fwd)") {
		s, reply = strings.TrimRight(s[:len(s)-5], " "), true
	}
	return s, reply
}

// trimLeader takes blanks and "re:", "fw:" or "fwd:" off the start, with
// blobs before and between (step 3).
func trimLeader(s string, reply bool) (string, bool) {
	s = strings.TrimLeft(s, " ")
	rest := s
	for n := blobLen(rest); n > 0; n = blobLen(rest) {
		rest = rest[n:]
	}
	n := 0
	for _, w := range [...]string{"fwd", "re", "fw"} {
		if len(rest) > len(w) && strings.EqualFold(rest[:len(w)], w) {
			n = len(w)
			break
		}
	}
	if n == 0 {
		return s, reply
	}
	rest = strings.TrimLeft(rest[n:], " ")
	rest = rest[blobLen(rest):]
	if rest, ok := strings.CutPrefix(rest, ":"); ok {
		return strings.TrimLeft(rest, " "), true
	}
	return s, reply
}

// trimBlob takes one blob off the start, if something follows it (step 4).
func trimBlob(s string) string {
	if n := blobLen(s); n > 0 && n < len(s) {
		return s[n:]
	}
	return s
}

// blobLen is the length of "[text]" and the blanks behind it at the start
// of s, 0 if there is none.
func blobLen(s string) int {
	if s == "" || s[0] != '[' {
		return 0
	}
	n := strings.IndexAny(s[1:], "[]") + 1
	if n == 0 || s[n] != ']' {
		return 0
	}
	n++
	for n < len(s) && s[n] == ' ' {
		n++
	}
	return n
}
