package field

import "strings"

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

// FirstID gives the first of MessageIDs, "" if there is none.
func FirstID(s string) string {
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
