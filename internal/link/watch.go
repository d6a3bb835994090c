package link

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"
)

// A watch is the context of a wait within Line that is not for the peer.
// Nothing is watched before somebody asks for its Done.
type watch struct {
	context.Context // that of Line

	mu     sync.Mutex
	conn   *Conn
	ctx    context.Context // nil: nobody has asked
	cancel context.CancelFunc
	seen   chan struct{} // closed when the peer is looked at no more
}

// Watch gives a context for what may have to wait for other sessions. It ends
// with ctx, which is that of Line, and besides when the server begins to stop
// and when the peer is seen to close the connection. What does not wait pays
// nothing. Unwatch must follow before anything else is done with the Conn;
// then the context is no longer valid.
func (c *Conn) Watch(ctx context.Context) context.Context {
	w := &c.desk.watch
	w.Context, w.conn = ctx, c
	return w
}

// Unwatch ends what Watch began.
func (c *Conn) Unwatch() {
	w := &c.desk.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx != nil {
		w.cancel()
		c.raw.SetReadDeadline(time.Unix(1, 0)) // ends the look
		<-w.seen
	}
	w.Context, w.conn, w.ctx, w.cancel, w.seen = nil, nil, nil, nil, nil
}

// Done implements context.Context.
func (w *watch) Done() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx == nil {
		ctx, cancel := context.WithCancel(w.Context)
		stop := context.AfterFunc(w.conn.srv.open, cancel)
		w.ctx, w.cancel = ctx, func() { stop(); cancel() }
		w.seen = make(chan struct{})
		w.conn.raw.SetReadDeadline(time.Time{})
		go look(w.conn, cancel, w.seen)
	}
	return w.ctx.Done()
}

// Err implements context.Context.
func (w *watch) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx == nil {
		return w.Context.Err()
	}
	return w.ctx.Err()
}

// look calls cancel when the peer goes, as far as that can be seen: not
// behind input that is there. The connection's read deadline ends it.
func look(c *Conn, cancel context.CancelFunc, seen chan<- struct{}) {
	defer close(seen)
	if !c.parkable {
		return
	}
	rc, err := c.raw.(syscall.Conn).SyscallConn()
	if err != nil {
		return
	}
	var p poll
	gone := false
	err = rc.Read(func(fd uintptr) bool {
		ready := p.ready(fd)
		gone = ready && hungUp(fd)
		return ready
	})
	if gone || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		cancel()
	}
}
