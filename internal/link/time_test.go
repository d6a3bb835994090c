package link

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// inBubble runs a dialogue over a net.Pipe on a clock of its own.
func inBubble(t *testing.T, l Limits, talk func(t *testing.T, s *Server, p *peer)) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Config{Limits: func() Limits { return l }})
		ours, theirs := net.Pipe()
		p := newPeer(t, theirs)
		theirs.SetDeadline(time.Time{})
		s.ServeConn(ours)
		p.want("hello")
		talk(t, s, p)
		theirs.Close()
		p.drips.Wait()
	})
}

func TestTimes(t *testing.T) {
	l := patient
	l.LineTime = 5 * time.Minute
	l.ReadTime = 10 * time.Second
	l.WriteTime = time.Minute
	tests := []struct {
		name  string
		total time.Duration
		talk  func(t *testing.T, s *Server, p *peer)
		end   time.Duration // when the connection is over
	}{
		{"idle", 0, func(_ *testing.T, _ *Server, p *peer) {
			p.want("idle", "EOF")
		}, 5 * time.Minute},
		{"idle after a line", 0, func(_ *testing.T, _ *Server, p *peer) {
			time.Sleep(4 * time.Minute)
			p.send("a\r\n")
			p.want("a", "idle", "EOF")
		}, 9 * time.Minute},
		{"slow line", 0, func(_ *testing.T, _ *Server, p *peer) {
			line := strings.Repeat("x", 7) // a byte per 2 min: whole at 14:00
			for i := range line {
				p.send(line[i : i+1])
				time.Sleep(2 * time.Minute)
			}
			p.send("\r\nquit\r\n")
			p.want(line, "bye", "EOF")
		}, 14 * time.Minute},
		{"line that stops", 0, func(_ *testing.T, _ *Server, p *peer) {
			time.Sleep(4 * time.Minute)
			p.send("x")
			p.want("idle", "EOF")
		}, 9 * time.Minute},
		{"slow-loris", 0, func(_ *testing.T, _ *Server, p *peer) {
			p.drip("x", 9*time.Second, 1000)
			p.want("idle", "EOF")
		}, 15 * time.Minute},
		{"slow-loris in a long line", 0, func(_ *testing.T, _ *Server, p *peer) {
			p.drip("xxxxxxxxxxxxxxxx", time.Second, 10000)
			p.want("idle", "EOF")
		}, 15 * time.Minute},
		{"slow body", 0, func(_ *testing.T, _ *Server, p *peer) {
			p.send("body 100\r\n")
			p.want("ok")
			p.drip("x", 9*time.Second, 100)
			p.want("100")
			p.send("quit\r\n")
			p.want("bye", "EOF")
		}, 900 * time.Second},
		{"body that stops", 0, func(_ *testing.T, _ *Server, p *peer) {
			p.send("body 100\r\n")
			p.want("ok")
			p.send("1234")
			p.want("4 read pipe: i/o timeout", "EOF")
		}, 10 * time.Second},
		{"own line time", 0, func(_ *testing.T, s *Server, p *peer) {
			p.send("patience 900\r\n")
			p.want("fine", "idle", "EOF")
		}, 15 * time.Minute},
		{"overlong while idle", 2 * time.Minute, func(_ *testing.T, _ *Server, p *peer) {
			p.want("overlong", "EOF")
		}, 2 * time.Minute},
		{"overlong while talking", 2 * time.Minute, func(_ *testing.T, _ *Server, p *peer) {
			for range 12 {
				p.send("a\r\n")
				p.want("a")
				time.Sleep(10 * time.Second)
			}
			p.want("overlong", "EOF")
		}, 2 * time.Minute},
		{"overlong in a body", 2 * time.Minute, func(_ *testing.T, _ *Server, p *peer) {
			p.send("body 100\r\n")
			p.want("ok")
			p.drip("x", 7*time.Second, 100)
			p.want("25 the session has used up its time", "EOF")
		}, 3 * time.Minute},
		{"overlong in a body that comes on", 2 * time.Minute, func(_ *testing.T, _ *Server, p *peer) {
			p.send("body 1228800\r\n")
			p.want("ok")
			p.drip(strings.Repeat("x", 2048), time.Second, 600)
			p.want("1228800", "overlong", "EOF")
		}, 10 * time.Minute},
		{"overlong in a body that stops", 2 * time.Minute, func(_ *testing.T, _ *Server, p *peer) {
			p.send("body 1228800\r\n")
			p.want("ok")
			p.drip(strings.Repeat("x", 2048), time.Second, 299)
			p.want("612352 read pipe: i/o timeout", "EOF")
		}, 5*time.Minute + 9*time.Second},
		{"reader that stops", 0, func(t *testing.T, s *Server, p *peer) {
			p.send("big 100000\r\n")
			time.Sleep(time.Minute - 1)
			if n := s.Stats().Open; n != 1 {
				t.Errorf("got %d connections before the time-out, want 1", n)
			}
			time.Sleep(2)
			if n := s.Stats().Open; n != 0 {
				t.Errorf("got %d connections after the time-out, want 0", n)
			}
		}, time.Minute},
		{"slow reader", 0, func(_ *testing.T, s *Server, p *peer) {
			p.send("big 20000\r\n")
			b := make([]byte, 100)
			for total := 0; total < 20002; {
				n, err := p.nc.Read(b)
				if err != nil {
					p.t.Fatal(err)
				}
				if total += n; total < 20002 {
					time.Sleep(59 * time.Second)
				}
			}
			p.send("quit\r\n")
			p.want("bye", "EOF")
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := l
			l.Session = tt.total
			inBubble(t, l, func(t *testing.T, s *Server, p *peer) {
				start := time.Now()
				tt.talk(t, s, p)
				if took := time.Since(start).Round(time.Second); tt.end != 0 && took != tt.end {
					t.Errorf("over after %v, want %v", took, tt.end)
				}
			})
		})
	}
}

