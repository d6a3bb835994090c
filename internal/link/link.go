// Package link carries line protocols over many connections: it accepts,
// limits, speaks TLS and the PROXY protocol, buffers, times out, and lets a
// waiting connection cost next to nothing.
//
// A connection at work has a goroutine and two buffers from a pool. One that
// has waited for a short time is parked: its buffers go back, its goroutine
// ends, and a fresh small one waits for readability with RawConn.Read. So
// 10 000 idlers cost a few kilobytes each.
//
// A connection belongs to the one goroutine that works on it or waits for it;
// its mutex guards only what Shutdown and monitors look at. Lock order: the
// server's mutex, then a connection's. Neither is held during input, output
// or a call of a session.
package link

import (
	"context"
	"time"
)

// A Handler makes a session for each new connection. It is called after the
// PROXY header and, on an implicit TLS port, after the handshake, by many
// goroutines at the same time.
type Handler interface {
	// Open writes the greeting to c and returns the session, or writes a
	// refusal and returns nil. The context, here and below, ends when
	// Shutdown cuts what is left.
	Open(ctx context.Context, c *Conn) Session
}

// A Session is one connection's dialogue. Its methods are never called at
// the same time, and a session holds no buffer of its own between two calls.
type Session interface {
	// Line handles one line without its line end and reports whether the
	// connection goes on. It writes to the Conn; the loop flushes when it
	// has no more input at hand, which gives pipelining its speed. The
	// line is valid until Line returns. Bare is set when it ended in LF
	// without CR.
	Line(ctx context.Context, line []byte, bare bool) bool
	// TooLong is called instead of Line for a line above Limits.Line; the
	// rest of that line has been skipped.
	TooLong(ctx context.Context) bool
	// Expire is called when the session must end though the peer did
	// nothing wrong; it may write a farewell. It is not called when Line
	// has returned false, be it for a body that did not come in time.
	Expire(why Reason)
	// Waiting is called within Line when a read of a body is about to wait
	// for the peer, and again for each stallTime of the peer's silence: what
	// the session holds and can do without may go to others. It must not
	// use the Conn.
	Waiting()
	// Close is always the last call.
	Close()
}

// A Reason tells why a session must end.
type Reason uint8

// The reasons of Expire.
const (
	Idle     Reason = iota // no whole line came in time
	Shutdown               // the server stops
	Overlong               // the session has used up its total time
)

// Limits of a listener; they may change while it runs.
type Limits struct {
	Sessions   int           // at a time, in total; 0 is none
	PerAddress int           // at a time, from one address (IPv6: /64); 0 is none
	Line       int           // bytes of a line, without its line end
	LineTime   time.Duration // for the next byte of a line; maxLine times that for all
	ReadTime   time.Duration // for any byte of a body to come
	WriteTime  time.Duration // for the peer to take what was written
	Handshake  time.Duration // for TLS and the PROXY header
	Session    time.Duration // in total, but of a body that comes on; 0 is none
}
