package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

// A popClient is one POP3 session. Only one goroutine uses it.
type popClient struct {
	conn net.Conn
	r    *bufio.Reader
}

// dialPOP connects and reads the greeting.
func dialPOP(ctx context.Context, addr string, source net.IP, bufferSize int) (*popClient, error) {
	conn, err := dial(ctx, addr, source)
	if err != nil {
		return nil, err
	}
	c := &popClient{conn: conn, r: bufio.NewReaderSize(conn, bufferSize)}
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := c.answer(); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// openMaildrop logs in.
func openMaildrop(ctx context.Context, addr, user string) (*popClient, error) {
	c, err := dialPOP(ctx, addr, nil, 64<<10)
	if err != nil {
		return nil, err
	}
	if _, err = c.command("USER " + user); err == nil {
		_, err = c.command("PASS " + password)
	}
	if err != nil {
		c.conn.Close()
		return nil, fmt.Errorf("%s: %w", user, err)
	}
	return c, nil
}

// command sends a line and returns what follows +OK.
func (c *popClient) command(line string) (string, error) {
	c.conn.SetDeadline(time.Now().Add(patience))
	if _, err := c.conn.Write([]byte(line + "\r\n")); err != nil {
		return "", err
	}
	return c.answer()
}

func (c *popClient) answer() (string, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	rest, ok := bytes.CutPrefix(bytes.TrimRight(line, "\r\n"), []byte("+OK"))
	if !ok {
		return "", fmt.Errorf("got %.80q, want +OK", line)
	}
	return string(bytes.TrimSpace(rest)), nil
}

// lines reads an answer of many lines up to its dot; it returns how many
// there were and their bytes.
func (c *popClient) lines() (n int, size int64, err error) {
	for whole := true; ; {
		line, err := c.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return n, size, err
		}
		if whole && len(line) == 3 && line[0] == '.' {
			return n, size, nil
		}
		if whole = err == nil; whole {
			n++
		}
		size += int64(len(line))
	}
}

func (c *popClient) quit() error {
	defer c.conn.Close()
	_, err := c.command("QUIT")
	return err
}

// stat asks how many messages there are.
func (c *popClient) stat() (int, error) {
	text, err := c.command("STAT")
	if err != nil {
		return 0, err
	}
	var n int
	var size int64
	if _, err := fmt.Sscan(text, &n, &size); err != nil {
		return 0, fmt.Errorf("STAT: got %q", text)
	}
	return n, nil
}

// download is a whole session after the login: STAT, UIDL, every message.
func (c *popClient) download(o *outcome) error {
	n, err := c.stat()
	if err != nil {
		return err
	}
	if _, err := c.command("UIDL"); err != nil {
		return err
	}
	listed, _, err := c.lines()
	if err != nil {
		return err
	}
	if listed != n {
		return fmt.Errorf("UIDL lists %d messages, STAT %d", listed, n)
	}
	for i := range n {
		if _, err := c.command("RETR " + strconv.Itoa(i+1)); err != nil {
			return err
		}
		_, size, err := c.lines()
		if err != nil {
			return err
		}
		o.done++
		o.bytes += size
	}
	return nil
}

// countPOP adds up the messages of all accounts.
func countPOP(ctx context.Context, addr string) (int, error) {
	total := 0
	for u := range userCount {
		c, err := openMaildrop(ctx, addr, userName(u))
		if err != nil {
			return 0, err
		}
		n, err := c.stat()
		if err == nil {
			err = c.quit()
		}
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// A fetch is downloads of whole maildrops, over many connections at once. No
// two of them open the same maildrop at a time.
type fetch struct {
	addr     string
	conns    int
	duration time.Duration // no session starts after this
	pace     time.Duration // a connection starts a session this often; zero: at once
}

// run downloads until the time is over. The latencies are those of whole
// sessions.
func (f *fetch) run(ctx context.Context) *outcome {
	var (
		mu    sync.Mutex
		sum   outcome
		group sync.WaitGroup
	)
	free := make(chan int, userCount) // the accounts whose maildrop is not open
	for u := range userCount {
		free <- u
	}
	start := time.Now()
	for range f.conns {
		group.Go(func() {
			o := &outcome{}
			for o.failures < maxFailures && ctx.Err() == nil && time.Since(start) < f.duration {
				began := time.Now()
				user := <-free
				err := session(ctx, f.addr, userName(user), o)
				free <- user
				if err != nil {
					o.fail(err)
					continue
				}
				o.latencies = append(o.latencies, time.Since(began))
				o.took = time.Since(start)
				if f.pace > 0 {
					wait(ctx, f.pace-time.Since(began))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			sum.add(o)
		})
	}
	group.Wait()
	return &sum
}

func session(ctx context.Context, addr, user string, o *outcome) error {
	c, err := openMaildrop(ctx, addr, user)
	if err != nil {
		return err
	}
	if err := c.download(o); err != nil {
		c.conn.Close()
		return err
	}
	return c.quit()
}
