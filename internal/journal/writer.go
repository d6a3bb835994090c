package journal

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxQueue bounds the records that wait for the writer, in bytes.
	maxQueue = 4 << 20
	// flushDelay is how long a record that is no failure waits for others.
	flushDelay = 250 * time.Millisecond
	// retryDelay is how long the writer waits after it could not write.
	retryDelay = time.Second
	// maxWait is how long a component waits for room in a full queue before
	// its record counts as lost. When that has happened, nobody waits until
	// the writer comes on.
	maxWait = 100 * time.Millisecond
)

// A mark tells where a record of a batch ends, and what a sink must know.
type mark struct {
	end   int
	day   int // yyyymmdd, local time
	level int
}

// A batch is some records, one after the other.
type batch struct {
	buf   []byte
	marks []mark
}

func (b *batch) reset() {
	if cap(b.buf) > 1<<20 {
		b.buf = nil // after a burst
	}
	b.buf, b.marks = b.buf[:0], b.marks[:0]
}

// drop forgets the first n records.
func (b *batch) drop(n int) {
	if n == 0 {
		return
	}
	gone := b.marks[n-1].end
	b.buf = b.buf[:copy(b.buf, b.buf[gone:])]
	b.marks = b.marks[:copy(b.marks, b.marks[n:])]
	for i := range b.marks {
		b.marks[i].end -= gone
	}
}

// A sink is where records go. It is used by the writer only.
type sink interface {
	// write takes as many records as it can, from the first on.
	write(b *batch) (written int, err error)
	close() error
}

// A queue holds records between components and the writer.
type queue struct {
	wake  chan struct{}      // there is something to do
	flush chan chan struct{} // Flush waits

	mu        sync.Mutex
	pending   batch
	urgent    bool
	ended     bool          // the writer is gone
	stuck     bool          // the writer did not come in maxWait
	room      chan struct{} // closed when the writer takes what is pending
	lost      int           // records since the last note about it
	lostTotal atomic.Int64
}

func (q *queue) init() {
	q.wake = make(chan struct{}, 1)
	q.flush = make(chan chan struct{})
	q.room = make(chan struct{})
}

func (q *queue) notify() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// put queues a record. It blocks only when the queue is full, and then for
// maxWait at most.
func (j *Journal) put(record []byte, day, level int) {
	q := &j.queue
	q.mu.Lock()
	for len(q.pending.buf)+len(record) > maxQueue && !q.ended {
		if q.stuck {
			q.lose(1)
			q.mu.Unlock()
			return
		}
		room := q.room
		q.mu.Unlock()
		timer := time.NewTimer(maxWait)
		late := false
		select {
		case <-room:
		case <-timer.C:
			late = true
		}
		timer.Stop()
		q.mu.Lock()
		q.stuck = q.stuck || late
	}
	if q.ended {
		q.mu.Unlock()
		_, _ = j.stderr.Write(record)
		return
	}
	first := len(q.pending.marks) == 0
	urgent := level == 1 && !q.urgent
	q.pending.buf = append(q.pending.buf, record...)
	q.pending.marks = append(q.pending.marks, mark{len(q.pending.buf), day, level})
	q.urgent = q.urgent || level == 1
	q.mu.Unlock()
	if first || urgent {
		q.notify()
	}
}

// lose counts records that nobody will see; mu is held.
func (q *queue) lose(n int) {
	q.lost += n
	q.lostTotal.Add(int64(n))
}

// take moves what is pending behind what b has.
func (q *queue) take(b *batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(b.marks) == 0 {
		*b, q.pending = q.pending, *b
		q.pending.reset()
	} else { // something could not be written yet
		at := len(b.buf)
		b.buf = append(b.buf, q.pending.buf...)
		for _, m := range q.pending.marks {
			m.end += at
			b.marks = append(b.marks, m)
		}
		q.pending.reset()
	}
	q.urgent = false
	close(q.room)
	q.room = make(chan struct{})
}

func (q *queue) state() (waiting, urgent bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.pending.marks) > 0, q.urgent
}

// run is the writer's goroutine; Close ends it.
func (j *Journal) run(out sink) {
	defer close(j.done)
	w := writer{journal: j, out: out}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var asked chan struct{}
		select {
		case <-j.stop:
			w.end()
			return
		case asked = <-j.queue.flush:
		case <-j.queue.wake:
		case <-timer.C:
		}
		next := w.step(asked != nil)
		if asked != nil {
			close(asked)
		}
		timer.Reset(next)
	}
}

// A writer takes batches from the queue to the sink.
type writer struct {
	journal *Journal
	out     sink
	batch   batch     // taken, not yet written
	since   time.Time // since when records wait
	failed  time.Time // when the sink last failed
	told    time.Time // when standard error was last told so
}

// step does what is due and tells how long there is nothing to do.
func (w *writer) step(now bool) time.Duration {
	j := w.journal
	t := j.now()
	next := time.Hour
	sooner := func(d time.Duration) {
		if d > 0 {
			next = min(next, d)
		}
	}
	sooner(j.expire(t))
	sooner(j.report(t, false))
	waiting, urgent := j.queue.state()
	waiting = waiting || len(w.batch.marks) > 0
	if !waiting {
		w.since = time.Time{}
		return next
	}
	if w.since.IsZero() {
		w.since = t
	}
	due := flushDelay - t.Sub(w.since)
	if wait := retryDelay - t.Sub(w.failed); !w.failed.IsZero() && wait > due {
		due, urgent = wait, false
	}
	if due > 0 && !urgent && !now {
		sooner(due)
		return next
	}
	w.write()
	w.since = time.Time{}
	if len(w.batch.marks) > 0 {
		w.since = t
		sooner(retryDelay)
	} else if waiting, _ := j.queue.state(); waiting {
		w.since = t
		sooner(flushDelay)
	}
	return next
}

// write takes what is queued to the sink. What the sink does not take is
// tried again later.
func (w *writer) write() {
	j := w.journal
	if len(w.batch.buf) < maxQueue { // otherwise the queue fills, and is bounded itself
		j.queue.take(&w.batch)
	}
	n, err := w.out.write(&w.batch)
	w.batch.drop(n)
	t := j.now()
	if err != nil {
		w.failed = t
		if t.Sub(w.told) >= time.Minute {
			w.told = t
			fmt.Fprintf(j.stderr, "postrider: cannot write the log: %v\n", err)
		}
		return
	}
	w.failed = time.Time{}
	w.batch.reset()
	w.noteLost()
}

// noteLost tells in the log, once it can be written again, what it lacks.
func (w *writer) noteLost() {
	q := &w.journal.queue
	q.mu.Lock()
	n := q.lost
	q.lost, q.stuck = 0, false
	q.mu.Unlock()
	if n > 0 {
		w.journal.For("log").LogAttrs(context.Background(), Failure,
			"records lost, the log could not be written", slog.Int("count", n))
	}
}

// end writes the rest.
func (w *writer) end() {
	j := w.journal
	j.report(j.now(), true)
	w.write()
	q := &j.queue
	q.mu.Lock()
	q.ended = true
	q.mu.Unlock()
	q.take(&w.batch) // what came in between, and the note about lost records
	n, _ := w.out.write(&w.batch)
	w.batch.drop(n)
	if n := len(w.batch.marks); n > 0 {
		q.mu.Lock()
		q.lose(n)
		q.mu.Unlock()
		_, _ = j.stderr.Write(w.batch.buf)
	}
	if err := w.out.close(); err != nil {
		fmt.Fprintf(j.stderr, "postrider: cannot close the log: %v\n", err)
	}
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
