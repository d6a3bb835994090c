// Package pack keeps a body compressed so that any part of it can be read
// without the rest.
//
// A packed body is a row of zstd frames, each of Chunk plain bytes, the last
// of what remains. An index follows, which has 12 bytes for each frame, little
// endian: where it ends, counted from the beginning of the packed body (8
// bytes), and its CRC-32C (4 bytes). How long the body is, plain and packed,
// is known to whoever keeps the packed bytes.
//
// A frame that does not have its checksum never comes to the decoder. So
// what is broken on the disk is told as damage and never read as something
// else; no checksum of the index is needed, for an entry that is wrong leads
// to other bytes than those it has the sum of.
package pack

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"postrider/internal/mail"
)

// Chunk is how many plain bytes a frame has: what must be unpacked to read
// one of them, and the memory that a reader takes. It is part of the format.
// Twice as many would save 3 % more.
const Chunk = 64 << 10

const (
	entrySize = 12
	// maxFrame is the largest frame, in bytes. What does not compress takes
	// as many bytes as it has, and a few for the frame.
	maxFrame = Chunk + 256
	// slack is room behind a chunk with which the decoder is faster, in bytes.
	slack = 16
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

// A Codec packs and opens bodies; it keeps the memory for that between uses.
// The zero value is ready, and all methods may be called concurrently.
type Codec struct {
	packers   sync.Pool // of *packer
	unpackers sync.Pool // of *unpacker
}

// A packer is the memory that one Pack needs.
type packer struct {
	enc   *zstd.Encoder
	dec   *zstd.Decoder
	plain []byte // of Chunk bytes
	frame []byte
	again []byte // what comes out of the frame
}

// An unpacker is the memory that is needed while one frame is unpacked.
type unpacker struct {
	dec   *zstd.Decoder
	frame []byte // of maxFrame bytes
}

func (c *Codec) packer() (*packer, error) {
	if p, ok := c.packers.Get().(*packer); ok {
		return p, nil
	}
	// Base64 repeats nothing, but has only 6 bits in a byte: the entropy
	// coder is to have it all the same.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
		zstd.WithWindowSize(Chunk), zstd.WithSingleSegment(true),
		zstd.WithAllLitEntropyCompression(true))
	if err != nil {
		return nil, &mail.Error{Kind: mail.Internal, Text: "set up packing", Err: err}
	}
	dec, err := newDecoder()
	return &packer{enc: enc, dec: dec, plain: make([]byte, Chunk),
		frame: make([]byte, 0, maxFrame), again: make([]byte, 0, Chunk+slack)}, err
}

func (c *Codec) unpacker() (*unpacker, error) {
	if u, ok := c.unpackers.Get().(*unpacker); ok {
		return u, nil
	}
	dec, err := newDecoder()
	return &unpacker{dec: dec, frame: make([]byte, maxFrame)}, err
}

// newDecoder makes one for which a frame may claim no more than a chunk, nor
// more than there is room for.
func newDecoder() (*zstd.Decoder, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(Chunk), zstd.WithDecoderMaxWindow(Chunk),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, &mail.Error{Kind: mail.Internal, Text: "set up unpacking", Err: err}
	}
	return dec, nil
}

// worth says whether packed bytes are so much less than the plain ones that
// reading them is worth the work: by an eighth.
func worth(packed, plain int64) bool { return packed <= plain-plain/8 && packed < plain }

// Pack reads src to its end, writes it packed to dst and says how many bytes
// that takes. It says no as soon as what it has read so far saves less than
// an eighth; what it has written then is of no use, and is less than that.
// Errors are those of src, dst and ctx. Memory is flat, but for 12 bytes a
// chunk.
func (c *Codec) Pack(ctx context.Context, dst io.Writer, src io.Reader) (n int64, ok bool,
	err error) {
	p, err := c.packer()
	if err != nil {
		return 0, false, err
	}
	defer c.packers.Put(p)
	var plain int64
	var index []byte
	for ended := false; !ended; {
		if err := ctx.Err(); err != nil {
			return n, false, err
		}
		k, err := io.ReadFull(src, p.plain)
		ended = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !ended {
			return n, false, err
		}
		if k == 0 {
			break
		}
		if !p.seal(k) {
			return n, false, nil
		}
		plain += int64(k)
		n += int64(len(p.frame))
		index = le.AppendUint64(index, uint64(n))
		index = le.AppendUint32(index, crc32.Checksum(p.frame, castagnoli))
		if !worth(n+int64(len(index)), plain) {
			return n, false, nil
		}
		if _, err := dst.Write(p.frame); err != nil {
			return n, false, err
		}
	}
	if plain == 0 {
		return 0, false, nil
	}
	_, err = dst.Write(index)
	return n + int64(len(index)), err == nil, err
}

// seal makes a frame of the first n plain bytes, and opens it again: what is
// packed replaces the body, so nothing may rest on the encoder alone. It says
// no if other bytes come out.
func (p *packer) seal(n int) bool {
	p.frame = p.enc.EncodeAll(p.plain[:n], p.frame[:0])
	var err error
	p.again, err = p.dec.DecodeAll(p.frame, p.again[:0])
	return err == nil && len(p.frame) <= maxFrame && bytes.Equal(p.again, p.plain[:n])
}
