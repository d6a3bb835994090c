package proof

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
)

// A message is one that the load sends. Its bytes follow from its id and
// size, so that they need not be kept.
type message struct {
	id   string
	size int // bytes, about
	to   []string
	sum  [sha256.Size]byte

	exact   int64  // bytes as they were sent
	receipt string // what the server called it in its reply
	code    int    // of that reply
}

// idField is the header field that begins every message of ours.
const idField = "X-Proof: "

// pool is text for bodies: lines of all lengths, some with a dot in front.
var pool = makePool()

const poolSize = 64 << 10

func makePool() string {
	r := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for b.Len() < poolSize {
		if r.IntN(12) == 0 {
			b.WriteByte('.')
		}
		for range r.IntN(76) {
			b.WriteByte(byte(' ' + r.IntN(95)))
		}
		b.WriteString("\r\n")
	}
	return b.String()
}

// bytes makes the message as it is sent, before dots are doubled.
func (m *message) bytes() []byte {
	b := make([]byte, 0, m.size+1024)
	b = fmt.Appendf(b, "%s%s\r\nFrom: <load@example.net>\r\nSubject: %d bytes\r\n\r\n", idField,
		m.id, m.size)
	sum := sha256.Sum256([]byte(m.id))
	at := int(sum[0])<<8 | int(sum[1])
	for len(b) < m.size {
		b = fmt.Appendf(b, "%s %d\r\n", m.id, len(b))
		_, piece, _ := strings.Cut(pool[at%(len(pool)-100):], "\n")
		piece = piece[:min(len(piece), 8000, max(m.size-len(b), 0))]
		b = append(b, strings.TrimRight(piece, "\r\n")+"\r\n"...)
		at += 8111
	}
	return b
}

// A maker makes messages with ids of their own.
type maker struct {
	name  string // begins the ids
	last  int
	rand  *rand.Rand
	boxes []string
	all   bool // each message goes to all boxes
	sizes sizes
	limit int // messages in all; 0 is without limit
}

// sizes says how many of a hundred messages are of 100 kB and of 2 MB. The
// others have up to 6 kB.
type sizes struct{ medium, large int }

// next makes a message to one or more accounts.
func (k *maker) next() *message {
	k.last++
	m := &message{id: fmt.Sprintf("%s-%d", k.name, k.last), size: 500 + k.rand.IntN(5500)}
	switch n := k.rand.IntN(100); {
	case n < k.sizes.large:
		m.size = 2 << 20
	case n < k.sizes.large+k.sizes.medium:
		m.size = 100 << 10
	}
	if k.all {
		m.to = k.boxes
		return m
	}
	many := 1
	if k.rand.IntN(5) == 0 {
		many += k.rand.IntN(min(4, len(k.boxes)))
	}
	for _, i := range k.rand.Perm(len(k.boxes))[:min(many, len(k.boxes))] {
		m.to = append(m.to, k.boxes[i])
	}
	return m
}
