package link

import (
	"bufio"
	"bytes"
	"errors"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"syscall"
	"time"
)

// lingerTime is how long a closed connection is read from so that the peer
// gets our last reply, and lingerBytes how much of it at most: input that
// arrives at a closed socket makes the kernel send a reset, which may take
// the reply with it.
const (
	lingerTime     = time.Second
	lingerStopping = 50 * time.Millisecond
	lingerBytes    = 256 << 10
)

// maxLingering bounds the connections that linger at a time, as they have no
// place any more; those above close at once.
const maxLingering = 1000

var errTooLong = errors.New("line too long")

// work lets the connection work until it ends or is parked. First comes
// begin, if any, which reports whether there is a session.
func (c *Conn) work(begin func(*Conn) bool) {
	c.sitDown()
	parked := false
	defer func() {
		if v := recover(); v != nil {
			c.panicked(v)
		}
		if !parked {
			c.finish()
		}
	}()
	if begin != nil && !begin(c) {
		return
	}
	if c.talk() {
		parked = true
		c.park()
	}
}

// talk reads lines and hands them to the session. It reports true when the
// connection should be parked and false when it is at its end.
func (c *Conn) talk() (park bool) {
	ctx := c.srv.ctx
	for {
		c.phase = talking
		line, bare, err := c.line()
		on := false
		switch {
		case err == nil:
			c.phase = busy
			on = c.session.Line(ctx, line, bare)
		case errors.Is(err, errTooLong):
			c.phase = busy
			on = c.session.TooLong(ctx)
		case c.sendErr == nil && errors.Is(err, os.ErrDeadlineExceeded):
			why, over := c.overdue()
			if !over {
				return true
			}
			c.session.Expire(why)
		default:
			c.gone = true
		}
		if !on {
			return false
		}
		if c.srv.stopping.Load() {
			c.session.Expire(Shutdown)
			return false
		}
	}
}

// overdue says why a read has timed out: a reason to end, or only that it
// is time to park.
func (c *Conn) overdue() (Reason, bool) {
	now := time.Now().Add(time.Millisecond) // timers may be a little early
	total := c.desk.limits.Session
	switch {
	case c.srv.stopping.Load():
		return Shutdown, true
	case total > 0 && now.After(c.since.Add(total)):
		return Overlong, true
	case !c.parkable || now.After(c.lineBy):
		return Idle, true
	}
	return 0, false
}

// line reads a line up to Limits.Line. It is valid until the next read.
// After a time-out it goes on where it was.
func (c *Conn) line() (line []byte, bare bool, err error) {
	for {
		b, err := c.desk.in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if len(b) > 0 {
				c.keep(b)
			}
			return nil, false, err
		}
		if err != nil {
			c.keep(b)
			continue
		}
		if !c.skipping && len(c.partial) > 0 {
			c.partial = append(c.partial, b...)
			b, c.partial = c.partial, nil
		}
		c.lineBy = time.Time{}
		skipped := c.skipping
		c.skipping = false
		b = b[:len(b)-1]
		text, crlf := bytes.CutSuffix(b, []byte{'\r'})
		if skipped || len(text) > c.desk.limits.Line {
			return nil, false, errTooLong
		}
		return text, !crlf, nil
	}
}

// keep sets aside a part of a line, or begins to skip what is too long.
func (c *Conn) keep(b []byte) {
	// One more than the limit may be the CR of the line end.
	if c.skipping || len(c.partial)+len(b) > c.desk.limits.Line+1 {
		c.skipping = true
		c.partial = nil
		return
	}
	c.partial = append(c.partial, b...)
}

// park gives the desk back and lets a fresh goroutine, whose stack is
// small, wait for the peer. The caller's goroutine must end.
//
// No input can be hidden above the socket: line has just emptied the
// reader, and a read that timed out has found TLS empty.
func (c *Conn) park() {
	by := c.bound(c.lineBy)
	c.standUp()
	c.srv.parked.Add(1)
	go c.sleep(by)
}

// sleep waits until the connection is readable, or the time is up, or the
// server stops, and then works on. Its stack must stay shallow.
func (c *Conn) sleep(by time.Time) {
	if c.arm(by) {
		waitReadable(c.raw)
		c.disarm()
	}
	c.srv.parked.Add(-1)
	c.srv.woken.Add(1)
	c.work(nil)
}

// waitReadable returns when nc can be read without waiting or has failed.
func waitReadable(nc net.Conn) {
	rc, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return
	}
	var p poll
	rc.Read(p.ready)
}

// panicked logs a panic of the session.
func (c *Conn) panicked(v any) {
	c.srv.panics.Add(1)
	c.gone = true
	c.srv.cfg.Log.Error("session panicked", slog.String("server", c.srv.cfg.Name),
		slog.String("session", c.ID()), slog.Any("panic", v),
		slog.String("stack", string(debug.Stack())))
}

// finish ends the session and the connection.
func (c *Conn) finish() {
	c.phase = busy
	c.farewell()
	c.closeSession()
	c.close()
	c.standUp()
	c.srv.remove(c)
	if c.refused {
		c.srv.refusalDone()
	}
}

// farewell sends what is left to be sent. The connection's place is free
// before: who reads a farewell may come again at once. Who does not read it
// has his place again after lingerTime, until the write gives up.
func (c *Conn) farewell() {
	held := c.srv.release(c)
	if c.gone || len(c.desk.out) == 0 {
		return
	}
	late := time.AfterFunc(lingerTime, func() { c.srv.reclaim(c, held) })
	c.Flush()
	if !late.Stop() {
		c.srv.quit(c)
	}
}

func (c *Conn) closeSession() {
	if c.session == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			c.panicked(v)
		}
	}()
	c.session.Close()
}

// close closes politely: the peer can read our last words, and has a
// moment to close as well.
func (c *Conn) close() {
	defer c.raw.Close()
	half, ok := c.raw.(interface{ CloseWrite() error })
	if c.gone || c.sendErr != nil || !ok {
		return
	}
	defer c.srv.linger.Add(-1)
	if c.srv.linger.Add(1) > maxLingering {
		return
	}
	wait := lingerTime
	if c.srv.stopping.Load() {
		wait = lingerStopping
	}
	by := time.Now().Add(wait)
	c.raw.SetDeadline(by)
	if c.tls != nil {
		c.tls.CloseWrite()
	}
	if half.CloseWrite() != nil {
		return
	}
	scratch := c.desk.out[:outSize]
	for total := 0; total < lingerBytes; {
		n, err := c.raw.Read(scratch)
		if err != nil {
			return
		}
		total += n
	}
}
