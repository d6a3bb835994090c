package link

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
)

// TestMain fails when a goroutine of this package outlives the tests.
func TestMain(m *testing.M) {
	code := m.Run()
	var stacks string
	for range 300 {
		b := make([]byte, 1<<20)
		stacks = string(b[:runtime.Stack(b, true)])
		if !strings.Contains(stacks, "internal/link.(*") {
			os.Exit(code)
		}
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Fprintln(os.Stderr, "goroutines are left:\n"+stacks)
	os.Exit(1)
}

func loopback(a netip.Addr) bool { return a.IsLoopback() }

func TestStartTLS(t *testing.T) {
	conf := testTLS(t)
	s := newServer(t, Config{TLS: func() *tls.Config { return conf }})
	addr := listen(t, s)
	t.Run("works", func(t *testing.T) {
		p := dial(t, addr)
		p.send("a\r\nstarttls\r\n")
		p.want("hello", "a", "go")
		p = p.secure()
		p.send("b\r\nquit\r\n")
		p.want("b", "bye", "EOF")
	})
	t.Run("what was injected is dropped", func(t *testing.T) {
		p := dial(t, addr)
		p.want("hello")
		p.send("starttls\r\ninjected\r\ninjected")
		p.want("go")
		p = p.secure()
		p.send("b\r\nquit\r\n")
		p.want("b", "bye", "EOF")
	})
	t.Run("no handshake", func(t *testing.T) {
		p := dial(t, addr)
		p.send("starttls\r\n")
		p.want("hello", "go")
		p.send("not a handshake\r\n")
		if b, _ := io.ReadAll(p.r); strings.Contains(string(b), "not a") {
			t.Errorf("got %q", b)
		}
	})
	t.Run("without a certificate", func(t *testing.T) {
		p := dial(t, listen(t, newServer(t, Config{})))
		p.send("starttls\r\n")
		p.want("hello", "go", "EOF")
	})
	t.Run("handshake that stops", func(t *testing.T) {
		s := newServer(t, Config{TLS: s.cfg.TLS, Implicit: true,
			Limits: limits(func(l *Limits) { l.Handshake = 50 * time.Millisecond })})
		p := dial(t, listen(t, s))
		p.want("EOF")
		await(t, "count", func() bool { return s.Stats().Failed == 1 })
	})
}

func TestProxy(t *testing.T) {
	const src, dst = "192.0.2.1:1111", "198.51.100.2:25"
	conf := testTLS(t)
	tcp := func(s string) *net.TCPAddr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
	v1, _ := proxyproto.HeaderProxyFromAddrs(1, tcp(src), tcp(dst)).Format()
	v2, _ := proxyproto.HeaderProxyFromAddrs(2, tcp(src), tcp(dst)).Format()
	six, _ := proxyproto.HeaderProxyFromAddrs(2, tcp("[2001:db8::1]:1111"),
		tcp("[2001:db8::2]:25")).Format()
	udp, _ := proxyproto.HeaderProxyFromAddrs(2, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(src)),
		net.UDPAddrFromAddrPort(netip.MustParseAddrPort(dst))).Format()
	local := "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
	tests := []struct {
		name    string
		trusted bool
		header  string
		want    string // the start of what who says, or the end
	}{
		{"v1", true, string(v1), src + " " + dst + " false"},
		{"v2", true, string(v2), src + " " + dst + " false"},
		{"v2 with IPv6", true, string(six), "[2001:db8::1]:1111 [2001:db8::2]:25 false"},
		{"v2 local", true, local, "127.0.0.1:"},
		{"v1 unknown", true, "PROXY UNKNOWN\r\n", "127.0.0.1:"},
		{"v2 about datagrams", true, string(udp), "EOF"},
		{"none though trusted", true, "", "EOF"},
		{"v1 broken", true, "PROXY TCP4 192.0.2.1\r\n", "EOF"},
		{"v1 without end", true, strings.Repeat("PROXY ", 40), "EOF"},
		{"not trusted", false, string(v1), strings.TrimSpace(string(v1))},
	}
	for _, tt := range tests {
		for _, secure := range []bool{false, true} {
			if secure && (tt.want == "EOF" || !tt.trusted) {
				continue
			}
			t.Run(fmt.Sprintf("%s, TLS %v", tt.name, secure), func(t *testing.T) {
				s := parking(t, Config{
					Proxy:    func(a netip.Addr) bool { return tt.trusted && a.IsLoopback() },
					Exempt:   loopback,
					TLS:      func() *tls.Config { return conf },
					Implicit: secure,
				})
				p := dial(t, listen(t, s))
				if secure {
					p.send(tt.header)
					p = p.secure()
					p.send("who\r\n")
				} else {
					p.send(tt.header + "who\r\n")
				}
				got, _ := io.ReadAll(io.LimitReader(p.r, 7+int64(len(tt.want))))
				line := strings.TrimPrefix(string(got), "hello\r\n")
				if line == "" {
					line = "EOF"
				}
				if !strings.HasPrefix(line, tt.want) {
					t.Errorf("got %q, want %q", line, tt.want)
				}
			})
		}
	}
}

