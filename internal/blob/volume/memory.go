package volume

import (
	"context"
	"sync"

	"postrider/internal/blob"
	"postrider/internal/mail"
)

// The size classes of a draft's buffer, in bytes.
const (
	smallBuffer = 8 << 10
	largeBuffer = blob.InMemory
)

// memory counts the buffers of all drafts together, by their actual size,
// and hands them out. Whoever waits for it holds none of it, so that it
// cannot deadlock.
type memory struct {
	mu      sync.Mutex
	free    int64
	waiting []chan struct{} // first come, first served; closed when served

	small, large sync.Pool // of *buffer
}

// A buffer's capacity is that of its class.
type buffer struct{ b []byte }

func newMemory(limit int64) *memory {
	m := &memory{free: max(limit, smallBuffer)}
	m.small.New = func() any { return &buffer{make([]byte, 0, smallBuffer)} }
	m.large.New = func() any { return &buffer{make([]byte, 0, largeBuffer)} }
	return m
}

// wait returns a small buffer as soon as there is memory.
func (m *memory) wait(ctx context.Context) (*buffer, error) {
	m.mu.Lock()
	if m.free >= smallBuffer && len(m.waiting) == 0 {
		m.free -= smallBuffer
		m.mu.Unlock()
		return m.small.Get().(*buffer), nil
	}
	turn := make(chan struct{})
	m.waiting = append(m.waiting, turn)
	m.mu.Unlock()

	select {
	case <-turn:
		return m.small.Get().(*buffer), nil
	case <-ctx.Done():
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, w := range m.waiting {
		if w == turn {
			m.waiting = append(m.waiting[:i], m.waiting[i+1:]...)
			return nil, &mail.Error{Kind: mail.Full,
				Text: "the memory for messages under way is used up", Err: ctx.Err()}
		}
	}
	m.give(smallBuffer) // served at the same moment
	return nil, &mail.Error{Kind: mail.Full,
		Text: "waiting for memory for a message was given up", Err: ctx.Err()}
}

// try returns a large buffer if there is memory now.
func (m *memory) try() *buffer {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.free < largeBuffer || len(m.waiting) > 0 {
		return nil
	}
	m.free -= largeBuffer
	return m.large.Get().(*buffer)
}

// put takes a buffer back.
func (m *memory) put(b *buffer) {
	n := int64(cap(b.b))
	b.b = b.b[:0]
	if n == smallBuffer {
		m.small.Put(b)
	} else {
		m.large.Put(b)
	}
	m.mu.Lock()
	m.give(n)
	m.mu.Unlock()
}

// give adds n bytes to what is free and serves who waits. The lock is held.
func (m *memory) give(n int64) {
	m.free += n
	for m.free >= smallBuffer && len(m.waiting) > 0 {
		m.free -= smallBuffer
		close(m.waiting[0])
		m.waiting = m.waiting[1:]
	}
}
