package pack

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"postrider/internal/blob/blobtest"
)

// kinds are bodies as mail has them.
var kinds = []struct {
	name string
	make func(n int, seed uint64) []byte
	size int
}{
	{"text4k", blobtest.Text, 4 << 10},
	{"html40k", blobtest.HTML, 40 << 10},
	{"text10M", blobtest.Text, 10 << 20},
	{"html10M", blobtest.HTML, 10 << 20},
	{"base64-10M", blobtest.Base64, 10 << 20},
	{"random10M", blobtest.Body, 10 << 20},
}

func BenchmarkPack(b *testing.B) {
	for _, k := range kinds {
		b.Run(k.name, func(b *testing.B) {
			var c Codec
			body := k.make(k.size, 1)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			n := int64(len(body))
			for b.Loop() {
				packed, ok, err := c.Pack(b.Context(), io.Discard, bytes.NewReader(body))
				if err != nil {
					b.Fatal(err)
				}
				if ok {
					n = packed
				}
			}
			b.ReportMetric(float64(len(body))/float64(n), "ratio")
		})
	}
}

func BenchmarkWriteTo(b *testing.B) {
	for _, k := range kinds[:5] {
		b.Run(k.name, func(b *testing.B) {
			var c Codec
			body := k.make(k.size, 1)
			data := packed(b, &c, body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := open(b, &c, data, len(body)).WriteTo(io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRandom reads 4 kB somewhere in 10 MB.
func BenchmarkRandom(b *testing.B) {
	for _, k := range kinds[2:5] {
		b.Run(k.name, func(b *testing.B) {
			var c Codec
			body := k.make(k.size, 1)
			r := open(b, &c, packed(b, &c, body), len(body))
			random := rand.New(rand.NewPCG(1, 1))
			p := make([]byte, 4096)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.ReadAt(p, random.Int64N(r.Size()-4096)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