// TestProxyWaits reads a header that comes in pieces, but not for ever.
func TestProxyWaits(t *testing.T) {
	s := newServer(t, Config{Proxy: loopback,
		Limits: limits(func(l *Limits) { l.Handshake = 100 * time.Millisecond })})
	p := dial(t, listen(t, s))
	p.send("\r\n\r\n\x00\r\nQUIT")
	p.want("EOF")
	if got := s.Stats().Failed; got != 1 {
		t.Errorf("got %d failed, want 1", got)
	}
}

func TestLimits(t *testing.T) {
	refuse := func(c *Conn, why Refusal) {
		c.WriteString([]string{"full\r\n", "full for you\r\n"}[why])
	}
	header := func(from string) string { return "PROXY TCP6 " + from + " ::1 1 25\r\n" }
	tests := []struct {
		name    string
		limits  func(*Limits)
		refuse  func(*Conn, Refusal)
		headers []string // one for each connection
		want    []string
	}{
		{"none", func(*Limits) {}, refuse, []string{"", "", ""}, []string{"hello", "hello", "hello"}},
		{"total", func(l *Limits) { l.Sessions = 2 }, refuse, []string{"", "", ""},
			[]string{"hello", "hello", "full"}},
		{"without a word", func(l *Limits) { l.Sessions = 2 }, nil, []string{"", "", ""},
			[]string{"hello", "hello", "EOF"}},
		{"exempt", func(l *Limits) { l.PerAddress = 1 }, refuse,
			[]string{header("::1"), header("::1")}, []string{"hello", "hello"}},
		{"per address", func(l *Limits) { l.PerAddress = 1 }, refuse,
			[]string{header("2001:db8::1"), header("2001:db8::1")}, []string{"hello", "full for you"}},
		{"per network", func(l *Limits) { l.PerAddress = 1 }, refuse,
			[]string{header("2001:db8::1"), header("2001:db8:0:0:ffff::1"), header("2001:db8:0:1::1")},
			[]string{"hello", "full for you", "hello"}},
		{"refused take no place", func(l *Limits) { l.PerAddress, l.Sessions = 1, 2 }, refuse,
			[]string{header("2001:db8::1"), header("2001:db8::2"), header("2001:db8:1::1")},
			[]string{"hello", "full for you", "hello"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, Config{Limits: limits(tt.limits), Refuse: tt.refuse, Exempt: loopback,
				Proxy: func(netip.Addr) bool { return tt.headers[0] != "" }})
			addr := listen(t, s)
			for round := range 2 { // what was taken is given back
				for i, h := range tt.headers {
					p := dial(t, addr)
					defer p.nc.Close()
					p.send(h)
					p.want(tt.want[i])
					if tt.want[i] != "hello" {
						p.want("EOF")
					}
				}
				for _, c := range s.Sessions() {
					c.HangUp()
				}
				await(t, fmt.Sprint("close in round ", round), func() bool {
					return s.Stats().Open == 0
				})
				if len(s.perAddr) != 0 {
					t.Errorf("counts are left: %v", s.perAddr)
				}
			}
		})
	}
}

