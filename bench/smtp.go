package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"time"
)

// patience bounds every wait for an answer.
const patience = 60 * time.Second

// An smtpClient is one SMTP session. Only one goroutine uses it.
type smtpClient struct {
	conn net.Conn
	r    *bufio.Reader
	buf  []byte
}

// dial connects to a server; from a source address of its own if there is one.
func dial(ctx context.Context, addr string, source net.IP) (net.Conn, error) {
	d := net.Dialer{Timeout: patience}
	if source != nil {
		d.LocalAddr = &net.TCPAddr{IP: source}
	}
	return d.DialContext(ctx, "tcp", addr)
}

// dialSMTP opens a session up to the answer to EHLO. The reading buffer holds
// bufferSize bytes.
func dialSMTP(ctx context.Context, addr string, source net.IP, bufferSize int) (*smtpClient,
	error) {
	conn, err := dial(ctx, addr, source)
	if err != nil {
		return nil, err
	}
	c := &smtpClient{conn: conn, r: bufio.NewReaderSize(conn, bufferSize)}
	conn.SetDeadline(time.Now().Add(patience))
	if err = c.expect("220"); err == nil {
		err = c.command("EHLO client.test\r\n", "250")
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *smtpClient) command(line, code string) error {
	if _, err := c.conn.Write([]byte(line)); err != nil {
		return err
	}
	return c.expect(code)
}

// expect reads one reply, all of its lines, which must have this code.
func (c *smtpClient) expect(code string) error {
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) < 4 || string(line[:3]) != code {
			return fmt.Errorf("got %.80q, want %s", line, code)
		}
		if line[3] != '-' {
			return nil
		}
	}
}

// envelope announces a message in one write and waits for the 354.
func (c *smtpClient) envelope(to string) error {
	c.conn.SetDeadline(time.Now().Add(patience))
	c.buf = append(c.buf[:0], "MAIL FROM:<"+sender+">\r\nRCPT TO:<"...)
	c.buf = append(c.buf, to...)
	c.buf = append(c.buf, ">\r\nDATA\r\n"...)
	if _, err := c.conn.Write(c.buf); err != nil {
		return err
	}
	for _, code := range []string{"250", "250", "354"} {
		if err := c.expect(code); err != nil {
			return err
		}
	}
	return nil
}

// send delivers message number i and returns how long the answer took from
// the moment the final dot was written.
func (c *smtpClient) send(b *letterbox, i int, to string) (time.Duration, error) {
	if err := c.envelope(to); err != nil {
		return 0, err
	}
	body := b.body(i)
	c.buf = b.head(c.buf[:0], i, to)
	var err error
	if len(body) <= attachAbove {
		c.buf = append(c.buf, body...)
		_, err = c.conn.Write(c.buf)
	} else {
		parts := net.Buffers{c.buf, body}
		_, err = parts.WriteTo(c.conn)
	}
	if err != nil {
		return 0, err
	}
	dot := time.Now()
	err = c.expect("250")
	return time.Since(dot), err
}

// quit says goodbye and does not wait for the answer, as senders do.
func (c *smtpClient) quit() {
	c.conn.Write([]byte("QUIT\r\n"))
	c.conn.Close()
}
