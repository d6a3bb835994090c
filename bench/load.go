package main

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// perConnection is how many messages a connection carries.
const perConnection = 10

// A load is mail sent at a server over many connections at once.
type load struct {
	addr     string
	letters  *letterbox
	conns    int
	duration time.Duration // no message starts after this
	messages int           // at most, if above zero
	users    int           // recipients in turn; zero is userCount
	pace     time.Duration // a connection starts a message this often; zero: at once
}

// An outcome is what came of a load or of downloads.
type outcome struct {
	done      int // messages accepted, or downloaded
	bytes     int64
	took      time.Duration // until the last was done
	latencies []time.Duration
	failures  int
	firstErr  error
}

// add puts another's numbers to its own.
func (o *outcome) add(other *outcome) {
	o.done += other.done
	o.bytes += other.bytes
	o.took = max(o.took, other.took)
	o.latencies = append(o.latencies, other.latencies...)
	o.failures += other.failures
	if o.firstErr == nil {
		o.firstErr = other.firstErr
	}
}

func (o *outcome) fail(err error) {
	if o.failures++; o.firstErr == nil {
		o.firstErr = err
	}
}

// percentile is the latency that so many of 100 do not exceed.
func (o *outcome) percentile(p int) time.Duration {
	if len(o.latencies) == 0 {
		return 0
	}
	slices.Sort(o.latencies)
	return o.latencies[min(len(o.latencies)-1, len(o.latencies)*p/100)]
}

// maxFailures ends a worker that gets nowhere.
const maxFailures = 20

// run sends until the time is over or the messages are out, and waits for
// every answer.
func (l *load) run(ctx context.Context) *outcome {
	if l.users == 0 {
		l.users = userCount
	}
	var (
		next  atomic.Int64
		mu    sync.Mutex
		sum   outcome
		group sync.WaitGroup
	)
	start := time.Now()
	for range l.conns {
		group.Go(func() {
			o := l.work(ctx, start, &next)
			mu.Lock()
			defer mu.Unlock()
			sum.add(o)
		})
	}
	group.Wait()
	return &sum
}

// work is one of the connections; each takes the next number, so that a slow
// one holds up no other.
func (l *load) work(ctx context.Context, start time.Time, next *atomic.Int64) *outcome {
	o := &outcome{}
	var c *smtpClient
	inConn := 0
	for o.failures < maxFailures && ctx.Err() == nil && time.Since(start) < l.duration {
		i := int(next.Add(1)) - 1
		if l.messages > 0 && i >= l.messages {
			break
		}
		if c == nil {
			var err error
			if c, err = dialSMTP(ctx, l.addr, nil, 4<<10); err != nil {
				o.fail(err)
				continue
			}
			inConn = 0
		}
		began := time.Now()
		latency, err := c.send(l.letters, i, userName(i%l.users))
		if err != nil {
			o.fail(err)
			c.conn.Close()
			c = nil
			continue
		}
		o.done++
		o.bytes += int64(len(l.letters.body(i)))
		o.latencies = append(o.latencies, latency)
		o.took = time.Since(start)
		if inConn++; inConn == perConnection {
			c.quit()
			c = nil
		}
		if l.pace > 0 {
			wait(ctx, l.pace-time.Since(began))
		}
	}
	if c != nil {
		c.quit()
	}
	return o
}

// wait waits, at most until the context ends.
func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
