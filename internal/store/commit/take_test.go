package commit

import "testing"

// TestTake bounds a batch by operations and by the mailboxes they go to.
func TestTake(t *testing.T) {
	ops := func(targets ...int) (list []*Op) {
		for _, n := range targets {
			list = append(list, &Op{Weight: n})
		}
		return list
	}
	for _, c := range []struct {
		name    string
		waiting []*Op
		n, want int
	}{
		{"none", nil, 5, 0},
		{"all", ops(1, 1, 0), 5, 3},
		{"so many operations", ops(1, 1, 1, 1), 3, 3},
		{"so many mailboxes", ops(128, 128, 128, 128), 256, 3},
		{"one in any case", ops(maxWeight+1, 1), 256, 1},
		{"none of these", ops(0, 0, maxWeight, 1), 256, 3},
	} {
		taken, rest := take(c.waiting, c.n)
		if len(taken) != c.want || len(taken)+len(rest) != len(c.waiting) {
			t.Errorf("%s: took %d, left %d; want %d taken", c.name, len(taken), len(rest), c.want)
		}
	}
}
