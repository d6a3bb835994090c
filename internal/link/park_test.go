package link

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// parking makes a server that parks soon.
func parking(t testing.TB, cfg Config) *Server {
	s := newServer(t, cfg)
	s.parkAfter = 2 * time.Millisecond
	return s
}

func awaitParked(t testing.TB, s *Server, n int) {
	t.Helper()
	await(t, "parking", func() bool { return s.Stats().Parked == n })
}

// TestPark wakes a parked connection in each state it can be in.
func TestPark(t *testing.T) {
	conf := testTLS(t)
	unix := func(t *testing.T) string { return filepath.Join(t.TempDir(), "s") }
	tests := []struct {
		name string
		path func(t *testing.T) string
		tls  bool
	}{
		{"tcp", nil, false},
		{"unix", unix, false},
		{"tcp with TLS", nil, true},
		{"unix with TLS", unix, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := parking(t, Config{TLS: func() *tls.Config { return conf }, Implicit: tt.tls})
			address := "127.0.0.1:0"
			if tt.path != nil {
				address = "unix:" + tt.path(t)
			}
			ln, err := Listen(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			serve(t, s, ln)
			p := dial(t, ln.Addr().String())
			if tt.tls {
				p = p.secure()
			}
			p.want("hello")
			for range 3 {
				awaitParked(t, s, 1)
				p.send("a\r\nb\r\n")
				p.want("a", "b")
			}
			awaitParked(t, s, 1)
			for range 3 {
				woken := s.woken.Load()
				p.send("part")
				await(t, "waking", func() bool { return s.woken.Load() > woken })
				awaitParked(t, s, 1)
			}
			p.send("\r\n")
			p.want("partpartpart")
			awaitParked(t, s, 1)
			far := strings.Repeat("x", 300)
			for range 3 {
				woken := s.woken.Load()
				p.send(far)
				await(t, "waking", func() bool { return s.woken.Load() > woken })
				awaitParked(t, s, 1)
			}
			p.send("\r\nbody 4\r\n")
			p.want("long", "ok")
			time.Sleep(5 * time.Millisecond) // longer than parkAfter
			p.send("1234after\r\n")
			p.want("4", "after")
			awaitParked(t, s, 1)
			p.nc.Close()
			await(t, "close", func() bool { return s.Stats().Open == 0 })
		})
	}
}

// TestParkEnds ends parked connections.
func TestParkEnds(t *testing.T) {
	shutdown := func(s *Server, _ *peer) { go s.Shutdown(context.Background()) }
	hangUp := func(s *Server, _ *peer) { s.Sessions()[0].HangUp() }
	tests := []struct {
		name   string
		limits func(*Limits)
		act    func(*Server, *peer)
		want   []string
	}{
		{"shutdown", nil, shutdown, []string{"shutdown", "EOF"}},
		{"hung up", nil, hangUp, []string{"EOF"}},
		{"idle", func(l *Limits) { l.LineTime = 200 * time.Millisecond }, nil,
			[]string{"idle", "EOF"}},
		{"overlong", func(l *Limits) { l.Session = 200 * time.Millisecond }, nil,
			[]string{"overlong", "EOF"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.limits == nil {
				tt.limits = func(*Limits) {}
			}
			g := &greeter{}
			s := parking(t, Config{Handler: g, Limits: limits(tt.limits)})
			p := dial(t, listen(t, s))
			p.want("hello")
			awaitParked(t, s, 1)
			if tt.act != nil {
				tt.act(s, p)
			}
			p.want(tt.want...)
			p.nc.Close()
			await(t, "close", func() bool { return s.Stats().Open == 0 })
			if n := g.closes(); n != 1 {
				t.Errorf("got %d closed sessions, want 1", n)
			}
		})
	}
}

// TestManyIdle keeps 2 000 connections waiting, and then uses each.
func TestManyIdle(t *testing.T) {
	const many = 2000
	s := parking(t, Config{})
	addr := listen(t, s)
	peers := make([]*peer, many)
	for i := range peers {
		peers[i] = dial(t, addr)
		peers[i].want("hello")
	}
	awaitParked(t, s, many)
	if got := s.Stats().Open; got != many {
		t.Errorf("got %d open, want %d", got, many)
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < many; i += 8 {
				io.WriteString(peers[i].nc, "a\r\nquit\r\n")
				if b, err := io.ReadAll(peers[i].r); err != nil || string(b) != "a\r\nbye\r\n" {
					t.Errorf("connection %d: got %q, %v", i, b, err)
				}
				peers[i].nc.Close()
			}
		})
	}
	wg.Wait()
	await(t, "close", func() bool { return s.Stats().Open == 0 })
}

func (p *peer) secure() *peer {
	p.t.Helper()
	c := tls.Client(p.nc, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		p.t.Fatal(err)
	}
	return newPeer(p.t, c)
}

func testTLS(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		Certificates:           []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		SessionTicketsDisabled: true,
	}
}