// TestPlaceIsFree comes again as soon as the farewell is read, without having
// closed the connection before.
func TestPlaceIsFree(t *testing.T) {
	s := newServer(t, Config{Limits: limits(func(l *Limits) { l.Sessions, l.PerAddress = 1, 1 })})
	addr := listen(t, s)
	for range 50 {
		p := dial(t, addr)
		p.send("quit\r\n")
		p.want("hello", "bye")
	}
}

// TestRefusedByHandler reads all that a handler without a session wrote.
func TestRefusedByHandler(t *testing.T) {
	p := dial(t, listen(t, newServer(t, Config{Handler: &greeter{refuse: true}})))
	p.send("what the server will never read\r\n")
	p.want("go away", "EOF")
}

// TestLastWords reaches a peer that sends more than is read: a reset would
// destroy them.
func TestLastWords(t *testing.T) {
	s := newServer(t, Config{})
	addr := listen(t, s)
	for range 20 {
		p := dial(t, addr)
		p.send("quit\r\n" + strings.Repeat("more\r\n", 10000))
		time.Sleep(time.Millisecond)
		p.want("hello", "bye", "EOF")
		p.nc.Close()
	}
}

func TestShutdown(t *testing.T) {
	g := &greeter{entered: make(chan struct{}), release: make(chan struct{})}
	s := newServer(t, Config{Handler: g})
	addr := listen(t, s)
	waiting, holding := dial(t, addr), dial(t, addr)
	waiting.want("hello")
	holding.want("hello")
	holding.send("hold\r\nnever read\r\n")
	<-g.entered

	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	waiting.want("shutdown", "EOF")
	if nc, err := net.Dial("tcp", addr); err == nil {
		nc.Close()
		t.Error("connected to a server that stops")
	}
	select {
	case err := <-done:
		t.Errorf("Shutdown did not wait: %v", err)
	default:
	}
	close(g.release)
	holding.want("held", "shutdown", "EOF")
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := g.closes(); n != 2 {
		t.Errorf("got %d closed sessions, want 2", n)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Errorf("second Shutdown: %v", err)
	}
}

// TestShutdownRace stops while connections come, talk, park and wake.
func TestShutdownRace(t *testing.T) {
	for round := range 20 {
		s := newServer(t, Config{})
		s.parkAfter = time.Duration(round%3+1) * time.Millisecond / 2
		addr := listen(t, s)
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				nc, err := net.Dial("tcp", addr)
				if err != nil {
					return
				}
				defer nc.Close()
				b := make([]byte, 100)
				for {
					if _, err := nc.Read(b); err != nil {
						return
					}
					time.Sleep(time.Duration(i) * time.Millisecond / 5)
					if _, err := nc.Write([]byte("a\r\n")); err != nil {
						return
					}
				}
			})
		}
		time.Sleep(time.Duration(round) * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if err := s.Shutdown(ctx); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		cancel()
		wg.Wait()
	}
}

// TestShutdownBeforeWait stops just before a connection begins to wait.
func TestShutdownBeforeWait(t *testing.T) {
	var s *Server
	var stop atomic.Bool
	handler := hooked{&greeter{}, func() { stop.Store(true) }}
	s = newServer(t, Config{Handler: handler, Limits: func() Limits {
		if stop.Swap(false) {
			go s.Shutdown(context.Background())
			await(t, "stop", s.stopping.Load)
			s.mu.Lock() // Shutdown has looked at all connections
			defer s.mu.Unlock()
		}
		return patient
	}})
	ours, theirs := net.Pipe() // is never parked, so that no later look helps
	p := newPeer(t, theirs)
	s.ServeConn(ours)
	p.want("hello", "shutdown", "EOF")
}

