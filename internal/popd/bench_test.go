package popd

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// fourKB is a message of 4 kB as most are: short lines, a dot here and there.
func fourKB() string {
	var b strings.Builder
	b.WriteString("From: a@example.org\r\nTo: b@example.org\r\nSubject: a message\r\n\r\n")
	for i := 0; b.Len() < 4096-64; i++ {
		if i == 20 {
			b.WriteString(".")
		}
		b.WriteString("The quick brown fox jumps over the lazy dog, again and again.\r\n")
	}
	return b.String()
}

// A benchClient is the other end of a session, with buffers that stay.
type benchClient struct {
	b    *testing.B
	conn net.Conn
	in   *bufio.Reader
}

func dialBench(b *testing.B, address string) *benchClient {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	c := &benchClient{b: b, conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}
	c.line()
	return c
}

func (c *benchClient) line() []byte {
	line, err := c.in.ReadSlice('\n')
	if err != nil || line[0] == '-' {
		c.b.Errorf("got %q, %v", line, err)
	}
	return line
}

func (c *benchClient) multi() {
	c.line()
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil || len(line) == 3 && line[0] == '.' {
			return
		}
	}
}

func (c *benchClient) send(s string) { _, _ = io.WriteString(c.conn, s) }

const messagesEach = 20

// session does what a fetching client does: a reply awaited for each command,
// or, pipelined, for all of them.
func (c *benchClient) session(user string, pipelined bool) {
	c.send("USER " + user + "\r\n")
	c.line()
	c.send("PASS secret\r\n")
	c.line()
	c.send("STAT\r\n")
	c.line()
	c.send("UIDL\r\n")
	c.multi()
	var all strings.Builder
	for i := range messagesEach {
		fmt.Fprintf(&all, "RETR %d\r\n", i+1)
		if !pipelined {
			c.send(all.String())
			c.multi()
			all.Reset()
		}
	}
	if pipelined {
		c.send(all.String())
		for range messagesEach {
			c.multi()
		}
	}
	c.send("QUIT\r\n")
	c.line()
	c.conn.Close()
}

func benchSessions(b *testing.B, conns int, pipelined bool) {
	r := newRig(b)
	body := fourKB()
	for i := range conns {
		user := fmt.Sprintf("u%d@example.org", i)
		r.addUser(user, "secret")
		for range messagesEach {
			_ = r.store.deliver(user, body)
		}
	}
	r.start(defaults())
	b.ReportAllocs()
	b.SetBytes(int64(messagesEach * len(body)))
	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
	var clients sync.WaitGroup
	for i := range conns {
		clients.Go(func() {
			for left.Add(-1) >= 0 {
				dialBench(b, r.address).session(fmt.Sprintf("u%d@example.org", i), pipelined)
			}
		})
	}
	clients.Wait()
	b.ReportMetric(float64(b.N*messagesEach)/b.Elapsed().Seconds(), "messages/s")
}

func BenchmarkSession(b *testing.B) {
	for _, conns := range []int{1, 16} {
		b.Run(fmt.Sprintf("conns=%d", conns), func(b *testing.B) { benchSessions(b, conns, false) })
	}
	b.Run("conns=16/pipelined", func(b *testing.B) { benchSessions(b, 16, true) })
}

func BenchmarkStuffer(b *testing.B) {
	body := []byte(fourKB())
	b.SetBytes(int64(len(body)))
	var out bytes.Buffer
	for b.Loop() {
		out.Reset()
		s := stuffer{w: &out, lineStart: true}
		_ = s.write(body)
		_ = s.end()
	}
}
