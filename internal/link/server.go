package link

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// parkAfter is how long a connection keeps its buffers and goroutine when
// the input has run dry. A parking and its waking together cost 5 to 10 us,
// which is little for a dialogue that has paused for so long.
const parkAfter = 300 * time.Millisecond

// maxRefusing bounds the refusals under way at a time; connections above
// are closed without a word.
const maxRefusing = 64

// ErrClosed is what Serve gives after Shutdown.
var ErrClosed = errors.New("link: server closed")

// A Refusal tells why a connection gets no session.
type Refusal uint8

// The reasons of Config.Refuse.
const (
	TooMany            Refusal = iota // Limits.Sessions are open
	TooManyFromAddress                // Limits.PerAddress are open from there
)

// Config says what a Server does. The functions are called for each
// connection or read, from many goroutines, and must be fast.
type Config struct {
	Name    string // for the log
	Handler Handler
	Limits  func() Limits

	// TLS gives the configuration of the next handshake; it or its result
	// may be nil where there is no TLS. Session tickets are its matter.
	TLS func() *tls.Config
	// Implicit is TLS from the first byte (RFC 8314).
	Implicit bool

	// Exempt names the peers that limits per address do not count.
	Exempt func(netip.Addr) bool
	// Proxy names the peers that must begin with a PROXY header, version
	// 1 or 2; from others it is no header. On a Unix socket it is asked
	// for the zero Addr.
	Proxy func(netip.Addr) bool
	// Refuse writes in the protocol's terms that there is no room. It is
	// not called on an implicit TLS port, where the connection closes.
	Refuse func(c *Conn, why Refusal)

	Log *slog.Logger
}

// A Server serves the connections of any number of listeners with one
// configuration and one set of limits. Make it with New.
type Server struct {
	cfg       Config
	tag       string // begins each session's id
	parkAfter time.Duration
	desks     sync.Pool
	ctx       context.Context // of all sessions; ends when they are cut
	cut       context.CancelFunc
	open      context.Context // ends when stopping begins
	stop      context.CancelFunc

	stopping atomic.Bool
	accepted atomic.Uint64
	failed   atomic.Uint64
	refused  [2]atomic.Uint64
	panics   atomic.Uint64
	parked   atomic.Int64
	linger   atomic.Int64 // connections that wait for their peer to close
	woken    atomic.Uint64
	refusing sync.WaitGroup

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[*Conn]struct{}
	perAddr   map[netip.Addr]int // IPv6: the /64
	refusals  int                // under way
	places    int                // taken, of Limits.Sessions
	empty     chan struct{}      // closed when stopping and conns is empty
	emptied   sync.Once
}

// New makes a server; Name, Handler and Limits must be set.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cut := context.WithCancel(context.Background())
	open, stop := context.WithCancel(ctx)
	return &Server{
		cfg:       cfg,
		tag:       strings.ToLower(rand.Text()[:6]) + "-",
		parkAfter: parkAfter,
		desks:     sync.Pool{New: newDesk},
		ctx:       ctx,
		cut:       cut,
		open:      open,
		stop:      stop,
		listeners: make(map[net.Listener]struct{}),
		conns:     make(map[*Conn]struct{}),
		perAddr:   make(map[netip.Addr]int),
		empty:     make(chan struct{}),
	}
}

// Serve accepts connections until ctx ends or Shutdown is called, and closes
// ln. It returns nil when ctx has ended, else ErrClosed. A failing accept, as
// for want of file descriptors, is tried again.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	defer ln.Close()
	s.mu.Lock()
	if s.stopping.Load() {
		s.mu.Unlock()
		return ErrClosed
	}
	s.listeners[ln] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, ln)
		s.mu.Unlock()
	}()
	defer context.AfterFunc(ctx, func() { ln.Close() })()

	var delay time.Duration
	for {
		nc, err := ln.Accept()
		if err == nil {
			delay = 0
			s.ServeConn(nc)
			continue
		}
		switch {
		case s.stopping.Load():
			return ErrClosed
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		}
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		s.cfg.Log.Warn("accept failed, trying again", slog.String("server", s.cfg.Name),
			slog.String("error", err.Error()), slog.Duration("in", delay))
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	}
}

// ServeConn takes over a connection that was accepted elsewhere and returns
// at once. One that is no socket, as a net.Pipe, works but is never parked.
func (s *Server) ServeConn(nc net.Conn) {
	c := &Conn{srv: s, raw: nc, num: s.accepted.Add(1), since: time.Now()}
	c.remote, c.local = addrPort(nc.RemoteAddr()), addrPort(nc.LocalAddr())
	_, c.parkable = nc.(syscall.Conn)
	c.parkable = c.parkable && canPark
	limit := s.cfg.Limits().Sessions
	s.mu.Lock()
	full := limit > 0 && s.places >= limit
	stopping := s.stopping.Load()
	if !full && !stopping {
		s.places++
		c.held.placed = true
		s.conns[c] = struct{}{}
	}
	s.mu.Unlock()
	switch {
	case stopping:
		nc.Close()
	case !full:
		go c.work((*Conn).open)
	case s.mayRefuse(TooMany):
		c.refused = true
		go c.work((*Conn).tooMany)
	default:
		nc.Close()
	}
}

