package message

import (
	"strings"
)

// ThreadKey tells which conversation a message belongs to, the same for the
// first message and all answers that keep References in order. It hashes the
// first id of References, else of In-Reply-To, else the message's own id: 63
// bits, never 0. It is 0 for a message with none of them, which belongs to
// no other.
//
// The hash is FNV-1a of 64 bits over the id without angle brackets, blanks
// and comments, shifted right by one, and 1 if that is 0. Keys are stored:
// this never changes.
func (h Header) ThreadKey() int64 {
	for _, k := range [...]kind{kReferences, kInReplyTo, kMessageID} {
		if id := firstID(h.text(k)); id != "" {
			return threadHash(id)
		}
	}
	return 0
}

func threadHash(id string) int64 {
	sum := uint64(14695981039346656037)
	for i := range len(id) {
		sum ^= uint64(id[i])
		sum *= 1099511628211
	}
	return int64(max(sum>>1, 1))
}

// MessageIDs gives the ids in the value of References, In-Reply-To or
// Message-ID (RFC 5322 section 3.6.4) without their angle brackets, in their
// order. Text around them, as old programs write it into In-Reply-To, is
// passed over; a value without any brackets is taken as ids between blanks.
// It gives 1000 ids at most.
func MessageIDs(s string) []string {
	const limit = 1000
	var ids []string
	for s != "" && len(ids) < limit {
		var id string
		if id, s = nextID(s); id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

func firstID(s string) string {
	for s != "" {
		var id string
		if id, s = nextID(s); id != "" {
			return id
		}
	}
	return ""
}

// maxID is the longest id in angle brackets, in bytes; a line of RFC 5322
// section 2.1.1 holds 998.
const maxID = 2000

// nextID gives the next id of s and what follows it.
func nextID(s string) (id, rest string) {
	open := strings.IndexByte(s, '<')
	if open < 0 {
		return bareID(s)
	}
	s = s[open+1:]
	end := strings.IndexByte(s[:min(len(s), maxID)], '>')
	if end < 0 {
		return bareID(s)
	}
	id, rest = s[:end], s[end+1:]
	return squeeze(id[strings.LastIndexByte(id, '<')+1:]), rest
}

// bareID gives the first word of s that looks like an id: with an @ in it.
func bareID(s string) (id, rest string) {
	for s != "" {
		s = strings.TrimLeft(s, " \t,;")
		n := strings.IndexAny(s, " \t,;")
		if n < 0 {
			n = len(s)
		}
		if w := s[:n]; strings.IndexByte(w, '@') > 0 {
			return w, s[n:]
		}
		s = s[n:]
	}
	return "", ""
}

// squeeze takes the blanks out of an id, which folding put there.
func squeeze(id string) string {
	if strings.IndexAny(id, " \t\r\n") < 0 {
		return id
	}
	return strings.Join(strings.Fields(id), "")
}

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
