package main

import (
	"bytes"
	"encoding/base64"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// Sizes of messages: the names of the two mixtures that are measured.
const (
	small = "4k"
	mixed = "mix"
)

// userCount is how many accounts get the mail.
const userCount = 100

const (
	domain   = "example.test"
	password = "a-secret-for-all"
	sender   = "load@client.test"
)

// userName is the address of account number u.
func userName(u int) string { return "user" + strconv.Itoa(u) + "@" + domain }

// A letterbox makes messages. Bodies are made once and shared by many
// messages, each of which has a header of its own. It may be used by many at
// once.
type letterbox struct {
	run    string // tells this run's message IDs from another's
	bodies [][]byte
}

// newLetterbox makes messages of one of the mixtures, the same in each run.
func newLetterbox(size string) *letterbox {
	b := &letterbox{run: strconv.FormatInt(time.Now().UnixNano(), 36)}
	rng := rand.New(rand.NewPCG(2525, 2110))
	if size == mixed {
		for _, n := range mixture(rng) {
			b.bodies = append(b.bodies, body(rng, n))
		}
		return b
	}
	for range 64 {
		b.bodies = append(b.bodies, body(rng, 4<<10))
	}
	return b
}

// newLetterboxOf makes messages of n bytes.
func newLetterboxOf(n int) *letterbox {
	rng := rand.New(rand.NewPCG(2525, uint64(n)))
	return &letterbox{run: strconv.FormatInt(time.Now().UnixNano(), 36),
		bodies: [][]byte{body(rng, n)}}
}

// mixture gives the sizes of 200 messages as real mail has them: 60 % of 2 to
// 8 kB, 30 % of 8 to 60 kB, 9 % of 60 to 500 kB and 1 % of 5 MB. Within a
// band each doubling is as likely as the next.
func mixture(rng *rand.Rand) []int {
	const total = 200
	bands := []struct {
		percent  int
		from, to float64 // kB
	}{{60, 2, 8}, {30, 8, 60}, {9, 60, 500}, {1, 5 << 10, 5 << 10}}
	var sizes []int
	for _, band := range bands {
		for range total * band.percent / 100 {
			kB := band.from * math.Pow(band.to/band.from, rng.Float64())
			sizes = append(sizes, int(kB*1024))
		}
	}
	rng.Shuffle(total, func(i, j int) { sizes[i], sizes[j] = sizes[j], sizes[i] })
	return sizes
}

// attachAbove is the size from which most of a message is an attachment.
const attachAbove = 16 << 10

// body makes the MIME header fields and the body of a message of about size
// bytes, with the final dot. No line starts with a dot before it.
func body(rng *rand.Rand, size int) []byte {
	var b bytes.Buffer
	b.Grow(size + 200)
	b.WriteString("MIME-Version: 1.0\r\n")
	if size <= attachAbove {
		b.WriteString("Content-Type: text/plain; charset=utf-8\r\n\r\n")
		prose(&b, rng, size-600)
		b.WriteString(".\r\n")
		return b.Bytes()
	}
	b.WriteString("Content-Type: multipart/mixed; boundary=\"=_part\"\r\n\r\n" +
		"--=_part\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
	prose(&b, rng, 3<<10)
	b.WriteString("--=_part\r\nContent-Type: image/jpeg\r\n" +
		"Content-Disposition: attachment; filename=\"picture.jpeg\"\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\n")
	raw := make([]byte, 57)
	line := make([]byte, 76, 78)
	for b.Len() < size {
		for i := range raw {
			raw[i] = byte(rng.Uint32())
		}
		base64.StdEncoding.Encode(line, raw)
		b.Write(append(line, '\r', '\n'))
	}
	b.WriteString("--=_part--\r\n.\r\n")
	return b.Bytes()
}

const letters = "etaoinshrdlucmfwypvbgk"

// prose writes n bytes or a little more of words that do not compress much
// better than real ones do.
func prose(b *bytes.Buffer, rng *rand.Rand, n int) {
	for end, column := b.Len()+n, 0; b.Len() < end; {
		for range 2 + rng.IntN(8) {
			b.WriteByte(letters[min(rng.IntN(len(letters)), rng.IntN(len(letters)))])
			column++
		}
		if column++; column < 66 {
			b.WriteByte(' ')
			continue
		}
		b.WriteString("\r\n")
		column = 0
	}
	b.WriteString("\r\n")
}

// head appends the header of message number i, up to where its body starts.
func (b *letterbox) head(buf []byte, i int, to string) []byte {
	buf = append(buf, "From: A Client <"+sender+">\r\nTo: <"...)
	buf = append(buf, to...)
	buf = append(buf, ">\r\nSubject: Message number "...)
	buf = strconv.AppendInt(buf, int64(i), 10)
	buf = append(buf, " of this run\r\nDate: "...)
	buf = time.Now().AppendFormat(buf, time.RFC1123Z)
	buf = append(buf, "\r\nMessage-ID: <"...)
	buf = append(buf, b.run...)
	buf = append(buf, '.')
	buf = strconv.AppendInt(buf, int64(i), 10)
	return append(buf, "@client.test>\r\n"...)
}

// body is what follows the header of message number i, final dot included.
func (b *letterbox) body(i int) []byte { return b.bodies[i%len(b.bodies)] }
