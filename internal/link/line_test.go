package link

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 10)
	far := strings.Repeat("y", 3*inSize)
	tests := []struct {
		name  string
		limit int
		in    []string // one write each
		want  []string
	}{
		{"one", 10, []string{"a\r\n"}, []string{"a"}},
		{"empty", 10, []string{"\r\n"}, []string{""}},
		{"bare LF", 10, []string{"a\nb\r\n"}, []string{"a!", "b"}},
		{"CR inside", 10, []string{"a\rb\r\n"}, []string{"a\rb"}},
		{"two CRs", 10, []string{"a\r\r\n"}, []string{"a\r"}},
		{"several at once", 10, []string{"a\r\nb\r\nc\r\n"}, []string{"a", "b", "c"}},
		{"in pieces", 10, []string{"a", "b", "\r", "\n", "c\r\n"}, []string{"ab", "c"}},
		{"just fits", 10, []string{long + "\r\n"}, []string{long}},
		{"just fits, bare", 10, []string{long + "\n"}, []string{long + "!"}},
		{"one too long", 10, []string{long + "x\r\nb\r\n"}, []string{"long", "b"}},
		{"one too long, bare", 10, []string{long + "x\nb\r\n"}, []string{"long", "b"}},
		{"CR counts inside", 10, []string{long + "\rx\r\nb\r\n"}, []string{"long", "b"}},
		{"too long in pieces", 10, []string{long, "x", long, "\r", "\nb\r\n"},
			[]string{"long", "b"}},
		{"fits in pieces", 10, []string{long, "\r", "\nb\r\n"}, []string{long, "b"}},
		{"far too long", 10, []string{far, far, "\r\nb\r\n"}, []string{"long", "b"}},
		{"above the buffer", 3 * inSize, []string{far + "\r\nb\r\n"}, []string{far, "b"}},
		{"above the buffer and limit", 3*inSize - 1, []string{far + "\r\nb\r\n"},
			[]string{"long", "b"}},
		{"end within a line", 10, []string{"a\r\nb"}, []string{"a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := patient
			l.Line = tt.limit
			if got := dialogue(t, l, tt.in); got != answer(tt.want) {
				t.Errorf("got %.60q, want %.60q", got, answer(tt.want))
			}
		})
	}
}

func answer(lines []string) string {
	return "hello\r\n" + strings.Join(append(lines, ""), "\r\n")
}

// dialogue gives what the server writes when in comes, each piece in a read
// of its own.
func dialogue(t testing.TB, l Limits, in []string) string {
	s := newServer(t, Config{Limits: func() Limits { return l }})
	nc := &script{in: in, done: make(chan struct{})}
	s.ServeConn(nc)
	<-nc.done
	return nc.out.String()
}

// A script is a connection whose input is known beforehand.
type script struct {
	net.Conn
	in     []string
	out    bytes.Buffer
	writes int
	done   chan struct{}
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.in[0])
	if s.in[0] = s.in[0][n:]; s.in[0] == "" {
		s.in = s.in[1:]
	}
	return n, nil
}

func (s *script) Write(p []byte) (int, error) {
	s.writes++
	return s.out.Write(p)
}

func (s *script) Close() error                     { close(s.done); return nil }
func (s *script) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (s *script) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// TestFlush counts the writes: one for all the lines that come together.
func TestFlush(t *testing.T) {
	many := strings.Repeat("line\r\n", 100)
	tests := []struct {
		name string
		in   []string
		want int
	}{
		{"greeting only", nil, 1},
		{"greeting and one line", []string{"a\r\n"}, 2},
		{"pipelined", []string{many}, 2},
		{"a part of a line waits", []string{many + "par", "tial\r\n"}, 3},
		{"one by one", []string{"a\r\n", "b\r\n", "c\r\n"}, 4},
		{"before a body", []string{"body 3\r\n", "abc"}, 3},
		{"not before a body that is there", []string{"body 3\r\nabc"}, 2},
		{"more than the buffer", []string{"big 20000\r\na\r\n"}, 3},
		{"much more than the buffer", []string{"a\r\nbig 200000\r\n"}, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, Config{})
			nc := &script{in: tt.in, done: make(chan struct{})}
			s.ServeConn(nc)
			<-nc.done
			if nc.writes != tt.want {
				t.Errorf("got %d writes, want %d; output %.80q", nc.writes, tt.want, nc.out.String())
			}
		})
	}
}

// TestAppend writes through AvailableBuffer across its end.
func TestAppend(t *testing.T) {
	nc := &script{done: make(chan struct{})}
	s := newServer(t, Config{})
	c := &Conn{srv: s, raw: nc}
	c.sitDown()
	var want bytes.Buffer
	for i := range 5000 {
		line := strings.Repeat("z", i%97) + fmt.Sprint(i) + "\r\n"
		want.WriteString(line)
		switch i % 3 {
		case 0:
			c.Write(append(c.AvailableBuffer(), line...))
		case 1:
			c.WriteString(line)
		default:
			c.Write([]byte(line))
		}
	}
	huge := strings.Repeat("h", 3*sendPiece+1)
	c.WriteString(huge)
	want.WriteString(huge)
	c.Write(append(c.AvailableBuffer(), huge...))
	want.WriteString(huge)
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(nc.out.Bytes(), want.Bytes()) {
		t.Error("what was written is not what arrived")
	}
}

// FuzzLines compares the loop with a plain reading of the same bytes.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\nb\nc\r\r\n"), uint8(3), uint8(2))
	f.Add([]byte("a line that is too long\r\nx"), uint8(7), uint8(8))
	f.Add([]byte("\n\n\r\n\r"), uint8(1), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, piece, limit uint8) {
		var in, want []string
		for rest := data; len(rest) > 0; {
			n := min(int(piece)+1, len(rest))
			in = append(in, string(rest[:n]))
			rest = rest[n:]
		}
		for rest := data; ; {
			line, more, ok := bytes.Cut(rest, []byte{'\n'})
			if !ok {
				break
			}
			rest = more
			text, crlf := bytes.CutSuffix(line, []byte{'\r'})
			switch {
			case len(text) > int(limit):
				want = append(want, "long")
			case crlf:
				want = append(want, string(text))
			default:
				want = append(want, string(text)+"!")
			}
		}
		l := patient
		l.Line = int(limit)
		s := New(Config{Limits: func() Limits { return l }, Handler: echoer{}})
		nc := &script{in: in, done: make(chan struct{})}
		s.ServeConn(nc)
		<-nc.done
		if got := nc.out.String(); got != answer(want) {
			t.Errorf("got %q, want %q", got, answer(want))
		}
	})
}
