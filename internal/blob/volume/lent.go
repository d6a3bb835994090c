package volume

// maxLent is how many lent files of a group wait for the next draft. What is
// above, after many slow ones at a time, is left to be cleared away.
const maxLent = 128

// lend returns a file that belongs to the caller alone until repay or
// takeBack: an idle one with room, or a new one.
func (s *Store) lend(group int) (*loan, error) {
	g, err := s.group(group)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	var f *file
	if n := len(g.idle); n > 0 {
		f = g.idle[n-1]
		g.idle = g.idle[:n-1]
	}
	g.mu.Unlock()
	if f == nil {
		if f, _, err = s.create(g, lentFile); err != nil {
			return nil, err
		}
		s.handles.release(f)
	}
	handle, err := s.handles.acquire(f)
	if err != nil {
		return nil, err
	}
	return &loan{f: f, handle: handle, start: f.size.Load() + recordSize}, nil
}

// repay gives the file of a finished body back for the next draft. The loan
// keeps its handle.
func (s *Store) repay(l *loan) {
	l.settled = true
	s.idle(l.f)
}

// idle puts a lent file into the pool, or seals it when it has no room.
func (s *Store) idle(f *file) {
	if f.sealed.Load() {
		return
	}
	g := s.groups[f.group]
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.size.Load() >= s.size || len(g.idle) >= maxLent || s.closed.Load() {
		f.sealed.Store(true)
		return
	}
	g.idle = append(g.idle, f)
}

// takeBack cuts a body off that no batch confirmed. If another draft has the
// file already, or wrote behind it, the bytes are left for the sweep.
func (s *Store) takeBack(l *loan) {
	defer s.handles.release(l.f)
	f := l.f
	start := l.start - recordSize
	if l.settled && !s.takeIdle(f, start+recordSize+l.written) {
		return
	}
	if f.sealed.Load() || s.closed.Load() {
		return
	}
	// The truncation needs no flush: if it is lost, an unreferenced body or
	// part of one is there again, and nothing is ever written over it that
	// the size in this process does not cover.
	f.size.Store(start)
	if err := l.handle.Truncate(start); err != nil {
		s.log.Warn("volume not cut back", "volume", f.number, "err", err)
		f.sealed.Store(true)
		return
	}
	s.idle(f)
}

// takeIdle takes f out of the pool if it is there and ends at end.
func (s *Store) takeIdle(f *file, end int64) bool {
	g := s.groups[f.group]
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, idle := range g.idle {
		if idle == f && f.size.Load() == end {
			g.idle = append(g.idle[:i], g.idle[i+1:]...)
			return true
		}
	}
	return false
}
