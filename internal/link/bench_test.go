package link

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
)

// BenchmarkRoundTrip is one line and its answer on an open connection.
func BenchmarkRoundTrip(b *testing.B) {
	c, r := benchDial(b, benchServer(b, Config{}))
	line := []byte("NOOP\r\n")
	b.ReportAllocs()
	for b.Loop() {
		c.Write(line)
		if _, err := r.ReadSlice('\n'); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPipelined is one line of 100 that come together.
func BenchmarkPipelined(b *testing.B) {
	c, r := benchDial(b, benchServer(b, Config{}))
	lines := []byte(strings.Repeat("RCPT TO:<someone@example.org>\r\n", 100))
	b.ReportAllocs()
	for n := 0; n < b.N; n += 100 {
		c.Write(lines)
		for range 100 {
			if _, err := r.ReadSlice('\n'); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkConnect is a connection with greeting, three pipelined lines and
// a polite end.
func BenchmarkConnect(b *testing.B) {
	addr := benchServer(b, Config{})
	lines := []byte("one\r\ntwo\r\nquit\r\n")
	b.ReportAllocs()
	for b.Loop() {
		c, r := benchDial(b, addr)
		c.Write(lines)
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

func benchServer(b *testing.B, cfg Config) string { return listen(b, newServer(b, cfg)) }

func benchDial(b *testing.B, addr string) (net.Conn, *bufio.Reader) {
	b.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	r := bufio.NewReader(c)
	if _, err := r.ReadSlice('\n'); err != nil {
		b.Fatal(err)
	}
	return c, r
}
