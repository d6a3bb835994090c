package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// strainTime is how long the load runs that is watched under strain.
const strainTime = 20 * time.Second

// paced is a load that leaves the machine room, so that a disturbance of the
// sessions shows and not the machine's own limit.
func paced(addr string, conns int, duration time.Duration) *load {
	return &load{addr: addr, letters: newLetterbox(small), conns: conns, duration: duration,
		pace: time.Duration(conns) * 4 * time.Millisecond}
}

// p99 puts down what a load's sessions have felt.
func (b *bench) p99(name string, o *outcome) {
	note := fmt.Sprintf("%d done, %d failed", o.done, o.failures)
	if o.firstErr != nil {
		note += ": " + o.firstErr.Error()
	}
	b.fact(name, milliseconds(o.percentile(99)), "ms p99", note)
}

// peak watches a number until stop is called, which returns the highest.
func peak(get func() int64) (stop func() int64) {
	done, result := make(chan struct{}), make(chan int64)
	go func() {
		var high int64
		for {
			high = max(high, get())
			select {
			case <-done:
				result <- high
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	return func() int64 {
		close(done)
		return <-result
	}
}

// hugeSize is the size of the huge message.
const hugeSize = 1 << 30

// measureHuge sends a message of 1 GB and fetches it again, while other
// sessions go on; memory must stay flat, and the others must not notice.
func (b *bench) measureHuge(ctx context.Context, _ int) error {
	p, err := newPostrider(ctx, b.program, filepath.Join(b.dir, "huge"), "smtp.max_size=2G")
	if err != nil {
		return err
	}
	defer b.discard(p)
	b.progress("huge: the others alone")
	b.p99("huge message: the others alone", paced(p.smtp, 16, b.cell).run(ctx))
	rest := memoryOf(p.pid())
	for _, way := range []struct {
		name string
		do   func(context.Context, *postrider) (int64, error)
	}{{"sent", sendHuge}, {"fetched", fetchHuge}} {
		b.progress("huge: being %s", way.name)
		inner, cancel := context.WithCancel(ctx)
		var others *outcome
		var group sync.WaitGroup
		group.Go(func() { others = paced(p.smtp, 16, 5*time.Minute).run(inner) })
		highest := peak(func() int64 { return memoryOf(p.pid()) })
		began := time.Now()
		n, err := way.do(ctx, p)
		took := time.Since(began)
		high := highest()
		cancel()
		group.Wait()
		if err != nil {
			return fmt.Errorf("%s: %w", way.name, err)
		}
		b.fact("huge message "+way.name, float64(n)/1e6/took.Seconds(), "MB/s", took.String())
		b.p99("  the others meanwhile", others)
		b.fact("  memory at most", float64(high)/1e6, "MB Pss",
			fmt.Sprintf("before: %.1f MB", float64(rest)/1e6))
	}
	return ctx.Err()
}

func sendHuge(ctx context.Context, p *postrider) (int64, error) {
	c, err := dialSMTP(ctx, p.smtp, nil, 4<<10)
	if err != nil {
		return 0, err
	}
	defer c.conn.Close()
	if err := c.envelope(userName(0)); err != nil {
		return 0, err
	}
	b := newLetterboxOf(4 << 20)
	part := bytes.TrimSuffix(b.body(0), []byte(".\r\n"))
	sent, err := c.conn.Write(b.head(nil, 0, userName(0)))
	size := int64(sent)
	for err == nil && size < hugeSize && ctx.Err() == nil {
		c.conn.SetDeadline(time.Now().Add(patience))
		sent, err = c.conn.Write(part)
		size += int64(sent)
	}
	if err == nil {
		err = c.command(".\r\n", "250")
	}
	return size, err
}

// fetchHuge downloads the last message of the first account's maildrop until
// it has found the huge one.
func fetchHuge(ctx context.Context, p *postrider) (int64, error) {
	c, err := openMaildrop(ctx, p.pop, userName(0))
	if err != nil {
		return 0, err
	}
	n, err := c.stat()
	for i := n; err == nil && i > 0; i-- {
		if _, err = c.command(fmt.Sprint("RETR ", i)); err != nil {
			break
		}
		c.conn.SetDeadline(time.Now().Add(5 * time.Minute))
		var size int64
		if _, size, err = c.lines(); err == nil && size >= hugeSize {
			return size, c.quit()
		}
	}
	c.conn.Close()
	if err == nil {
		err = fmt.Errorf("the huge message is not in the maildrop")
	}
	return 0, err
}

// measureSlow runs 100 SMTP and 100 POP3 connections at once, without and
// then with one of the first that sends a byte a second.
func (b *bench) measureSlow(ctx context.Context, _ int) error {
	p, err := newPostrider(ctx, b.program, filepath.Join(b.dir, "slow"))
	if err != nil {
		return err
	}
	defer b.discard(p)
	if err := fill(ctx, &p.process, newLetterbox(small)); err != nil {
		return err
	}
	for _, slow := range []bool{false, true} {
		name := "100 + 100 connections"
		senders := 100
		if slow {
			name, senders = name+", one of them slow", 99
		}
		b.progress("slow: %s", name)
		inner, cancel := context.WithCancel(ctx)
		var group sync.WaitGroup
		var bytesSent int
		var slowErr error
		if slow {
			group.Go(func() { bytesSent, slowErr = sendSlowly(inner, p.smtp) })
		}
		var sent, fetched *outcome
		var loads sync.WaitGroup
		loads.Go(func() { sent = paced(p.smtp, senders, strainTime).run(ctx) })
		loads.Go(func() {
			fetched = (&fetch{addr: p.pop, conns: 100, duration: strainTime,
				pace: 4 * time.Second}).run(ctx)
		})
		loads.Wait()
		cancel()
		group.Wait()
		b.p99(name+": SMTP", sent)
		b.p99(name+": POP3 sessions", fetched)
		if slow {
			note := "its connection held"
			if slowErr != nil {
				note = slowErr.Error()
			}
			b.fact("  the slow one", float64(bytesSent), "bytes", note)
		}
	}
	return ctx.Err()
}

// sendSlowly sends a message a byte a second until the context ends, and
// returns how many bytes it got rid of.
func sendSlowly(ctx context.Context, addr string) (int, error) {
	c, err := dialSMTP(ctx, addr, nil, 4<<10)
	if err != nil {
		return 0, err
	}
	defer c.conn.Close()
	if err := c.envelope(userName(0)); err != nil {
		return 0, err
	}
	text := []byte("Subject: patience\r\n\r\n")
	for n := 0; ; n++ {
		wait(ctx, time.Second)
		if ctx.Err() != nil {
			return n, nil
		}
		c.conn.SetDeadline(time.Now().Add(patience))
		if _, err := c.conn.Write(text[n%len(text) : n%len(text)+1]); err != nil {
			return n, err
		}
	}
}

// measureReader takes mail in at full speed, first alone and then while one
// reader holds a big download that it reads slowly. The write-ahead log must
// stay bounded, and the senders must not notice.
func (b *bench) measureReader(ctx context.Context, _ int) error {
	p, err := newPostrider(ctx, b.program, filepath.Join(b.dir, "reader"))
	if err != nil {
		return err
	}
	defer b.discard(p)
	big := &load{addr: p.smtp, letters: newLetterboxOf(30 << 20), conns: 1, duration: time.Minute,
		messages: 1, users: 1}
	if o := big.run(ctx); o.done != 1 {
		return fmt.Errorf("the big message: %w", o.firstErr)
	}
	for _, reading := range []bool{false, true} {
		name := "full load"
		if reading {
			name += " and a slow reader"
		}
		b.progress("reader: %s", name)
		inner, cancel := context.WithCancel(ctx)
		var group sync.WaitGroup
		var read int64
		var readErr error
		if reading {
			group.Go(func() { read, readErr = readSlowly(inner, p.pop) })
			wait(ctx, time.Second)
		}
		highest := peak(func() int64 { return walSize(p.dir) })
		o := (&load{addr: p.smtp, letters: newLetterbox(small), conns: 64,
			duration: strainTime}).run(ctx)
		high := highest()
		cancel()
		group.Wait()
		b.p99(name, o)
		b.fact("  messages", float64(o.done)/o.took.Seconds(), "/s", "")
		b.fact("  write-ahead log at most", float64(high)/1e6, "MB", "")
		if reading {
			note := "its connection held"
			if readErr != nil {
				note = readErr.Error()
			}
			b.fact("  read meanwhile", float64(read)/1e6, "MB", note)
		}
	}
	return ctx.Err()
}

// readSlowly fetches the first message at some 64 kB a second until the
// context ends.
func readSlowly(ctx context.Context, addr string) (int64, error) {
	c, err := openMaildrop(ctx, addr, userName(0))
	if err != nil {
		return 0, err
	}
	defer c.conn.Close()
	if _, err := c.command("RETR 1"); err != nil {
		return 0, err
	}
	var total int64
	for ctx.Err() == nil {
		c.conn.SetDeadline(time.Now().Add(patience))
		n, err := io.CopyN(io.Discard, c.r, 6400)
		if total += n; err != nil {
			return total, err
		}
		wait(ctx, 100*time.Millisecond)
	}
	return total, nil
}

// walSize is the size of the database's write-ahead log.
func walSize(dir string) int64 {
	var size int64
	names, err := filepath.Glob(filepath.Join(dir, "*-wal"))
	if err != nil {
		return 0
	}
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			size += info.Size()
		}
	}
	return size
}
