package volume

import (
	"sync"

	"postrider/internal/blob/vfs"
)

// How far the clean offset of a file must move before it is written down, in
// bytes: at most so much is read again at a start.
const settleEvery = 4 << 20

// maxMarks is how many batches a writer remembers the end of.
const maxMarks = 256

// A writer appends to a plain or moved file, for one user at a time. It
// holds the file's handle.
type writer struct {
	f      *file
	handle vfs.File
	end    int64 // where the next record goes

	mu      sync.Mutex
	marks   []mark // ascending
	settled mark
	written int64 // the offset in the newest slot
	slot    int   // where the next one goes: 0 or 1
}

// A mark says that the records before end have batch numbers up to batch.
type mark struct {
	batch uint64
	end   int64
}

// advance makes flushed records count.
func (w *writer) advance(end int64, batch uint64) {
	w.end = end
	w.f.batch.Store(max(batch, w.f.batch.Load()))
	w.f.size.Store(end)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.marks) == maxMarks { // without the last it says less, not wrong
		w.marks = w.marks[:maxMarks-1]
	}
	w.marks = append(w.marks, mark{w.f.batch.Load(), end})
}

// cutBack makes the file end where it ended before, and flushes that.
func (w *writer) cutBack() error {
	if err := w.handle.Truncate(w.end); err != nil {
		return ioError("truncate", w.f.path, err)
	}
	if err := w.handle.Sync(); err != nil {
		return ioError("flush", w.f.path, err)
	}
	return nil
}

// takeBack makes the file end where it ended before its last batch.
func (w *writer) takeBack(end int64) error {
	was := w.end
	w.end = end
	if err := w.cutBack(); err != nil {
		w.end = was
		return err
	}
	w.f.size.Store(end)
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.marks) > 0 && w.marks[len(w.marks)-1].end > end {
		w.marks = w.marks[:len(w.marks)-1]
	}
	return nil
}

// settle takes note that batches up to this one are durable elsewhere.
func (w *writer) settle(batch uint64, every int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for n < len(w.marks) && w.marks[n].batch <= batch {
		w.settled = w.marks[n]
		n++
	}
	w.marks = append(w.marks[:0], w.marks[n:]...)
	if w.settled.end < w.written+every || w.settled.end <= headSize {
		return
	}
	var b [slotSize]byte
	slot{offset: w.settled.end, batch: w.settled.batch}.encode(b[:], w.f.tag)
	at := []int64{slotA, slotB}[w.slot]
	if _, err := w.handle.WriteAt(b[:], at); err == nil { // it is a hint only
		w.written = w.settled.end
		w.slot = 1 - w.slot
	}
}

// close writes down what is settled and flushes the file. The handle is
// closed with the others.
func (w *writer) close() error {
	w.settle(0, 1)
	if err := w.handle.Sync(); err != nil {
		return ioError("flush", w.f.path, err)
	}
	return nil
}

// writerAfter returns the writer that follows w in the group's chain, the
// first one if w is nil. It creates a file if there is none.
func (s *Store) writerAfter(g *group, w *writer) (*writer, error) {
	g.mu.Lock()
	i := 0
	for w != nil && i < len(g.chain) && g.chain[i] != w {
		i++
	}
	if w != nil {
		i++
	}
	if i < len(g.chain) {
		next := g.chain[i]
		g.mu.Unlock()
		return next, nil
	}
	g.mu.Unlock()

	if err := s.extend(g, i); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.chain[i], nil
}

// extend makes the chain longer than n by one file, if it is not.
func (s *Store) extend(g *group, n int) error {
	g.mu.Lock()
	enough := len(g.chain) > n
	g.mu.Unlock()
	if enough {
		return nil
	}
	f, handle, err := s.create(g, plainFile)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.chain = append(g.chain, &writer{f: f, handle: handle, end: headSize})
	return nil
}

// sealed takes a writer out of the chain; nothing is added to its file any
// more. Another file is created ahead, so that no batch has to wait for it.
func (s *Store) sealed(g *group, w *writer) {
	w.f.sealed.Store(true)
	g.mu.Lock()
	for i := range g.chain {
		if g.chain[i] == w {
			g.chain = append(g.chain[:i:i], g.chain[i+1:]...)
			break
		}
	}
	start := len(g.chain) < 2 && !g.preparing
	if start {
		g.preparing = true
	}
	g.mu.Unlock()
	s.handles.release(w.f)
	if start {
		s.prepare(g)
	}
}

// prepare creates a file ahead, in the background.
func (s *Store) prepare(g *group) {
	s.work.Go(func() {
		if err := s.extend(g, 1); err != nil {
			// The batch that needs it tries again and gets the error.
			s.log.Warn("no volume made ahead", "dir", g.dir, "err", err)
		}
		g.mu.Lock()
		g.preparing = false
		g.mu.Unlock()
	})
}

// Settled implements blob.Store.
func (s *Store) Settled(batch uint64) {
	for _, g := range s.groups {
		g.mu.Lock()
		var w *writer
		if len(g.chain) > 0 {
			w = g.chain[0]
		}
		g.mu.Unlock()
		if w != nil {
			w.settle(batch, settleEvery)
		}
	}
}
