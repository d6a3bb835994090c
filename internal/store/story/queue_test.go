package story

import (
	"testing"
)

// TestQueue proves that what waits, and what one operation writes, is bounded
// by bytes as well as by number, and that the newest are kept in order.
func TestQueue(t *testing.T) {
	for _, test := range []struct {
		name        string
		rows, size  int
		kept, batch int
	}{
		{"few", 3, 300, 3, 3},
		{"many", 3 * maxWaiting, 10, maxWaiting, maxBatch},
		{"large", 2000, MaxRow, maxWaitingBytes / MaxRow, maxBatchBytes / MaxRow},
		{"larger than a batch", 2, 2 * maxBatchBytes, 2, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			var q Queue
			for i := range test.rows {
				q.Add(Row{ID: int64(i), Data: make([]byte, test.size)})
			}
			next := int64(test.rows - test.kept)
			n := 0
			for _, batch := range q.Take() {
				if len(batch) > test.batch {
					t.Fatalf("a batch of %d rows, want %d at most", len(batch), test.batch)
				}
				for _, r := range batch {
					if r.ID != next {
						t.Fatalf("got row %d, want %d", r.ID, next)
					}
					next++
					n++
				}
			}
			if n != test.kept || len(q.Take()) != 0 || q.bytes != 0 {
				t.Errorf("got %d rows, want %d and then none", n, test.kept)
			}
		})
	}
}