// admit counts c under its address and reports whether there was room.
func (s *Server) admit(c *Conn) bool {
	addr := c.Remote().Addr()
	exempt := s.cfg.Exempt != nil && s.cfg.Exempt(addr)
	c.mu.Lock()
	c.exempt = exempt
	c.mu.Unlock()
	if exempt || !addr.IsValid() {
		return true
	}
	limit := s.cfg.Limits().PerAddress
	key := network(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	if limit > 0 && s.perAddr[key] >= limit {
		return false
	}
	s.perAddr[key]++
	c.held.counted = true
	return true
}

// network is the unit that limits per address count: an IPv4 address, or
// the /64 that one IPv6 site has.
func network(a netip.Addr) netip.Addr {
	if a.Is4() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}

// A hold is what a connection has of its server's limits.
type hold struct {
	placed  bool // a place of Limits.Sessions
	counted bool // is counted under its address
}

// release gives back what c holds, and says what that was; it may be called
// twice.
func (s *Server) release(c *Conn) hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.releaseLocked(c)
}

func (s *Server) releaseLocked(c *Conn) hold {
	held := c.held
	c.held = hold{}
	if held.placed {
		s.places--
	}
	if held.counted {
		key := network(c.remote.Addr())
		if s.perAddr[key]--; s.perAddr[key] <= 0 {
			delete(s.perAddr, key)
		}
	}
	return held
}

// reclaim gives c again what it has held, though that be one more than the
// limits allow, unless c has quit.
func (s *Server) reclaim(c *Conn, held hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.left {
		return
	}
	c.held = held
	if held.placed {
		s.places++
	}
	if held.counted {
		s.perAddr[network(c.remote.Addr())]++
	}
}

// quit gives back what c holds for good.
func (s *Server) quit(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.left = true
	s.releaseLocked(c)
}

// remove forgets c, which is closed.
func (s *Server) remove(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.stopping.Load() && len(s.conns) == 0 {
		s.emptied.Do(func() { close(s.empty) })
	}
}

// mayRefuse counts a refusal and reports whether it can be told to the peer.
// If so, refusalDone must follow.
func (s *Server) mayRefuse(why Refusal) bool {
	s.refused[why].Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusals >= maxRefusing || s.cfg.Refuse == nil || s.cfg.Implicit || s.stopping.Load() {
		return false
	}
	s.refusals++
	s.refusing.Add(1)
	return true
}

func (s *Server) refusalDone() {
	s.mu.Lock()
	s.refusals--
	s.mu.Unlock()
	s.refusing.Done()
}

// Shutdown stops accepting at once. A session that waits gets
// Expire(Shutdown); one inside Line finishes that first. When ctx ends the
// rest is cut, their context ends, and Shutdown gives ctx's error. It returns
// when no session is left, or a second after the cut.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.stopping.Store(true)
	s.stop()
	if len(s.conns) == 0 {
		s.emptied.Do(func() { close(s.empty) })
	}
	for ln := range s.listeners {
		ln.Close()
	}
	for c := range s.conns {
		c.interrupt()
	}
	s.mu.Unlock()
	defer s.cut()
	select {
	case <-s.empty:
		s.refusing.Wait()
		return nil
	case <-ctx.Done():
	}
	s.cut()
	s.mu.Lock()
	for c := range s.conns {
		c.HangUp()
	}
	s.mu.Unlock()
	select {
	case <-s.empty:
	case <-time.After(time.Second):
	}
	return ctx.Err()
}

// Stats are a server's counts, for metrics. Open and Parked are at present,
// the others since the start.
type Stats struct {
	Open               int    // sessions, and connections on the way to one
	Parked             int    // of these, without goroutine stack and buffers
	Woken              uint64 // parked ones that went on
	Accepted           uint64
	Failed             uint64 // no PROXY header or no TLS handshake
	TooMany            uint64 // refused for Limits.Sessions
	TooManyFromAddress uint64 // refused for Limits.PerAddress
	Panics             uint64
}

// Stats gives the counts.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	open := len(s.conns)
	s.mu.Unlock()
	return Stats{
		Open:               open,
		Parked:             int(s.parked.Load()),
		Woken:              s.woken.Load(),
		Accepted:           s.accepted.Load(),
		Failed:             s.failed.Load(),
		TooMany:            s.refused[TooMany].Load(),
		TooManyFromAddress: s.refused[TooManyFromAddress].Load(),
		Panics:             s.panics.Load(),
	}
}

// Sessions gives the connections that are open, in no order. They may end
// at any time.
func (s *Server) Sessions() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		list = append(list, c)
	}
	return list
}
