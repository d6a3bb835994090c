package story

import (
	"sync"
	"time"
)

// Bounds of what waits in memory for a later commit, and of what one
// operation writes of it: no more than one delivery may.
const (
	maxWaiting      = 10_000
	maxWaitingBytes = 8 << 20
	maxBatch        = 100
	maxBatchBytes   = 64 << 10
)

// A Row is the row of a trace.
type Row struct {
	ID   int64
	Time time.Time
	Data []byte
}

// A Queue holds rows that nobody was promised: when there are too many, the
// oldest are dropped. The zero value is ready; its methods may be called
// concurrently.
type Queue struct {
	mu    sync.Mutex
	rows  []Row
	bytes int // of all of them
}

// Add puts a row at the end.
func (q *Queue) Add(r Row) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rows = append(q.rows, r)
	q.bytes += len(r.Data)
	for len(q.rows) > maxWaiting || q.bytes > maxWaitingBytes {
		q.bytes -= len(q.rows[0].Data)
		q.rows[0] = Row{} // the array lives on
		q.rows = q.rows[1:]
	}
}

// Take empties the queue and gives its rows, as many at a time as one
// operation may write.
func (q *Queue) Take() [][]Row {
	q.mu.Lock()
	rest := q.rows
	q.rows, q.bytes = nil, 0
	q.mu.Unlock()
	var batches [][]Row
	for len(rest) > 0 {
		n, size := 1, len(rest[0].Data)
		for n < min(len(rest), maxBatch) {
			if size += len(rest[n].Data); size > maxBatchBytes {
				break
			}
			n++
		}
		batches = append(batches, rest[:n])
		rest = rest[n:]
	}
	return batches
}
