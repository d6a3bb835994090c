package link

import (
	"bufio"
	"context"
	"net"
	"testing"
	"time"
)

func TestSmoke(t *testing.T) {
	s := New(Config{Name: "t", Handler: echo{}, Limits: func() Limits {
		return Limits{Line: 512, LineTime: time.Minute, ReadTime: time.Minute, WriteTime: time.Minute, Handshake: time.Minute}
	}})
	s.parkAfter = 10 * time.Millisecond
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(t.Context(), ln)
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	say := func(out, in string) {
		t.Helper()
		c.Write([]byte(out))
		got, err := r.ReadString('\n')
		if err != nil || got != in {
			t.Fatalf("got %q %v, want %q", got, err, in)
		}
	}
	say("", "hello\r\n")
	say("a\r\n", "a\r\n")
	for s.Stats().Parked == 0 {
		time.Sleep(time.Millisecond)
	}
	say("b\n", "b!\r\n")
	c.Write([]byte("par"))
	time.Sleep(50 * time.Millisecond)
	for s.Stats().Parked == 0 {
		time.Sleep(time.Millisecond)
	}
	say("tial\r\nx\r\n", "partial\r\n")
	say("", "x\r\n")
	go s.Shutdown(context.Background())
	say("", "bye\r\n")
	<-s.empty
}

type echo struct{}

func (echo) Open(ctx context.Context, c *Conn) Session {
	c.WriteString("hello\r\n")
	return &echoing{c}
}

type echoing struct{ c *Conn }

func (e *echoing) Line(ctx context.Context, line []byte, bare bool) bool {
	e.c.Write(line)
	if bare {
		e.c.WriteString("!")
	}
	e.c.WriteString("\r\n")
	return string(line) != "quit"
}
func (e *echoing) TooLong(ctx context.Context) bool { e.c.WriteString("long\r\n"); return true }
func (e *echoing) Expire(why Reason)                { e.c.WriteString("bye\r\n") }
func (e *echoing) Close()                           {}
