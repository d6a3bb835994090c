// Package memory hands out the buffers in which bodies wait, within one limit
// for all of them. Whoever waits for a buffer holds none, so that waiting
// cannot deadlock. Whoever holds one while nothing happens should look at
// Pressed now and then, and do without when others have waited for a while.
package memory

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"postrider/internal/blob"
	"postrider/internal/mail"
)

// The sizes of buffers, in bytes.
const (
	Small = 8 << 10
	Large = blob.InMemory
)

// Patience is how long Wait waits. The clients of most senders wait for some
// minutes, and then give up without a word.
const Patience = 30 * time.Second

// pressure is how long somebody must have waited before others are to do
// without their buffers, which costs them more than the time of a message that
// is just being delivered.
const pressure = 250 * time.Millisecond

var errPatience = errors.New("nothing came free in time")

// A Pool counts the buffers of all drafts together, by their actual size, and
// hands them out. All methods may be called concurrently.
type Pool struct {
	mu      sync.Mutex
	free    int64
	waiting []waiter // first come, first served

	oldest atomic.Int64 // since when the first one waits, in Unix ns; 0: nobody does

	small, large sync.Pool // of *Buffer
}

type waiter struct {
	turn  chan struct{} // closed when it is served
	since int64         // Unix ns
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
// served. If there is none within Patience, or if ctx ends before, the error
// is of kind Full.
func (p *Pool) Wait(ctx context.Context) (*Buffer, error) {
	p.mu.Lock()
	if p.free >= Small && len(p.waiting) == 0 {
		p.free -= Small
		p.mu.Unlock()
		return p.small.Get().(*Buffer), nil
	}
	turn := make(chan struct{})
	p.waiting = append(p.waiting, waiter{turn, time.Now().UnixNano()})
	p.first()
	p.mu.Unlock()

	patience := time.NewTimer(Patience)
	defer patience.Stop()
	err := errPatience
	select {
	case <-turn:
		return p.small.Get().(*Buffer), nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-patience.C:
	}
	p.leave(turn)
	return nil, &mail.Error{Kind: mail.Full, Err: err,
		Text: "the memory for messages under way is used up"}
}

// leave ends a wait, even one that is served at the same moment.
func (p *Pool) leave(turn chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, w := range p.waiting {
		if w.turn == turn {
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			p.first()
			return
		}
	}
	p.give(Small)
}

// Try returns a buffer of this size, Small or Large, if there is memory now
// and nobody waits for it, else nil.
func (p *Pool) Try(size int) *Buffer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free < int64(size) || len(p.waiting) > 0 {
		return nil
	}
	p.free -= int64(size)
	if size == Small {
		return p.small.Get().(*Buffer)
	}
	return p.large.Get().(*Buffer)
}

// Pressed says that somebody has waited for some time. It is cheap to ask.
func (p *Pool) Pressed() bool {
	t := p.oldest.Load()
	return t != 0 && time.Now().UnixNano()-t >= int64(pressure)
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
		close(p.waiting[0].turn)
		p.waiting = p.waiting[1:]
	}
	p.first()
}

// first notes who waits longest. The lock is held.
func (p *Pool) first() {
	if len(p.waiting) == 0 {
		p.oldest.Store(0)
		return
	}
	p.oldest.Store(p.waiting[0].since)
}
