package link

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"
)

// inSize and outSize are the buffers of a connection at work, in bytes: a
// common message with its commands fits into one read, and a TLS record of
// full size into one write.
const (
	inSize  = 8 << 10
	outSize = 16 << 10
)

// sendPiece is the most that one write hands to the kernel under one
// deadline; a slow peer gets Limits.WriteTime for each piece. TLS gets a
// record at a time, because a TLS write that timed out cannot go on.
const (
	sendPiece    = 256 << 10
	sendPieceTLS = 16 << 10
)

// maxLine is how many times Limits.LineTime a line may take to come whole. A
// slow peer has its time for each byte, but not for ever.
const maxLine = 3

// stallTime is how long the peer may be silent in a body until its session
// hears of it.
const stallTime = time.Second

// A session that has used up its total time may finish the body that is
// coming, as long as each paceTime brings pace bytes a second on average. A
// total time that is shorter stands for paceTime.
const (
	paceTime = time.Minute
	pace     = 1 << 10
)

// ErrOverlong is what reading a body gives when the session has used up its
// total time.
var ErrOverlong = errors.New("the session has used up its time")

// errNoTLS is what StartTLS gives when it cannot be.
var (
	errNoTLS   = errors.New("TLS is not set up")
	errTLSOnce = errors.New("TLS is active already")
)

// A Conn is one connection as its session sees it. Its methods are called
// from within the methods of its Session or Handler only, one at a time;
// ID, Remote, Local, Exempt, Since and HangUp may be called at any time.
type Conn struct {
	srv     *Server
	raw     net.Conn
	tls     *tls.Conn            // nil in clear text
	state   *tls.ConnectionState // made when first asked for
	session Session
	desk    *desk  // nil while parked
	partial []byte // what is known of a line that spans reads or a parking
	num     uint64
	since   time.Time
	lineBy  time.Time     // when the awaited line must go on; zero: not awaited yet
	lineEnd time.Time     // when it must be whole
	perLine time.Duration // 0: Limits.LineTime
	sendErr error         // the first failure of a write; sticky

	phase    phase
	came     bool // the last read of a line brought something
	skipping bool // the line is too long and its rest is thrown away
	gone     bool // the peer has closed or broken the connection
	refused  bool // has no place; the server counts it among the refusals
	parkable bool

	held hold // under the server's mutex
	left bool // holds nothing for good; under the server's mutex

	mu      sync.Mutex
	waiting bool // Shutdown may interrupt the read
	parked  bool
	exempt  bool
	remote  netip.AddrPort
	local   netip.AddrPort
}

// A phase says who reads, and so which deadline holds.
type phase uint8

const (
	opening phase = iota // header and handshake; the deadline is set
	talking              // the loop waits for a line
	busy                 // the session is at work; reads are those of a body
)

// A desk is what a connection needs only while it works.
type desk struct {
	in     *bufio.Reader
	out    []byte // what is written and not flushed, of capacity outSize
	limits Limits // as of the last read
	watch  watch
	paceBy time.Time // end of the paceTime at hand, of a body in an overlong session
	paced  int       // bytes that it has brought
}

func newDesk() any {
	return &desk{in: bufio.NewReaderSize(nil, inSize), out: make([]byte, 0, outSize)}
}

// input is the Conn as the source of its bufio.Reader.
type input Conn

func (i *input) Read(p []byte) (int, error) { return (*Conn)(i).fill(p) }

func (c *Conn) sitDown() {
	c.desk = c.srv.desks.Get().(*desk)
	c.desk.in.Reset((*input)(c))
	c.desk.limits = c.srv.cfg.Limits()
}

func (c *Conn) standUp() {
	d := c.desk
	if d == nil {
		return
	}
	c.desk = nil
	d.in.Reset(nil)
	d.out = d.out[:0]
	c.srv.desks.Put(d)
}

// ID names the session in logs and Received lines: short, without spaces,
// unique for this server's life and most likely beyond it.
func (c *Conn) ID() string {
	b := make([]byte, 0, 20)
	b = append(b, c.srv.tag...)
	return string(strconv.AppendUint(b, c.num, 36))
}

// Since is when the connection was accepted.
func (c *Conn) Since() time.Time { return c.since }

// Remote is the peer's address, the one in the PROXY header where there is
// one. It is the zero AddrPort on a Unix socket. IPv4 is never mapped.
func (c *Conn) Remote() netip.AddrPort {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remote
}

// Local is our address as the peer sees it, under the rules of Remote.
func (c *Conn) Local() netip.AddrPort {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.local
}

// Exempt says whether Config.Exempt holds for the peer, so that limits per
// address do not count it.
func (c *Conn) Exempt() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exempt
}

// HangUp cuts the connection without a farewell. A session at work sees its
// reads and writes fail. It may be called from any goroutine.
func (c *Conn) HangUp() { c.raw.Close() }

// SetLineTime sets what stands for Limits.LineTime in this session from the
// next line on; 0 is that itself.
func (c *Conn) SetLineTime(d time.Duration) { c.perLine = d }

// Reader gives the input for a body that follows the line at hand. What is
// written is flushed before it blocks. Each byte must come within
// Limits.ReadTime, else it fails with os.ErrDeadlineExceeded. When the
// session's total time is over it fails with ErrOverlong, unless the body
// comes at 1 kB/s. It is valid until Line returns.
func (c *Conn) Reader() *bufio.Reader {
	c.desk.paceBy = time.Time{}
	return c.desk.in
}

