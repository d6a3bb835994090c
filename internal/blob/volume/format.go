package volume

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The sizes of the format, in bytes.
const (
	headSize   = 4096
	recordSize = 84       // the fixed header before each body
	maxMeta    = 16 << 20 // what Add accepts
	slotA      = 512      // two slots, each in a sector of its own
	slotB      = 1024
	slotSize   = 28
)

const headMagic = "PRVOLUM1"

// The kinds of files.
const (
	plainFile = 1 + iota // batches append to it
	lentFile             // lent to one large body at a time
	movedFile            // what was moved out of other volumes
)

// The kinds of records.
const (
	kindMessage   = 1 + iota // body and meta
	kindBody                 // a large body without meta
	kindReference            // meta of a body that lies elsewhere
	kindTrailer              // the last record of a sealed volume
	kindCut                  // an unconfirmed batch that could not be cut off
)

// The flags of a record.
const (
	flagMoved  = 1 << iota // it lay elsewhere first; origin says where
	flagPacked             // its body is packed; ref says in what
)

// castagnoli is computed by the processor where it can.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var le = binary.LittleEndian

// A place is a position in a volume.
type place struct{ volume, offset int64 }

// A header is the fixed part of a record.
type header struct {
	kind    uint8
	flags   uint8
	meta    uint32 // bytes
	body    int64  // plain bytes; of a reference, those of the body elsewhere
	batch   uint64
	durable uint64
	ref     place // of a reference or a cut; see stored
	origin  place // of a moved record
	bodySum uint32
	metaSum uint32
}

// size is that of the whole record, in bytes.
func (h *header) size() int64 {
	return recordSize + h.inline() + int64(h.meta)
}

// inline is how many bytes follow the header as its body.
func (h *header) inline() int64 {
	n, _ := h.stored()
	return n
}

// stored is how many bytes follow the header as its body, and their checksum:
// those of the body, or of what it is packed in.
func (h *header) stored() (size int64, sum uint32) {
	switch {
	case h.kind != kindMessage && h.kind != kindBody:
		return 0, 0
	case h.flags&flagPacked != 0:
		return h.ref.offset, uint32(h.ref.volume)
	}
	return h.body, h.bodySum
}

// saved is how many bytes less the record takes because its body is packed.
func (h *header) saved() int64 {
	if n, _ := h.stored(); n > 0 {
		return h.body - n
	}
	return 0
}

// encode fills b, of recordSize bytes.
func (h *header) encode(b []byte, tag uint64) {
	_ = b[recordSize-1]
	le.PutUint64(b[0:], tag)
	b[8], b[9], b[10], b[11] = h.kind, h.flags, 0, 0
	le.PutUint32(b[12:], h.meta)
	le.PutUint64(b[16:], uint64(h.body))
	le.PutUint64(b[24:], h.batch)
	le.PutUint64(b[32:], h.durable)
	le.PutUint64(b[40:], uint64(h.ref.volume))
	le.PutUint64(b[48:], uint64(h.ref.offset))
	le.PutUint64(b[56:], uint64(h.origin.volume))
	le.PutUint64(b[64:], uint64(h.origin.offset))
	le.PutUint32(b[72:], h.bodySum)
	le.PutUint32(b[76:], h.metaSum)
	le.PutUint32(b[80:], crc32.Checksum(b[:80], castagnoli))
}

// decode reads a header from b, which must hold recordSize bytes, and says
// whether it is one of the volume with this tag. Room is how many bytes the
// record may take at most.
func decode(b []byte, tag uint64, room int64) (header, bool) {
	if len(b) < recordSize || le.Uint64(b) != tag || tag == 0 ||
		le.Uint32(b[80:]) != crc32.Checksum(b[:80], castagnoli) {
		return header{}, false
	}
	h := header{
		kind: b[8], flags: b[9],
		meta:    le.Uint32(b[12:]),
		body:    int64(le.Uint64(b[16:])),
		batch:   le.Uint64(b[24:]),
		durable: le.Uint64(b[32:]),
		ref:     place{int64(le.Uint64(b[40:])), int64(le.Uint64(b[48:]))},
		origin:  place{int64(le.Uint64(b[56:])), int64(le.Uint64(b[64:]))},
		bodySum: le.Uint32(b[72:]),
		metaSum: le.Uint32(b[76:]),
	}
	ok := h.kind >= kindMessage && h.kind <= kindCut && b[10] == 0 && b[11] == 0 &&
		h.meta <= maxMeta && h.body >= 0 && h.inline() >= 0 && h.inline() <= room &&
		h.size() <= room
	return h, ok
}

// A head is the beginning of a file.
type head struct {
	kind   uint8
	number int64
	tag    uint64
}

// encode makes the first headSize bytes of a new file.
func (h head) encode() []byte {
	b := make([]byte, headSize)
	copy(b, headMagic)
	b[8] = h.kind
	le.PutUint64(b[16:], uint64(h.number))
	le.PutUint64(b[24:], h.tag)
	le.PutUint32(b[32:], crc32.Checksum(b[:32], castagnoli))
	return b
}

func decodeHead(b []byte, number int64) (head, error) {
	if len(b) < headSize || string(b[:8]) != headMagic {
		return head{}, fmt.Errorf("not the head of a volume")
	}
	if le.Uint32(b[32:]) != crc32.Checksum(b[:32], castagnoli) {
		return head{}, fmt.Errorf("the head's checksum is wrong")
	}
	h := head{kind: b[8], number: int64(le.Uint64(b[16:])), tag: le.Uint64(b[24:])}
	switch {
	case h.number != number:
		return head{}, fmt.Errorf("the head says volume %d", h.number)
	case h.kind < plainFile || h.kind > movedFile || h.tag == 0:
		return head{}, fmt.Errorf("unknown kind of volume %d", h.kind)
	}
	return h, nil
}

// A slot says that all records before offset have batch numbers up to batch
// and need not be read at a start that knows that batch to be durable.
type slot struct {
	offset int64
	batch  uint64
}

func (s slot) encode(b []byte, tag uint64) {
	le.PutUint64(b[0:], tag)
	le.PutUint64(b[8:], uint64(s.offset))
	le.PutUint64(b[16:], s.batch)
	le.PutUint32(b[24:], crc32.Checksum(b[:24], castagnoli))
}

// decodeSlots returns the slots of a head that are intact and within size.
func decodeSlots(b []byte, tag uint64, size int64) []slot {
	var list []slot
	for _, at := range []int{slotA, slotB} {
		p := b[at : at+slotSize]
		s := slot{offset: int64(le.Uint64(p[8:])), batch: le.Uint64(p[16:])}
		if le.Uint64(p) == tag && le.Uint32(p[24:]) == crc32.Checksum(p[:24], castagnoli) &&
			s.offset >= headSize && s.offset <= size {
			list = append(list, s)
		}
	}
	return list
}
