package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// idleCount is how many connections do nothing while memory is measured.
const idleCount = 10_000

// opening is how many of them are opened at a time.
const opening = 32

// perSource is how many connections come from one loopback address: fewer
// than it has ports.
const perSource = 2000

// collectTime bounds the wait for the server's garbage collection.
const collectTime = 150 * time.Second

// measureIdle opens many connections, half of them SMTP after EHLO and half
// POP3 before a login, and looks at what the server's memory has grown by,
// each time after a garbage collection.
//
// The server offers no way to ask for a collection. Its metrics tell when one
// has happened, and reading them makes the garbage that brings it on; that it
// is little of it, and not as much again as is in use, GOGC sees to.
func (b *bench) measureIdle(ctx context.Context, _ int) error {
	dir := filepath.Join(b.dir, "idle")
	p := &postrider{program: b.program, dir: filepath.Join(dir, "data"), metrics: "on"}
	p.env = []string{"GOGC=10"}
	if err := p.serve(ctx, "smtp.sessions_per_address=20000",
		"pop.sessions_per_address=20000"); err != nil {
		return err
	}
	defer b.discard(p)
	before, err := p.collected(ctx)
	if err != nil {
		return err
	}
	count := idleCount
	if limit := raiseOpenFiles(65536); limit < uint64(count)+200 {
		count = int(limit) - 200
		b.note("only %d idle connections: the system allows no more open files", count)
	}
	b.progress("opening %d connections", count)
	conns, err := openIdle(ctx, p, count)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	if err != nil {
		return err
	}
	wait(ctx, 2*time.Second)
	early := memoryOf(p.pid())
	after, err := p.collected(ctx)
	if err != nil {
		return err
	}
	each := func(bytes float64) float64 { return bytes / float64(len(conns)) / 1000 }
	b.fact("idle connections", float64(len(conns)), "", "half SMTP after EHLO, half POP3")
	b.fact("memory of each", each(float64(after.pss-before.pss)), "kB Pss",
		"after a garbage collection on both sides, GOGC=10")
	b.fact("  before the collection", each(float64(early-before.pss)), "kB Pss", "")
	b.fact("  heap in use", each(after.heap-before.heap), "kB", "")
	b.fact("  stacks", each(after.stack-before.stack), "kB", "")
	return ctx.Err()
}

// openIdle opens connections, half of them to each protocol.
func openIdle(ctx context.Context, p *postrider, count int) ([]net.Conn, error) {
	var (
		mu       sync.Mutex
		group    sync.WaitGroup
		conns    []net.Conn
		firstErr error
	)
	slots := make(chan struct{}, opening)
	for i := range count {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			conn, err := openOneIdle(ctx, p, i)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				conns = append(conns, conn)
			} else if firstErr == nil {
				firstErr = err
			}
		})
	}
	group.Wait()
	return conns, firstErr
}

func openOneIdle(ctx context.Context, p *postrider, i int) (net.Conn, error) {
	source := net.IPv4(127, 0, byte(1+i/perSource), 1)
	if i%2 == 0 {
		c, err := dialSMTP(ctx, p.smtp, source, 512)
		if err != nil {
			return nil, err
		}
		return c.conn, c.conn.SetDeadline(time.Time{})
	}
	c, err := dialPOP(ctx, p.pop, source, 512)
	if err != nil {
		return nil, err
	}
	return c.conn, c.conn.SetDeadline(time.Time{})
}

// A state is the server's memory in bytes: its share of the machine's, and
// what its runtime says.
type state struct {
	pss         int64
	heap, stack float64
}

// settleSeconds is how long a server that has come to rest is given to hand
// memory back to the system, which it does when nobody asks it anything.
const settleSeconds = 15

// collected waits until the server has collected its garbage twice, for what
// the first leaves the second frees, and has given memory back.
func (p *postrider) collected(ctx context.Context) (state, error) {
	const cycles = "go_gc_duration_seconds_count"
	m, err := p.readMetrics(ctx)
	if err != nil {
		return state{}, err
	}
	want := m[cycles] + 2
	for deadline := time.Now().Add(collectTime); m[cycles] < want; {
		if time.Now().After(deadline) {
			return state{}, fmt.Errorf("no garbage collection within %v", collectTime)
		}
		if m, err = p.readMetrics(ctx); err != nil {
			return state{}, err
		}
	}
	s := state{pss: memoryOf(p.pid()), heap: m["go_memstats_heap_inuse_bytes"],
		stack: m["go_memstats_stack_inuse_bytes"]}
	for range settleSeconds {
		wait(ctx, time.Second)
		s.pss = min(s.pss, memoryOf(p.pid()))
	}
	return s, ctx.Err()
}

// readMetrics reads the server's metrics that have no labels.
func (p *postrider) readMetrics(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.metrics+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	values := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			values[name] = v
		}
	}
	return values, lines.Err()
}
