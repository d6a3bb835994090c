package volume

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"postrider/internal/blob"
	"postrider/internal/blob/blobtest"
	"postrider/internal/blob/vfs"
)

// BenchmarkBatch stores 4 kB messages in batches and reports records/s.
// BenchmarkAppend is what the disk itself does with as many bytes.
func BenchmarkBatch(b *testing.B) {
	for _, n := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, err := Open(Config{Dirs: []string{b.TempDir()}})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			body, meta := blobtest.Body(4096, 0), blobtest.Body(300, 0)
			drafts := make([]blob.Draft, n)
			b.ReportAllocs()
			number := uint64(0)
			for b.Loop() {
				number++
				batch := s.Begin(number, number-1)
				for i := range drafts {
					drafts[i] = blobtest.Draft(b, s, 0, body)
					if _, err := batch.Add(0, drafts[i], meta); err != nil {
						b.Fatal(err)
					}
				}
				if err := batch.Sync(); err != nil {
					b.Fatal(err)
				}
				for _, d := range drafts {
					d.Discard()
				}
				s.Settled(number)
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f, err := vfs.OS{}.Create(filepath.Join(b.TempDir(), "f"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			data := blobtest.Body(n*(4096+300+recordSize), 0)
			off := int64(0)
			for b.Loop() {
				if _, err := f.WriteAt(data, off); err != nil {
					b.Fatal(err)
				}
				if err := f.Sync(); err != nil {
					b.Fatal(err)
				}
				off += int64(len(data))
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// BenchmarkOpen opens a message of 4 kB and reads it; moved and packed are
// what compaction makes of it.
func BenchmarkOpen(b *testing.B) {
	plain, text := blobtest.Body(4096, 0), blobtest.Text(4096, 0)
	b.Run("plain", func(b *testing.B) { openAndRead(b, plain, false) })
	b.Run("moved", func(b *testing.B) { openAndRead(b, plain, true) })
	b.Run("packed", func(b *testing.B) { openAndRead(b, text, true) })
}

func openAndRead(b *testing.B, body []byte, move bool) {
	s, loc := one(b, body)
	if move {
		var err error
		if loc, err = s.Move(b.Context(), loc); err != nil {
			b.Fatal(err)
		}
	}
	buf := make([]byte, len(body))
	b.ReportAllocs()
	for b.Loop() {
		r, err := s.Open(loc)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.ReadAt(buf, 0); err != nil {
			b.Fatal(err)
		}
		_ = r.Close()
	}
}

// one is a store with one body.
func one(b *testing.B, body []byte) (*Store, blob.Location) {
	s, err := Open(Config{Dirs: []string{b.TempDir()}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	d := blobtest.Draft(b, s, 0, body)
	batch := s.Begin(1, 0)
	loc, err := batch.Add(0, d, nil)
	if err == nil {
		err = batch.Sync()
	}
	if err != nil {
		b.Fatal(err)
	}
	d.Discard()
	return s, loc
}

// BenchmarkMove moves 10 MB, with the flush.
func BenchmarkMove(b *testing.B) {
	for name, body := range map[string][]byte{"text": blobtest.Text(10<<20, 0),
		"base64": blobtest.Base64(10<<20, 0), "random": blobtest.Body(10<<20, 0)} {
		b.Run(name, func(b *testing.B) {
			s, loc := one(b, body)
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				to, err := s.Move(b.Context(), loc)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := s.sealMoved(s.groups[0]); err != nil {
					b.Fatal(err)
				}
				if err := s.Remove(b.Context(), to.Volume); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkRandom reads 4 kB somewhere in a body of 10 MB.
func BenchmarkRandom(b *testing.B) {
	for name, body := range map[string][]byte{"plain": blobtest.Body(10<<20, 0),
		"packed": blobtest.Text(10<<20, 0)} {
		b.Run(name, func(b *testing.B) {
			s, loc := one(b, body)
			loc, err := s.Move(b.Context(), loc)
			if err != nil {
				b.Fatal(err)
			}
			random := rand.New(rand.NewPCG(1, 1))
			buf := make([]byte, 4096)
			b.ReportAllocs()
			for b.Loop() {
				r, err := s.Open(loc)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := r.ReadAt(buf, random.Int64N(loc.Size-4096)); err != nil {
					b.Fatal(err)
				}
				_ = r.Close()
			}
		})
	}
}
