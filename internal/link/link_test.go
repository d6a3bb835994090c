package link

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patient are limits that no test reaches.
var patient = Limits{
	Line: 512, LineTime: time.Minute, ReadTime: time.Minute, WriteTime: time.Minute,
	Handshake: time.Minute,
}

// newServer makes a server that speaks the test protocol and is empty at
// the end of the test.
func newServer(t testing.TB, cfg Config) *Server {
	t.Helper()
	cfg.Name = "test"
	if cfg.Handler == nil {
		cfg.Handler = &greeter{}
	}
	if cfg.Limits == nil {
		cfg.Limits = func() Limits { return patient }
	}
	s := New(cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return s
}

func limits(change func(*Limits)) func() Limits {
	l := patient
	change(&l)
	return func() Limits { return l }
}

// listen serves on a loopback port and gives its address.
func listen(t testing.TB, s *Server) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, s, ln)
	return ln.Addr().String()
}

func serve(t testing.TB, s *Server, ln net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && err != ErrClosed {
			t.Errorf("Serve: %v", err)
		}
	})
}

// A peer is the client's side.
type peer struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader

	drips sync.WaitGroup // see drip
}

func dial(t testing.TB, addr string) *peer {
	t.Helper()
	network := "tcp"
	if strings.HasPrefix(addr, "/") {
		network = "unix"
	}
	nc, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	return newPeer(t, nc)
}

func newPeer(t testing.TB, nc net.Conn) *peer {
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	return &peer{t: t, nc: nc, r: bufio.NewReader(nc)}
}

func (p *peer) send(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p.nc, s); err != nil {
		p.t.Fatal(err)
	}
}

// want reads lines and compares them; "EOF" is the end.
func (p *peer) want(lines ...string) {
	p.t.Helper()
	for _, want := range lines {
		got, err := p.r.ReadString('\n')
		got = strings.TrimSuffix(got, "\r\n")
		if err == io.EOF && got == "" {
			got = "EOF"
		} else if err != nil {
			p.t.Fatalf("got %q and error %v, want %q", got, err, want)
		}
		if got != want {
			p.t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// await polls for what has no other sign.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

// A greeter opens sessions of the test protocol:
//
//	quit       bye, and end
//	starttls   go, then TLS
//	body N     ok, then reads N bytes and tells their sum or error
//	big N      N bytes of x and a line end
//	patience N sets the line time to N seconds
//	hold       waits for release before it answers
//	wait       waits within Watch, for release or for its end
//	panic      panics
//	who        the addresses
//
// Any other line comes back, with "!" when it was bare.
type greeter struct {
	release chan struct{}
	entered chan struct{}
	refuse  bool
	waits   atomic.Int64 // calls of Waiting

	mu     sync.Mutex
	closed int
}

func (g *greeter) Open(_ context.Context, c *Conn) Session {
	if g.refuse {
		c.WriteString("go away\r\n")
		return nil
	}
	c.WriteString("hello\r\n")
	return &session{g: g, c: c}
}

func (g *greeter) closes() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

type session struct {
	g *greeter
	c *Conn
}

func (s *session) Line(ctx context.Context, line []byte, bare bool) bool {
	verb, arg, _ := bytes.Cut(line, []byte{' '})
	n, _ := strconv.Atoi(string(arg))
	switch string(verb) {
	case "quit":
		s.c.WriteString("bye\r\n")
		return false
	case "starttls":
		s.c.WriteString("go\r\n")
		return s.c.StartTLS(ctx) == nil
	case "body":
		return s.body(n)
	case "big":
		s.c.Write(bytes.Repeat([]byte{'x'}, n))
		s.c.WriteString("\r\n")
	case "patience":
		s.c.SetLineTime(time.Duration(n) * time.Second)
		s.c.WriteString("fine\r\n")
	case "hold":
		s.g.entered <- struct{}{}
		select {
		case <-s.g.release:
		case <-ctx.Done():
		}
		s.c.WriteString("held\r\n")
	case "wait":
		s.wait(ctx)
	case "panic":
		panic("as asked")
	case "who":
		fmt.Fprintf(s.c, "%v %v %v\r\n", s.c.Remote(), s.c.Local(), s.c.Exempt())
	default:
		b := append(s.c.AvailableBuffer(), line...)
		if bare {
			b = append(b, '!')
		}
		s.c.Write(append(b, '\r', '\n'))
	}
	return true
}

func (s *session) wait(ctx context.Context) {
	w := s.c.Watch(ctx)
	defer s.c.Unwatch()
	s.g.entered <- struct{}{}
	select {
	case <-s.g.release:
		s.c.WriteString("released\r\n")
	case <-w.Done():
		s.c.WriteString("unwatched\r\n")
		s.g.entered <- struct{}{}
	}
}

func (s *session) body(n int) bool {
	s.c.WriteString("ok\r\n")
	got, err := io.CopyN(io.Discard, s.c.Reader(), int64(n))
	if err != nil {
		fmt.Fprintf(s.c, "%d %v\r\n", got, err)
		return false
	}
	fmt.Fprintf(s.c, "%d\r\n", got)
	return true
}

func (s *session) TooLong(context.Context) bool {
	s.c.WriteString("long\r\n")
	return true
}

func (s *session) Expire(why Reason) {
	s.c.WriteString([]string{"idle\r\n", "shutdown\r\n", "overlong\r\n"}[why])
}

func (s *session) Waiting() { s.g.waits.Add(1) }

func (s *session) Close() {
	s.g.mu.Lock()
	s.g.closed++
	s.g.mu.Unlock()
}

// A journal keeps what is logged.
type journal struct {
	mu sync.Mutex
	b  strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// An echoer opens sessions that know no verbs.
type echoer struct{}

func (echoer) Open(_ context.Context, c *Conn) Session {
	c.WriteString("hello\r\n")
	return &echo{session{g: &greeter{}, c: c}}
}

type echo struct{ session }

func (e *echo) Line(_ context.Context, line []byte, bare bool) bool {
	e.c.Write(line)
	if bare {
		e.c.WriteString("!")
	}
	e.c.WriteString("\r\n")
	return true
}
