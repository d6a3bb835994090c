package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// A sample is one measurement of one server in one round. Rates are per
// second, of messages; times are from the final dot to the 250, or whole
// sessions of a download.
type sample struct {
	Test       string  `json:"test"`
	Server     string  `json:"server"`
	Size       string  `json:"size,omitempty"`
	Conns      int     `json:"conns"`
	Round      int     `json:"round"`
	Messages   int     `json:"messages"`
	Accepted   float64 `json:"accepted_per_s,omitempty"`
	Rate       float64 `json:"per_s"` // delivered and visible, or downloaded
	MBps       float64 `json:"mb_per_s"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	CPU        float64 `json:"cpu_us_per_message"`
	OtherCores float64 `json:"other_cores"`
	Failures   int     `json:"failures"`
	FirstError string  `json:"first_error,omitempty"`
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func newSample(test string, p *process, size string, conns, round int, o *outcome) *sample {
	s := &sample{Test: test, Server: p.name, Size: size, Conns: conns, Round: round,
		Messages: o.done, Failures: o.failures, P50: milliseconds(o.percentile(50)),
		P99: milliseconds(o.percentile(99))}
	if o.firstErr != nil {
		s.FirstError = o.firstErr.Error()
	}
	if seconds := o.took.Seconds(); seconds > 0 {
		s.Rate = float64(o.done) / seconds
		s.MBps = float64(o.bytes) / 1e6 / seconds
	}
	return s
}

// charge puts down what the run cost the server.
func (s *sample) charge(cpu time.Duration, others float64) {
	s.OtherCores = others
	if s.Messages > 0 {
		s.CPU = float64(cpu.Microseconds()) / float64(s.Messages)
	}
}

// deliverTime bounds the wait for the last message to appear.
const deliverTime = 30 * time.Second

// deliver runs a load at a server and waits until all that it accepted lies
// in the mailboxes; what then is missing, or too much, is an error.
func deliver(ctx context.Context, p *process, l *load, size string, round int) (*sample, error) {
	before, err := 0, error(nil)
	if p.count != nil {
		if before, err = p.count(ctx); err != nil {
			return nil, fmt.Errorf("%s: count: %w", p.name, err)
		}
	}
	l.addr = p.smtp
	m := startMeter(p.pid())
	start := time.Now()
	o := l.run(ctx)
	cpu, others := m.read()
	s := newSample("ingest", p, size, l.conns, round, o)
	s.Accepted = s.Rate
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if p.count != nil {
		visible, err := awaitCount(ctx, p, before+o.done)
		if err != nil {
			return nil, err
		}
		if p.name != "postrider" { // it delivers after it has answered
			cpu, others = m.read()
		}
		s.Rate = float64(o.done) / visible.Sub(start).Seconds()
	}
	s.charge(cpu, others)
	return s, nil
}

// awaitCount waits until a server has want messages, and returns when the
// count that found them began.
func awaitCount(ctx context.Context, p *process, want int) (time.Time, error) {
	deadline := time.Now().Add(deliverTime)
	for {
		began := time.Now()
		n, err := p.count(ctx)
		switch {
		case err != nil:
			return began, fmt.Errorf("%s: count: %w", p.name, err)
		case n == want:
			return began, nil
		case n > want:
			return began, fmt.Errorf("%s has %d messages, want %d: some came twice", p.name, n, want)
		case began.After(deadline):
			return began, fmt.Errorf("%s has %d messages after %v, want %d", p.name, n,
				deliverTime, want)
		}
		// Counting takes time that the server could use.
		wait(ctx, max(20*time.Millisecond, 4*time.Since(began)))
		if ctx.Err() != nil {
			return began, ctx.Err()
		}
	}
}

// measureIngest is one round of the main measurement: the disk, the load's
// own limit, our server, and others where they are installed, one after the
// other for each kind of load, so that a disturbance meets them all.
func (b *bench) measureIngest(ctx context.Context, round int) error {
	for _, n := range b.conns {
		rate, err := flushRate(b.dir, n, b.cell/4)
		if err != nil {
			return err
		}
		b.report.Flush[n] = append(b.report.Flush[n], rate)
	}
	sink, err := newSink(ctx)
	if err != nil {
		return err
	}
	defer sink.stop()
	ours, err := newPostrider(ctx, b.program, filepath.Join(b.dir, fmt.Sprint("round", round)))
	if err != nil {
		return err
	}
	defer b.discard(ours)
	servers := []*process{sink, &ours.process}
	if b.peers {
		postfix, err := newPostfix(ctx, filepath.Join(b.dir, fmt.Sprint("postfix", round)))
		if err != nil {
			b.note("Postfix is left out: %v", err)
		} else {
			defer postfix.stop()
			servers = append(servers, postfix)
		}
	}
	for _, size := range b.sizes {
		letters := newLetterbox(size)
		for _, conns := range b.conns {
			for _, p := range servers {
				b.progress("round %d: ingest, %s, %d connections: %s", round, size, conns, p.name)
				l := &load{letters: letters, conns: conns, duration: b.cell}
				s, err := deliver(ctx, p, l, size, round)
				if err != nil {
					return err
				}
				b.report.add(s)
			}
		}
	}
	return nil
}