// drip sends a piece at a time, after a pause each.
func (p *peer) drip(piece string, pause time.Duration, pieces int) {
	p.drips.Go(func() {
		for range pieces {
			time.Sleep(pause)
			if _, err := io.WriteString(p.nc, piece); err != nil {
				return
			}
		}
	})
}

// TestShutdownCut ends with the context a session that does not.
func TestShutdownCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &greeter{entered: make(chan struct{}), release: make(chan struct{})}
		s := newServer(t, Config{Handler: g})
		ours, theirs := net.Pipe()
		s.ServeConn(ours)
		p := newPeer(t, theirs)
		theirs.SetDeadline(time.Time{})
		p.want("hello")
		p.send("hold\r\n")
		<-g.entered
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		start := time.Now()
		if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("took %v, want 10s", took)
		}
		p.want("EOF")
		synctest.Wait()
		if n := g.closes(); n != 1 {
			t.Errorf("got %d closed sessions, want 1", n)
		}
	})
}

// TestFarewellTakesPlace has many quit who do not read the farewell: after a
// moment their places are taken again, until they read it or are given up.
func TestFarewellTakesPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Config{Limits: limits(func(l *Limits) {
			l.Sessions, l.PerAddress = 2, 2
			l.WriteTime = 5 * time.Minute
		}), Refuse: func(c *Conn, _ Refusal) { c.WriteString("full\r\n") }})
		enter := func() *peer {
			ours, theirs := net.Pipe()
			t.Cleanup(func() { theirs.Close() })
			p := newPeer(t, theirs)
			theirs.SetDeadline(time.Time{})
			s.ServeConn(addressed{ours})
			return p
		}
		quit := func() *peer {
			p := enter()
			p.want("hello")
			p.send("quit\r\n")
			synctest.Wait()
			return p
		}
		reader := quit()
		quit()
		quit() // the places of those who go are free at once
		time.Sleep(lingerTime + 1)
		synctest.Wait()
		enter().want("full", "EOF")
		reader.want("bye", "EOF")
		synctest.Wait()
		enter().want("full", "EOF") // two are left
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if s.places != 0 || len(s.perAddr) != 0 {
			t.Errorf("got %d places taken and counts %v at the end, want none", s.places, s.perAddr)
		}
		enter().want("hello")
	})
}

// An addressed connection claims to come from somewhere.
type addressed struct{ net.Conn }

func (addressed) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1111}
}

// TestWatch ends the wait of a session in each of the ways.
func TestWatch(t *testing.T) {
	tests := []struct {
		name string
		end  func(s *Server, g *greeter, p *peer)
		want []string
	}{
		{"nothing", func(_ *Server, g *greeter, p *peer) {
			close(g.release)
		}, []string{"released", "a", "EOF"}},
		{"input", func(_ *Server, g *greeter, p *peer) {
			p.send("b\r\n")
			close(g.release)
		}, []string{"released", "b", "a", "EOF"}},
		{"the peer goes", func(_ *Server, g *greeter, p *peer) {
			p.nc.(*net.TCPConn).CloseWrite()
			<-g.entered
		}, []string{"unwatched", "EOF"}},
		{"the server stops", func(s *Server, g *greeter, _ *peer) {
			go s.Shutdown(context.Background())
			<-g.entered
		}, []string{"unwatched", "shutdown", "EOF"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := &greeter{entered: make(chan struct{}), release: make(chan struct{})}
			s := newServer(t, Config{Handler: g})
			p := dial(t, listen(t, s))
			p.want("hello")
			p.send("wait\r\n")
			<-g.entered
			tt.end(s, g, p)
			if tt.want[0] == "released" {
				p.want(tt.want[0])
				p.send("a\r\nquit\r\n")
				p.want(tt.want[1 : len(tt.want)-1]...)
				p.want("bye")
			} else {
				p.want(tt.want[:len(tt.want)-1]...)
			}
			p.want("EOF")
		})
	}
}

// TestWaiting hears each second of a peer that is silent within a body.
func TestWaiting(t *testing.T) {
	g := &greeter{}
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Config{Handler: g})
		ours, theirs := net.Pipe()
		p := newPeer(t, theirs)
		theirs.SetDeadline(time.Time{})
		s.ServeConn(ours)
		p.want("hello")
		time.Sleep(10 * time.Second)
		if got := g.waits.Load(); got != 0 {
			t.Errorf("between lines: got %d calls, want none", got)
		}
		p.send("body 10\r\n")
		p.want("ok")
		time.Sleep(10*time.Second + stallTime/2)
		if got := g.waits.Load(); got != 11 {
			t.Errorf("got %d calls within 10 s, want 11", got)
		}
		p.send("0123456789quit\r\n")
		p.want("10", "bye", "EOF")
	})
}
