package volume

import (
	"fmt"
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

func BenchmarkOpen(b *testing.B) {
	s, err := Open(Config{Dirs: []string{b.TempDir()}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	d := blobtest.Draft(b, s, 0, blobtest.Body(4096, 0))
	batch := s.Begin(1, 0)
	loc, err := batch.Add(0, d, nil)
	if err == nil {
		err = batch.Sync()
	}
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 4096)
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
