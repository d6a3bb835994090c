package link

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// StartTLS flushes, drops what the peer sent in clear text after the command
// (RFC 3207 section 4.2: nothing learned before the handshake may be kept),
// and makes the handshake within Limits.Handshake. After an error the session
// can only end.
func (c *Conn) StartTLS(ctx context.Context) error {
	if c.tls != nil {
		return errTLSOnce
	}
	if err := c.Flush(); err != nil {
		return err
	}
	c.desk.in.Reset((*input)(c))
	by := c.bound(time.Now().Add(c.desk.limits.Handshake))
	c.raw.SetReadDeadline(by)
	return c.handshake(ctx, by, c.raw)
}

// handshake speaks TLS over nc, which is raw or reads from it; the read
// deadline is set.
func (c *Conn) handshake(ctx context.Context, by time.Time, nc net.Conn) error {
	var cfg *tls.Config
	if c.srv.cfg.TLS != nil {
		cfg = c.srv.cfg.TLS()
	}
	if cfg == nil {
		return errNoTLS
	}
	c.raw.SetWriteDeadline(by)
	t := tls.Server(nc, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		c.gone = true
		return err
	}
	c.tls = t
	return nil
}

// HasTLS says whether StartTLS can work.
func (c *Conn) HasTLS() bool { return c.srv.cfg.TLS != nil && c.srv.cfg.TLS() != nil }

// TLS gives the state of TLS, nil in clear text. It is made once.
func (c *Conn) TLS() *tls.ConnectionState {
	if c.tls == nil {
		return nil
	}
	if c.state == nil {
		s := c.tls.ConnectionState()
		c.state = &s
	}
	return c.state
}

// A prefixed is a connection of which some bytes have been read already.
type prefixed struct {
	net.Conn
	rest []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return p.Conn.Read(b)
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	if len(p.rest) == 0 {
		p.rest = nil
	}
	return n, nil
}
