package main

import (
	"bufio"
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

func TestMixture(t *testing.T) {
	sizes := mixture(rand.New(rand.NewPCG(1, 2)))
	var got [4]int
	for _, n := range sizes {
		switch {
		case n <= 8<<10:
			got[0]++
		case n <= 60<<10:
			got[1]++
		case n <= 500<<10:
			got[2]++
		default:
			got[3]++
		}
	}
	if want := [4]int{120, 60, 18, 2}; got != want {
		t.Errorf("got %v messages by size, want %v", got, want)
	}
}

func TestBodiesAreMail(t *testing.T) {
	for _, size := range []string{small, mixed} {
		b := newLetterbox(size)
		for i := range b.bodies {
			text := append(b.head(nil, i, userName(i)), b.body(i)...)
			whole, ok := bytes.CutSuffix(text, []byte("\r\n.\r\n"))
			if !ok {
				t.Fatalf("%s, body %d: no final dot", size, i)
			}
			for line := range bytes.SplitSeq(whole, []byte("\r\n")) {
				if bytes.ContainsAny(line, "\r\n") || bytes.HasPrefix(line, []byte(".")) ||
					len(line) > 998 {
					t.Fatalf("%s, body %d: line %q", size, i, line)
				}
			}
			if n := len(text); size == small && (n < 3500 || n > 4500) {
				t.Errorf("%s, body %d: got %d bytes, want about 4 kB", size, i, n)
			}
		}
	}
}

func TestPercentile(t *testing.T) {
	o := &outcome{}
	for i := range 100 {
		o.latencies = append(o.latencies, time.Duration(100-i)*time.Millisecond)
	}
	for p, want := range map[int]time.Duration{50: 51 * time.Millisecond, 99: 100 * time.Millisecond} {
		if got := o.percentile(p); got != want {
			t.Errorf("percentile %d: got %v, want %v", p, got, want)
		}
	}
	if got := (&outcome{}).percentile(99); got != 0 {
		t.Errorf("of nothing: got %v, want 0", got)
	}
}

func TestMediansLeaveDisturbedRoundsOut(t *testing.T) {
	r := newReport()
	for _, s := range []struct{ rate, others float64 }{{100, 0.1}, {300, 0.2}, {1, 0.9}} {
		r.add(&sample{Test: "ingest", Server: "postrider", Size: small, Conns: 16, Rate: s.rate,
			OtherCores: s.others})
	}
	m, quiet := r.of(cell{"ingest", "postrider", small, 16})
	if m == nil || m.Rate != 200 || quiet != 2 {
		t.Errorf("got %+v of %d rounds, want a rate of 200 of 2 rounds", m, quiet)
	}
	if m, _ := r.of(cell{"ingest", "postfix", small, 16}); m != nil {
		t.Errorf("got %+v for what was not measured, want nothing", m)
	}
	var out strings.Builder
	r.print(&out)
	if !strings.Contains(out.String(), "postrider") {
		t.Errorf("got %q, want a table with postrider", out.String())
	}
}

// The sink is a server as the clients here expect one, and the load's numbers
// add up against it.
func TestLoadAtSink(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				swallow(conn)
			}()
		}
	}()
	l := &load{addr: ln.Addr().String(), letters: newLetterbox(mixed), conns: 4,
		duration: time.Minute, messages: 205}
	o := l.run(t.Context())
	if o.done != 205 || o.failures != 0 || len(o.latencies) != 205 {
		t.Errorf("got %d messages, %d latencies, %d failures (%v), want 205, 205, 0", o.done,
			len(o.latencies), o.failures, o.firstErr)
	}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 100)
	for name, test := range map[string]struct {
		in   string
		n    int
		size int64
		err  bool
	}{
		"empty":        {in: ".\r\n"},
		"two lines":    {in: "a\r\nb\r\n.\r\n", n: 2, size: 6},
		"stuffed":      {in: "..\r\n.\r\n", n: 1, size: 4},
		"long":         {in: long + "\r\n.\r\n", n: 1, size: 102},
		"dot at a cut": {in: strings.Repeat("x", 16) + ".\r\n.\r\n", n: 1, size: 19},
		"cut off":      {in: "a\r\n", n: 1, size: 3, err: true},
	} {
		c := &popClient{r: bufio.NewReaderSize(strings.NewReader(test.in), 16)}
		n, size, err := c.lines()
		if n != test.n || size != test.size || (err != nil) != test.err {
			t.Errorf("%s: got %d lines, %d bytes, %v; want %d, %d", name, n, size, err, test.n,
				test.size)
		}
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var out tail
	for range 100 {
		out.Write(bytes.Repeat([]byte("a"), 100))
	}
	out.Write([]byte("the end\n"))
	if got := out.String(); len(got) >= tailSize || !strings.HasSuffix(got, "the end") {
		t.Errorf("got %d bytes, want the end of it", len(got))
	}
}

func TestOutcomeKeepsFirstError(t *testing.T) {
	var o outcome
	first := errors.New("first")
	o.fail(first)
	o.fail(errors.New("second"))
	if o.failures != 2 || o.firstErr != first {
		t.Errorf("got %d failures, %v; want 2, %v", o.failures, o.firstErr, first)
	}
}
