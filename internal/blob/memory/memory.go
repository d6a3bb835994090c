// Package memory hands out the buffers in which bodies wait, within one limit
// for all of them. Whoever waits for a buffer holds none, so that waiting
// cannot deadlock.
package memory

import (
	"context"
	"sync"

	"postrider/internal/blob"
	"postrider/internal/mail"
)

// The sizes of buffers, in bytes.
const (
	Small = 8 << 10
	Large = blob.InMemory
)

// A Pool counts the buffers of all drafts together, by their actual size, and
// hands them out. All methods may be called concurrently.
type Pool struct {
	mu      sync.Mutex
	free    int64
	waiting []chan struct{} // first come, first served; closed when served

	small, large sync.Pool // of *Buffer
}

// A Buffer holds the beginning of a body. Its capacity is one of the sizes.
type Buffer struct {
	B []byte // may grow up to its capacity, but not be replaced
}

// New returns a pool that has limit bytes to give, Small at least.
func New(limit int64) *Pool {
	p := &Pool{free: max(limit, Small)}
	p.small.New = func() any { return &Buffer{make([]byte, 0, Small)} }
	p.large.New = func() any { return &Buffer{make([]byte, 0, Large)} }
	return p
}

// Wait returns a small buffer as soon as there is memory: first come, first
// served. If ctx ends before, the error is of kind Full.
func (p *Pool) Wait(ctx context.Context) (*Buffer, error) {
	p.mu.Lock()
	if p.free >= Small && len(p.waiting) == 0 {
		p.free -= Small
		p.mu.Unlock()
		return p.small.Get().(*Buffer), nil
	}
	turn := make(chan struct{})
	p.waiting = append(p.waiting, turn)
	p.mu.Unlock()

	select {
	case <-turn:
		return p.small.Get().(*Buffer), nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, w := range p.waiting {
		if w == turn {
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			return nil, &mail.Error{Kind: mail.Full,
				Text: "the memory for messages under way is used up", Err: ctx.Err()}
		}
	}
	p.give(Small) // served at the same moment
	return nil, &mail.Error{Kind: mail.Full,
		Text: "waiting for memory for a message was given up", Err: ctx.Err()}
}

// Try returns a large buffer if there is memory now and nobody waits for it,
// else nil.
func (p *Pool) Try() *Buffer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free < Large || len(p.waiting) > 0 {
		return nil
	}
	p.free -= Large
	return p.large.Get().(*Buffer)
}

// Put takes a buffer back.
func (p *Pool) Put(b *Buffer) {
	n := int64(cap(b.B))
	b.B = b.B[:0]
	if n == Small {
		p.small.Put(b)
	} else {
		p.large.Put(b)
	}
	p.mu.Lock()
	p.give(n)
	p.mu.Unlock()
}

// Free is how many bytes can be given out.
func (p *Pool) Free() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.free
}

// give adds n bytes to what is free and serves who waits. The lock is held.
func (p *Pool) give(n int64) {
	p.free += n
	for p.free >= Small && len(p.waiting) > 0 {
		p.free -= Small
		close(p.waiting[0])
		p.waiting = p.waiting[1:]
	}
}
