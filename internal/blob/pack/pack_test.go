package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"postrider/internal/blob/blobtest"
	"postrider/internal/mail"
)

// packed packs a body that is worth it.
func packed(t testing.TB, c *Codec, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	n, ok, err := c.Pack(t.Context(), &b, bytes.NewReader(body))
	if err != nil || !ok || n != int64(b.Len()) {
		t.Fatalf("Pack: got %d, %v, %v with %d bytes written", n, ok, err, b.Len())
	}
	return b.Bytes()
}

func open(t testing.TB, c *Codec, data []byte, size int) *Reader {
	t.Helper()
	r, err := c.Open(bytes.NewReader(data), int64(len(data)), int64(size))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPackAndRead(t *testing.T) {
	const most = 3_000_000
	bodies := map[string][]byte{"text": blobtest.Text(most, 1), "zeros": make([]byte, most),
		"html": blobtest.HTML(most, 2)}
	var c Codec
	for _, n := range []int{700, 4000, Chunk - 1, Chunk, Chunk + 1, 2 * Chunk, most} {
		for name, body := range bodies {
			body := body[:n]
			t.Run(fmt.Sprint(name, " ", n), func(t *testing.T) {
				data := packed(t, &c, body)
				if len(data) > n-n/8 {
					t.Errorf("got %d bytes of %d, want an eighth less", len(data), n)
				}
				wantRanges(t, open(t, &c, data, n), body)
			})
		}
	}
}

// wantRanges reads all, parts, beginnings, and beyond the end.
func wantRanges(t *testing.T, r *Reader, body []byte) {
	t.Helper()
	var all bytes.Buffer
	if k, err := r.WriteTo(&all); k != r.Size() || err != nil || !bytes.Equal(all.Bytes(), body) {
		t.Errorf("WriteTo: got %d, %v, want the %d bytes", k, err, len(body))
	}
	if err := iotest.TestReader(io.NewSectionReader(r, 0, r.Size()), body); err != nil &&
		len(body) < 2*Chunk {
		t.Error(err)
	}
	random := rand.New(rand.NewPCG(uint64(len(body)), 1))
	for range 100 {
		off := random.IntN(len(body) + 1)
		p := make([]byte, random.IntN([]int{10, 4096, Chunk, 3 * Chunk}[random.IntN(4)]))
		want := body[off:min(off+len(p), len(body))]
		n, err := r.ReadAt(p, int64(off))
		if !bytes.Equal(p[:n], want) || (err == io.EOF) != (n < len(p)) ||
			err != nil && err != io.EOF {
			t.Fatalf("%d bytes at %d: got %d, %v, want %d", len(p), off, n, err, len(want))
		}
	}
	for _, off := range []int64{r.Size(), r.Size() + 1, r.Size() + Chunk, 1<<63 - 1} {
		if n, err := r.ReadAt(make([]byte, 5), off); n != 0 || err != io.EOF {
			t.Errorf("at %d: got %d, %v, want the end", off, n, err)
		}
	}
	if _, err := r.ReadAt(make([]byte, 5), -1); err == nil || err == io.EOF {
		t.Errorf("before the beginning: got %v, want an error", err)
	}
}

// TestNotWorth has bodies that stay as they are, and wants that to be known
// without reading or writing much.
func TestNotWorth(t *testing.T) {
	var c Codec
	long := blobtest.Body(20*Chunk, 1)
	mixed := append(blobtest.Text(Chunk, 1), long...)
	for _, test := range []struct {
		name       string
		body       []byte
		read, most int // bytes
	}{
		{"empty", nil, 0, 0},
		{"a byte", []byte("x"), 1, 0},
		{"short", []byte("Subject: hi\r\n\r\nhello\r\n"), 22, 0},
		{"random", blobtest.Body(5000, 1), 5000, 0},
		{"long", long, Chunk, 0},
		{"text before it", mixed, 8 * Chunk, 8 * Chunk},
	} {
		t.Run(test.name, func(t *testing.T) {
			var b bytes.Buffer
			src := bytes.NewReader(test.body)
			_, ok, err := c.Pack(t.Context(), &b, src)
			if ok || err != nil {
				t.Errorf("got %v, %v, want that it is not worth it", ok, err)
			}
			if got := len(test.body) - src.Len(); got > test.read || b.Len() > test.most {
				t.Errorf("got %d bytes read and %d written, want %d and %d at most", got, b.Len(),
					test.read, test.most)
			}
		})
	}
}

func TestBase64IsWorth(t *testing.T) {
	var c Codec
	body := blobtest.Base64(1_000_000, 1)
	if data := packed(t, &c, body); len(data) > len(body)*78/100 {
		t.Errorf("got %d bytes of %d, want a quarter less", len(data), len(body))
	}
}

// TestDamage changes each byte of a packed body and cuts it everywhere: what
// is read then is the body, or damage.
func TestDamage(t *testing.T) {
	var c Codec
	body := bytes.Repeat(blobtest.Text(700, 3), 2*Chunk/700)
	data := packed(t, &c, body)
	check := func(what string, broken []byte) {
		r, err := c.Open(bytes.NewReader(broken), int64(len(data)), int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		n, err := r.WriteTo(&got)
		if mail.KindOf(err) != mail.Damaged || err == nil ||
			!bytes.Equal(got.Bytes(), body[:n]) {
			t.Errorf("%s: got %d bytes, %v, want damage", what, n, err)
		}
		p := make([]byte, 100)
		for _, off := range []int{0, Chunk - 50, len(body) - 50} {
			n, err := r.ReadAt(p, int64(off))
			if !bytes.Equal(p[:n], body[off:off+n]) ||
				err != nil && err != io.EOF && mail.KindOf(err) != mail.Damaged {
				t.Errorf("%s: at %d got %d bytes, %v", what, off, n, err)
			}
		}
	}
	for at := range data {
		broken := bytes.Clone(data)
		broken[at] ^= 1 << (at % 8)
		check(fmt.Sprintf("byte %d", at), broken)
		if at%7 == 0 {
			check(fmt.Sprintf("cut at %d", at), data[:at])
		}
	}
}

// TestDamagedElsewhere wants what is whole to be read.
func TestDamagedElsewhere(t *testing.T) {
	var c Codec
	body := blobtest.Text(5*Chunk, 1)
	data := packed(t, &c, body)
	data[len(data)/2] ^= 1
	r := open(t, &c, data, len(body))
	p := make([]byte, Chunk)
	for _, off := range []int{0, 4 * Chunk} {
		if n, err := r.ReadAt(p, int64(off)); n != len(p) || err != nil ||
			!bytes.Equal(p, body[off:][:len(p)]) {
			t.Errorf("at %d: got %d, %v", off, n, err)
		}
	}
	if n, err := r.ReadAt(make([]byte, len(body)), 0); mail.KindOf(err) != mail.Damaged ||
		n != 2*Chunk {
		t.Errorf("all: got %d, %v, want damage after two chunks", n, err)
	}
}

// indexed gives a frame an index that fits, as if Pack had made it.
func indexed(frame []byte) []byte {
	data := bytes.Clone(frame)
	data = le.AppendUint64(data, uint64(len(frame)))
	return le.AppendUint32(data, crc32.Checksum(frame, castagnoli))
}

// TestHostileFrames has frames with the right checksum that claim too much.
func TestHostileFrames(t *testing.T) {
	var c Codec
	enc, err := zstd.NewWriter(nil, zstd.WithWindowSize(8<<20), zstd.WithSingleSegment(false))
	if err != nil {
		t.Fatal(err)
	}
	bomb := enc.EncodeAll(make([]byte, 64<<20), nil)
	var stream bytes.Buffer // says nothing about its length
	enc.Reset(&stream)
	if _, err := enc.Write(make([]byte, 8<<20)); err != nil {
		t.Fatal(err)
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	whole := enc.EncodeAll(make([]byte, 500), nil)
	huge := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x40, 1, 0, 0}
	for name, frame := range map[string][]byte{"bomb": bomb, "bomb without a length": stream.Bytes(),
		"huge length": huge, "too short": whole, "two": append(bytes.Clone(whole), whole...),
		"nothing": {}, "no frame": []byte("hello"), "skippable": {0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0},
		"long": make([]byte, 2*Chunk)} {
		for _, size := range []int{700, Chunk} {
			data := indexed(frame)
			r := open(t, &c, data, size)
			p := make([]byte, size)
			_, _ = r.ReadAt(p, 0) // sets up the decoder
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			n, err := r.ReadAt(p, 0)
			runtime.ReadMemStats(&after)
			if n != 0 || mail.KindOf(err) != mail.Damaged {
				t.Errorf("%s: got %d, %v, want damage", name, n, err)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 8*Chunk {
				t.Errorf("%s: took %d bytes of memory", name, got)
			}
		}
	}
}

func TestImpossibleSizes(t *testing.T) {
	var c Codec
	for _, s := range [][2]int64{{0, 1}, {11, 1}, {-1, 0}, {100, -1}, {23, Chunk + 1},
		{1 << 40, 1<<63 - 1}} {
		if _, err := c.Open(bytes.NewReader(nil), s[0], s[1]); mail.KindOf(err) != mail.Damaged {
			t.Errorf("%d bytes in %d: got %v, want damage", s[1], s[0], err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)          { return 0, f.err }
func (f failing) Write([]byte) (int, error)         { return 0, f.err }
func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func TestErrorsPass(t *testing.T) {
	var c Codec
	want := errors.New("the disk is gone")
	text := blobtest.Text(3*Chunk, 1)
	src := io.MultiReader(bytes.NewReader(text[:Chunk+5]), failing{want})
	if _, ok, err := c.Pack(t.Context(), io.Discard, src); ok || !errors.Is(err, want) {
		t.Errorf("source: got %v, %v", ok, err)
	}
	if _, ok, err := c.Pack(t.Context(), failing{want}, bytes.NewReader(text)); ok ||
		!errors.Is(err, want) {
		t.Errorf("destination: got %v, %v", ok, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok, err := c.Pack(ctx, io.Discard, bytes.NewReader(text)); ok ||
		!errors.Is(err, context.Canceled) {
		t.Errorf("context: got %v, %v", ok, err)
	}
	r, err := c.Open(failing{want}, 1000, 5000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadAt(make([]byte, 10), 0); !errors.Is(err, want) ||
		mail.KindOf(err) == mail.Damaged {
		t.Errorf("reading: got %v", err)
	}
	r = open(t, &c, packed(t, &c, text), len(text))
	if n, err := r.WriteTo(failing{want}); n != 0 || !errors.Is(err, want) {
		t.Errorf("WriteTo: got %d, %v", n, err)
	}
}

func TestConcurrentReads(t *testing.T) {
	var c Codec
	body := blobtest.Text(10*Chunk, 1)
	r := open(t, &c, packed(t, &c, body), len(body))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			p := make([]byte, 3000+i*20_000)
			for range 30 {
				off := random.IntN(len(body) - len(p))
				if n, err := r.ReadAt(p, int64(off)); n != len(p) || err != nil ||
					!bytes.Equal(p, body[off:][:n]) {
					t.Errorf("at %d: got %d, %v", off, n, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestFlatMemory packs and reads what is much larger than the memory for it.
func TestFlatMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("under the race detector, pools forget at random")
	}
	var c Codec
	text := blobtest.Text(Chunk, 1)
	src := func(n int) io.Reader { return io.LimitReader(&endless{text: text}, int64(n)*Chunk) }
	use := func(chunks int) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, ok, err := c.Pack(t.Context(), io.Discard, src(chunks)); !ok || err != nil {
			t.Fatal(ok, err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	use(10)
	few, many := use(10), use(500)
	if many > few+500*100+16*Chunk { // a collection may have emptied the pools
		t.Errorf("got %d bytes for 500 chunks and %d for 10, want about the same", many, few)
	}
}

type endless struct {
	text []byte
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.text[e.at:])
	e.at = (e.at + n) % len(e.text)
	return n, nil
}

// FuzzReader reads anything as a packed body, and as a frame of one whose
// index is right.
func FuzzReader(f *testing.F) {
	var c Codec
	for _, body := range [][]byte{blobtest.Text(500, 1), blobtest.Text(Chunk+10, 1),
		make([]byte, 3*Chunk), blobtest.HTML(3000, 1)} {
		data := packed(f, &c, body)
		f.Add(data, int64(len(body)), int64(len(body)/2), uint16(300))
	}
	f.Add([]byte{}, int64(0), int64(0), uint16(1))
	f.Add(make([]byte, 24), int64(Chunk+1), int64(0), uint16(1))
	f.Fuzz(func(t *testing.T, data []byte, size, off int64, n uint16) {
		for _, data := range [][]byte{data, indexed(data)} {
			r, err := c.Open(bytes.NewReader(data), int64(len(data)), size)
			if err != nil {
				wantDamaged(t, err)
				continue
			}
			p := make([]byte, n)
			k, err := r.ReadAt(p, off)
			if err != nil && err != io.EOF && off >= 0 {
				wantDamaged(t, err)
			}
			if err == nil && k != len(p) || err == io.EOF && off < size && off+int64(k) != size {
				t.Fatalf("%d bytes at %d of %d: got %d, %v", n, off, size, k, err)
			}
			if size > 16*Chunk {
				continue
			}
			var all bytes.Buffer
			written, err := r.WriteTo(&all)
			if err != nil {
				wantDamaged(t, err)
			} else if written != size {
				t.Fatalf("WriteTo: got %d of %d", written, size)
			}
			if off >= 0 && off+int64(k) <= written && !bytes.Equal(all.Bytes()[off:][:k], p[:k]) {
				t.Fatalf("%d bytes at %d: they differ from those of WriteTo", k, off)
			}
		}
	})
}

func wantDamaged(t *testing.T, err error) {
	if mail.KindOf(err) != mail.Damaged {
		t.Fatalf("got %v, want damage", err)
	}
}

// FuzzPack packs anything and wants it back.
func FuzzPack(f *testing.F) {
	f.Add([]byte("hello hello hello "), uint16(10))
	f.Add([]byte{0}, uint16(60000))
	var c Codec
	f.Fuzz(func(t *testing.T, piece []byte, times uint16) {
		body := bytes.Repeat(piece, min(int(times), 3*Chunk/max(len(piece), 1)))
		var b bytes.Buffer
		n, ok, err := c.Pack(t.Context(), &b, bytes.NewReader(body))
		if err != nil || b.Len() > len(body) || ok && n != int64(b.Len()) {
			t.Fatalf("Pack: got %d, %v, %v, %d of %d bytes", n, ok, err, b.Len(), len(body))
		}
		if !ok {
			return
		}
		var all bytes.Buffer
		if _, err := open(t, &c, b.Bytes(), len(body)).WriteTo(&all); err != nil ||
			!bytes.Equal(all.Bytes(), body) {
			t.Fatalf("got %d bytes, %v, want the %d", all.Len(), err, len(body))
		}
	})
}
