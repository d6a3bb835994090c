package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"postrider/internal/blob"
	"postrider/internal/blob/blobtest"
	"postrider/internal/blob/memory"
	"postrider/internal/blob/vfs"
	"postrider/internal/mail"
)

func TestReopenGoesOn(t *testing.T) {
	dir := t.TempDir()
	body := blobtest.Body(1000, 0)
	var volumes []int64
	for i := range uint64(4) {
		s := open(t, Config{Dirs: []string{dir}})
		volumes = append(volumes, put(t, s, 2*i+1, body)[0].Volume,
			put(t, s, 2*i+2, blobtest.Body(100_000, i))[0].Volume)
		wantBatches(t, "last", batches(t, s, 2*i), 2*i+1, 2*i+2)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i, v := range volumes {
		if v != volumes[i%2] {
			t.Errorf("got volumes %v, want the same two each time", volumes)
		}
	}
}

// TestSettledBoundsStart wants a start to read only what is not settled.
func TestSettledBoundsStart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dirs: []string{dir}})
	body := blobtest.Body(60_000, 0)
	for i := range uint64(100) {
		put(t, s, i+1, body)
		s.Settled(i)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	rec := &countReads{FS: vfs.OS{}}
	s = open(t, Config{Dirs: []string{dir}, FS: rec})
	wantBatches(t, "last", batches(t, s, 99), 100)
	if rec.bytes > 2<<20 {
		t.Errorf("got %d bytes read at a start, want less than 2 MB of 6 MB", rec.bytes)
	}
	// A database that knows less is told more.
	if got := batches(t, s, 20); len(got) != 80 || got[0] != 21 {
		t.Errorf("after 20: got %v", got)
	}
}

// countReads counts the bytes read.
type countReads struct {
	vfs.FS
	bytes int
}

type countFile struct {
	vfs.File
	c *countReads
}

func (f countFile) ReadAt(p []byte, off int64) (int, error) {
	f.c.bytes += len(p)
	return f.File.ReadAt(p, off)
}

func (c *countReads) Open(path string) (vfs.File, error) {
	f, err := c.FS.Open(path)
	return countFile{f, c}, err
}

func (c *countReads) OpenWrite(path string) (vfs.File, error) {
	f, err := c.FS.OpenWrite(path)
	return countFile{f, c}, err
}

func TestMemoryBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 3*memory.Large + memory.Small
		s := open(t, Config{FS: noSync{}, Memory: limit})
		var drafts []blob.Draft
		newDraft := func(ctx context.Context) (blob.Draft, error) {
			d, err := s.NewDraft(ctx, 0)
			if err == nil {
				drafts = append(drafts, d)
			}
			return d, err
		}
		for range 3 {
			d, err := newDraft(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Write(blobtest.Body(60_000, 0)); err != nil {
				t.Fatal(err)
			}
		}
		// The last 8 kB do not grow, but spill.
		d, err := newDraft(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Write(blobtest.Body(60_000, 1)); err != nil {
			t.Fatal(err)
		}
		if err := d.Finish(t.Context()); err != nil || d.Bytes() != nil {
			t.Errorf("a body beyond the limit: got %d bytes in memory, %v", len(d.Bytes()), err)
		}
		if _, err := newDraft(t.Context()); err != nil { // its buffer is free again
			t.Fatal(err)
		}
		if got := s.memory.Free(); got != 0 {
			t.Errorf("got %d bytes free, want 0", got)
		}

		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error)
		go func() { _, err := s.NewDraft(ctx, 0); failed <- err }()
		served := make(chan blob.Draft)
		go func() { d, _ := s.NewDraft(t.Context(), 0); served <- d }()
		synctest.Wait() // both wait
		cancel()
		if err := <-failed; mail.KindOf(err) != mail.Full || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want full", err)
		}
		drafts[0].Discard()
		drafts = append(drafts, <-served)
		for _, d := range drafts {
			d.Discard()
			d.Discard()
		}
		if got := s.memory.Free(); got != limit {
			t.Errorf("in the end got %d bytes free, want %d", got, limit)
		}
	})
}