// A hooked handler calls a function when a session is open.
type hooked struct {
	Handler
	then func()
}

func (h hooked) Open(ctx context.Context, c *Conn) Session {
	defer h.then()
	return h.Handler.Open(ctx, c)
}

// TestShutdownInHandshake does not wait for peers without a session.
func TestShutdownInHandshake(t *testing.T) {
	conf := testTLS(t)
	for _, cfg := range []Config{
		{TLS: func() *tls.Config { return conf }, Implicit: true},
		{Proxy: loopback},
	} {
		s := newServer(t, cfg)
		p := dial(t, listen(t, s))
		await(t, "accept", func() bool { return s.Stats().Open == 1 })
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		p.want("EOF")
	}
}

// TestStops ends Serve in both ways.
func TestStops(t *testing.T) {
	s := newServer(t, Config{})
	path := filepath.Join(t.TempDir(), "s")
	a, err := Listen(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 2)
	go func() { result <- s.Serve(ctx, a) }()
	p := dial(t, path)
	p.want("hello")
	cancel()
	if err := <-result; err != nil {
		t.Errorf("got %v, want nil", err)
	}
	p.send("who\r\n")
	p.want("invalid AddrPort invalid AddrPort false")
	b, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { result <- s.Serve(t.Context(), b) }()
	dial(t, b.Addr().String()).want("hello")
	s.Shutdown(t.Context())
	if err := <-result; err != ErrClosed {
		t.Errorf("got %v, want %v", err, ErrClosed)
	}
	if err := s.Serve(t.Context(), b); err != ErrClosed {
		t.Errorf("got %v, want %v", err, ErrClosed)
	}
}

func TestPanic(t *testing.T) {
	j := &journal{}
	g := &greeter{}
	s := newServer(t, Config{Handler: g, Log: j.logger()})
	addr := listen(t, s)
	for range 3 {
		p := dial(t, addr)
		p.want("hello")
		p.send("panic\r\n")
		p.want("EOF")
	}
	await(t, "close", func() bool { return s.Stats().Open == 0 })
	if got := s.Stats().Panics; got != 3 || g.closes() != 3 {
		t.Errorf("got %d panics and %d closed sessions, want 3 and 3", got, g.closes())
	}
	if !strings.Contains(j.String(), "as asked") || !strings.Contains(j.String(), "link_test.go") {
		t.Errorf("the log has no panic with its stack: %s", j)
	}
}

// A tired listener fails at first, as one without file descriptors.
type tired struct {
	net.Listener
	fails int
}

func (l *tired) Accept() (net.Conn, error) {
	if l.fails > 0 {
		l.fails--
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

func TestAcceptFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	j := &journal{}
	s := newServer(t, Config{Log: j.logger()})
	serve(t, s, &tired{ln, 4})
	dial(t, ln.Addr().String()).want("hello")
	if got := strings.Count(j.String(), "accept failed"); got != 4 {
		t.Errorf("got %d records, want 4", got)
	}
}

func TestIDs(t *testing.T) {
	s := newServer(t, Config{})
	addr := listen(t, s)
	seen := map[string]bool{}
	for range 50 {
		dial(t, addr).want("hello")
	}
	for _, c := range s.Sessions() {
		seen[c.ID()] = true
		if since := time.Since(c.Since()); since < 0 || since > time.Minute {
			t.Errorf("got %v since the start", since)
		}
	}
	if len(seen) != 50 {
		t.Errorf("got %d ids, want 50", len(seen))
	}
}

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Skip(err)
	}
	if _, err := Listen(t.Context(), "unix:"+path); err == nil {
		t.Error("took the socket of a living listener")
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	ln, err := Listen(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := os.WriteFile(path, []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), "unix:"+path); err == nil {
		t.Error("replaced a file that is no socket")
	}
}
