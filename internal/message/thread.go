package message

import "postrider/internal/message/field"

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
		if id := field.FirstID(h.text(k)); id != "" {
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