func TestLentFiles(t *testing.T) {
	s := open(t, Config{Dirs: []string{t.TempDir()}, FS: noSync{}, Size: 500_000})
	large := func(n int) *draft {
		return blobtest.Draft(t, s, 0, blobtest.Body(n, uint64(n))).(*draft)
	}
	a := large(100_000)
	start := a.lent.start
	b := large(110_000) // behind it in the same file
	if b.lent.f != a.lent.f {
		t.Error("the second body got a file of its own")
	}
	file, end := b.lent.f, b.lent.start+b.size
	a.Discard()
	if got := file.size.Load(); got != end {
		t.Errorf("a body behind a discarded one: got size %d, want %d", got, end)
	}
	b.Discard()
	if got := file.size.Load(); got >= end || got < start {
		t.Errorf("the last body was discarded: got size %d, want less than %d", got, end)
	}
	c := large(120_000)
	batch := s.Begin(1, 0)
	if _, err := batch.Add(0, c, nil); err != nil {
		t.Fatal(err)
	}
	if err := batch.Sync(); err != nil {
		t.Fatal(err)
	}
	kept := file.size.Load()
	c.Discard()
	if got := file.size.Load(); got != kept {
		t.Errorf("a confirmed body was discarded: got size %d, want %d", got, kept)
	}

	// Two at once never share a file.
	d1, _ := s.NewDraft(t.Context(), 0)
	d2, _ := s.NewDraft(t.Context(), 0)
	for range 10 {
		for _, d := range []blob.Draft{d1, d2} {
			if _, err := d.Write(blobtest.Body(50_000, 3)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if d1.(*draft).lent.f == d2.(*draft).lent.f {
		t.Error("two drafts share a file")
	}
	d1.Discard()
	d2.Discard()
}

func TestHandleLimit(t *testing.T) {
	s := open(t, Config{Dirs: []string{t.TempDir()}, FS: noSync{}, Size: 10_000, Handles: 3})
	var locs []blob.Location
	for i := range uint64(20) {
		locs = append(locs, put(t, s, i+1, blobtest.Body(5000, i))...)
	}
	var readers []blob.Reader
	for i, loc := range locs {
		if got := blobtest.Read(t, s, loc); !bytes.Equal(got, blobtest.Body(5000, uint64(i))) {
			t.Errorf("body %d differs", i)
		}
		if i < 10 {
			r, err := s.Open(loc)
			if err != nil {
				t.Fatal(err)
			}
			readers = append(readers, r)
		}
	}
	for _, r := range readers {
		if _, err := r.ReadAt(make([]byte, 10), 0); err != nil {
			t.Error(err)
		}
		_ = r.Close()
		_ = r.Close()
	}
	s.work.Wait()
	if got := s.handles.open; got > 3+2 { // and those that are written to
		t.Errorf("got %d handles open, want 5 at most", got)
	}
}

func TestRemoveWaitsForReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Config{Dirs: []string{t.TempDir()}, FS: noSync{}, Size: 10_000})
		loc := put(t, s, 1, blobtest.Body(5000, 1), blobtest.Body(5000, 2))[0]
		r, err := s.Open(loc)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Remove(ctx, loc.Volume) }()
		synctest.Wait()
		cancel()
		if err := <-done; mail.KindOf(err) != mail.Locked {
			t.Errorf("given up: got %v, want locked", err)
		}
		if _, err := r.ReadAt(make([]byte, 10), 0); err != nil {
			t.Error(err)
		}
		go func() { done <- s.Remove(t.Context(), loc.Volume) }()
		synctest.Wait()
		if _, err := s.Open(loc); mail.KindOf(err) != mail.NotFound {
			t.Errorf("Open meanwhile: got %v, want not found", err)
		}
		if _, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size())); err != nil {
			t.Error(err)
		}
		_ = r.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestNumbersNeverComeBack removes the highest volume there is.
func TestNumbersNeverComeBack(t *testing.T) {
	dir := t.TempDir()
	c := Config{Dirs: []string{dir}, FS: noSync{}, Size: 80_000}
	s := open(t, c)
	put(t, s, 1, nil)
	loc := put(t, s, 2, blobtest.Body(90_000, 0))[0]
	if err := s.Remove(t.Context(), loc.Volume); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, c)
	if again := put(t, s, 3, blobtest.Body(90_000, 0))[0]; again.Volume <= loc.Volume {
		t.Errorf("got volume %d again", again.Volume)
	}
}

