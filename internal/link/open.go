package link

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/pires/go-proxyproto"
)

var errNoStream = errors.New("the PROXY header is not about a stream")

// open takes the connection from its first byte to its session, and reports
// whether there is one.
func (c *Conn) open() bool {
	by := time.Now().Add(c.desk.limits.Handshake)
	if !c.arm(by) {
		c.gone = true
		return false
	}
	proxied, err := c.proxyHeader()
	if err != nil {
		c.disarm()
		return c.failed("PROXY header", err)
	}
	if !c.srv.admit(c) {
		c.disarm()
		c.srv.release(c) // a refusal must not take up a place
		c.refused = c.srv.mayRefuse(TooManyFromAddress)
		c.gone = !c.refused
		if c.refused {
			c.sayNo(TooManyFromAddress)
		}
		return false
	}
	if c.srv.cfg.Implicit {
		nc := c.raw
		if proxied {
			rest, _ := c.desk.in.Peek(c.desk.in.Buffered())
			nc = &prefixed{Conn: c.raw, rest: append([]byte(nil), rest...)}
			c.desk.in.Reset((*input)(c))
		}
		if err := c.handshake(c.srv.ctx, by, nc); err != nil {
			c.disarm()
			return c.failed("TLS handshake", err)
		}
	}
	c.disarm()
	c.phase = busy
	c.session = c.srv.cfg.Handler.Open(c.srv.ctx, c)
	return c.session != nil
}

// tooMany is open for a connection that has no place.
func (c *Conn) tooMany() bool {
	c.sayNo(TooMany)
	return false
}

func (c *Conn) sayNo(why Refusal) {
	c.phase = busy
	c.desk.limits.WriteTime = min(c.desk.limits.WriteTime, lingerTime)
	c.srv.cfg.Refuse(c, why)
}

// failed counts and logs a connection that gets no session. Those that
// Shutdown interrupts are no failures.
func (c *Conn) failed(what string, err error) bool {
	c.gone = true
	if c.srv.stopping.Load() {
		return false
	}
	c.srv.failed.Add(1)
	c.srv.cfg.Log.Info("connection failed before its session",
		slog.String("server", c.srv.cfg.Name), slog.String("session", c.ID()),
		slog.String("remote", c.Remote().String()), slog.String("step", what),
		slog.String("error", err.Error()))
	return false
}

// proxyHeader reads the PROXY header that the peer must send, if it must.
func (c *Conn) proxyHeader() (bool, error) {
	if c.srv.cfg.Proxy == nil || !c.srv.cfg.Proxy(c.remote.Addr()) {
		return false, nil
	}
	h, err := proxyproto.Read(c.desk.in)
	if err != nil {
		return false, err
	}
	if h.Command.IsLocal() {
		return true, nil // the proxy itself asks, to see whether we live
	}
	if !h.TransportProtocol.IsStream() {
		return false, errNoStream
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remote, c.local = addrPort(h.SourceAddr), addrPort(h.DestinationAddr)
	return true, nil
}

// addrPort gives a TCP address without mapping and zone, else the zero one.
func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