// fill reads from the connection for the desk's reader.
func (c *Conn) fill(p []byte) (int, error) {
	if err := c.Flush(); err != nil {
		return 0, err
	}
	c.desk.limits = c.srv.cfg.Limits()
	now := time.Now()
	switch c.phase {
	case opening:
		return c.read(p)
	case busy:
		return c.readBody(p, now)
	}
	c.awaitLine(now)
	by := c.lineBy
	if c.parkable {
		by = earlier(by, now.Add(c.srv.parkAfter))
	}
	if !c.arm(c.bound(by)) {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := c.read(p)
	c.disarm()
	c.came = n > 0
	return n, err
}

// awaitLine says when the line must have gone on and when it must be whole.
func (c *Conn) awaitLine(now time.Time) {
	wait := c.perLine
	if wait <= 0 {
		wait = c.desk.limits.LineTime
	}
	if c.lineBy.IsZero() {
		c.lineBy, c.lineEnd = now.Add(wait), now.Add(maxLine*wait)
	} else if c.came {
		c.lineBy = earlier(now.Add(wait), c.lineEnd)
	}
	c.came = false
}

// readBody reads a part of a body. A silent peer does not end the wait before
// its time, but the session is told.
func (c *Conn) readBody(p []byte, now time.Time) (int, error) {
	by := now.Add(c.desk.limits.ReadTime)
	for {
		c.session.Waiting()
		if c.tooSlow(now) {
			return 0, ErrOverlong
		}
		c.raw.SetReadDeadline(earlier(by, now.Add(stallTime)))
		n, err := c.read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			c.desk.paced += n
			return n, err
		}
		if now = time.Now(); !now.Before(by) {
			return 0, err
		}
	}
}

// tooSlow says whether the session's total time is over and the body comes
// too slowly to be waited for.
func (c *Conn) tooSlow(now time.Time) bool {
	d := c.desk
	total := d.limits.Session
	if total <= 0 || now.Before(c.since.Add(total)) {
		return false
	}
	span := min(total, paceTime)
	begun := !d.paceBy.IsZero()
	if begun && now.Before(d.paceBy) {
		return false
	}
	slow := begun && float64(d.paced) < pace*span.Seconds()
	d.paceBy, d.paced = now.Add(span), 0
	return slow
}

func (c *Conn) read(p []byte) (int, error) {
	if c.tls != nil {
		return c.tls.Read(p)
	}
	return c.raw.Read(p)
}

// bound gives t, or the end of the session's total time when that is earlier.
func (c *Conn) bound(t time.Time) time.Time {
	if d := c.desk.limits.Session; d > 0 {
		return earlier(t, c.since.Add(d))
	}
	return t
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// arm sets the deadline of a read that Shutdown may interrupt, and reports
// false when the server is stopping.
func (c *Conn) arm(by time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.srv.stopping.Load() {
		return false
	}
	c.waiting = true
	c.raw.SetReadDeadline(by)
	return true
}

func (c *Conn) disarm() {
	c.mu.Lock()
	c.waiting = false
	c.mu.Unlock()
}

// interrupt ends a read that arm has announced.
func (c *Conn) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting {
		c.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// Write buffers p, or sends it at once when it is large. Its error is the
// first that a write or flush had on this connection, and stays.
func (c *Conn) Write(p []byte) (int, error) {
	fits := c.room(len(p))
	if !fits {
		c.send(p)
	}
	if c.sendErr != nil {
		return 0, c.sendErr
	}
	if !fits {
		return len(p), nil
	}
	c.desk.out = append(c.desk.out, p...)
	return len(p), nil
}

// WriteString is Write for a string.
func (c *Conn) WriteString(s string) (int, error) {
	if len(s) > outSize {
		return c.Write([]byte(s))
	}
	c.room(len(s))
	if c.sendErr != nil {
		return 0, c.sendErr
	}
	c.desk.out = append(c.desk.out, s...)
	return len(s), nil
}

// AvailableBuffer gives an empty slice of some capacity to append to and to
// hand to the next Write, which then copies nothing.
func (c *Conn) AvailableBuffer() []byte {
	c.room(outSize / 4)
	return c.desk.out[len(c.desk.out):]
}

// room flushes when n bytes do not fit, and reports false when they never
// will.
func (c *Conn) room(n int) bool {
	if n > outSize-len(c.desk.out) {
		c.Flush()
	}
	return n <= outSize
}

// Flush sends what is buffered.
func (c *Conn) Flush() error {
	if len(c.desk.out) == 0 || c.sendErr != nil {
		return c.sendErr
	}
	err := c.send(c.desk.out)
	c.desk.out = c.desk.out[:0]
	return err
}

// send writes p, with a deadline for each piece and for each progress.
func (c *Conn) send(p []byte) error {
	for len(p) > 0 && c.sendErr == nil {
		c.raw.SetWriteDeadline(time.Now().Add(c.desk.limits.WriteTime))
		if c.tls != nil {
			var n int
			n, c.sendErr = c.tls.Write(p[:min(len(p), sendPieceTLS)])
			p = p[n:]
			continue
		}
		n, err := c.raw.Write(p[:min(len(p), sendPiece)])
		p = p[n:]
		if err != nil && (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
			c.sendErr = err
		}
	}
	return c.sendErr
}