func TestFullDisk(t *testing.T) {
	rec := vfs.NewRecorder(noSync{})
	var full bool
	rec.Fail = func(op vfs.Op, _ string, _ int) error {
		if full && (op == vfs.OpWrite || op == vfs.OpCreate) {
			return syscall.ENOSPC
		}
		return nil
	}
	s := open(t, Config{Dirs: []string{filepath.Join(t.TempDir(), "v")}, FS: rec})
	first := put(t, s, 1, blobtest.Body(100, 0))[0]
	full = true
	for i := range 3 {
		d := blobtest.Draft(t, s, 0, blobtest.Body(100, 0))
		b := s.Begin(2, 1)
		if _, err := b.Add(0, d, nil); err != nil {
			t.Fatal(err)
		}
		if err := b.Sync(); mail.KindOf(err) != mail.Full {
			t.Errorf("Sync %d: got %v, want full", i, err)
		}
		d.Discard()
		large, err := s.NewDraft(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := large.Write(blobtest.Body(100_000, 0)); mail.KindOf(err) != mail.Full {
			t.Errorf("Write %d: got %v, want full", i, err)
		}
		if err := large.Finish(t.Context()); mail.KindOf(err) != mail.Full {
			t.Errorf("Finish %d: got %v, want full", i, err)
		}
		large.Discard()
	}
	full = false
	if loc := put(t, s, 3, blobtest.Body(100, 0))[0]; loc.Volume != first.Volume {
		t.Errorf("got volume %d after want of space, want %d again", loc.Volume, first.Volume)
	}
	wantBatches(t, "with space again", batches(t, s, 0), 1, 3)
}

func TestBadDirectories(t *testing.T) {
	if _, err := Open(Config{}); mail.KindOf(err) != mail.Invalid {
		t.Errorf("no directory: got %v, want invalid", err)
	}
	dir := t.TempDir()
	s := open(t, Config{Dirs: []string{dir}})
	put(t, s, 1, nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if err := os.Link(filepath.Join(dir, fileName(1)), filepath.Join(other, fileName(1))); err != nil {
		t.Skip("no links here")
	}
	if _, err := Open(Config{Dirs: []string{dir, other}}); mail.KindOf(err) != mail.Damaged {
		t.Errorf("a volume twice: got %v, want damaged", err)
	}
}

func TestClosed(t *testing.T) {
	s := open(t, Config{FS: noSync{}})
	small := blobtest.Draft(t, s, 0, []byte("x"))
	large, err := s.NewDraft(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := large.Write(blobtest.Body(80_000, 0)); err != nil {
		t.Fatal(err)
	}
	loc := put(t, s, 1, nil)[0]
	r, err := s.Open(loc)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := large.Finish(t.Context()); err == nil {
		t.Error("Finish after Close: no error")
	}
	b := s.Begin(2, 1)
	if _, err := b.Add(0, small, nil); err == nil && b.Sync() == nil {
		t.Error("batch after Close: no error")
	}
	small.Discard()
	large.Discard()
	_ = r.Close()
	if _, err := s.Open(loc); err == nil {
		t.Error("Open after Close: no error")
	}
	if err := s.Remove(t.Context(), 1); err == nil {
		t.Error("Remove after Close: no error")
	}
}

// TestConcurrentUse has batches, sessions, readers and compaction at once;
// the race detector looks on.
func TestConcurrentUse(t *testing.T) {
	s := open(t, Config{Dirs: []string{t.TempDir()}, FS: noSync{}, Size: 100_000, Handles: 4})
	var mu sync.Mutex
	locs := map[int]blob.Location{}
	const n = 150
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			size := []int{1000, 20_000, 70_000}[i%3]
			d := blobtest.Draft(t, s, 0, blobtest.Body(size, uint64(i)))
			b := s.Begin(uint64(i+1), 0)
			loc, err := b.Add(0, d, fmt.Append(nil, i))
			if err == nil {
				err = b.Sync()
			}
			if err != nil {
				t.Error(err)
				return
			}
			d.Discard()
			s.Settled(uint64(i))
			mu.Lock()
			locs[i] = loc
			mu.Unlock()
		}
	})
	wg.Go(func() { // rejected bodies
		for i := range n {
			blobtest.Draft(t, s, 0, blobtest.Body(66_000+i, 0)).Discard()
		}
	})
	wg.Go(func() { // compaction, and with its lock the readers
		for range 10 {
			mu.Lock()
			moveSealed(t, s, locs)
			mu.Unlock()
		}
	})
	wg.Go(func() {
		for i := range 3 * n {
			mu.Lock()
			loc, ok := locs[i%n]
			mu.Unlock()
			if !ok {
				continue
			}
			if err := s.Verify(t.Context(), loc); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	for i, loc := range locs {
		if err := s.Verify(t.Context(), loc); err != nil {
			t.Errorf("body %d: %v", i, err)
		}
	}
	if got := batches(t, s, 0); len(got) != n {
		t.Errorf("got %d records, want %d", len(got), n)
	}
}

// moveSealed moves the bodies in sealed volumes.
func moveSealed(t *testing.T, s *Store, locs map[int]blob.Location) {
	sealed := map[int64]bool{}
	for _, v := range s.Volumes() {
		sealed[v.Number] = v.Sealed
	}
	for i, loc := range locs {
		if !sealed[loc.Volume] {
			continue
		}
		to, err := s.Move(t.Context(), loc)
		if err != nil {
			t.Error(err)
		}
		locs[i] = to
	}
}
