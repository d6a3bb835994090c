package proof

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
)

// A run is a data directory with accounts, and what they must hold.
type run struct {
	dir    string
	rand   *rand.Rand
	ledger *ledger
	boxes  []string
	sent   int // calls of send
}

// newRun makes a directory with n accounts. No server runs afterwards.
func newRun(t *testing.T, n int) *run {
	t.Helper()
	return newRunIn(t, filepath.Join(t.TempDir(), "data"), n)
}

func newRunIn(t *testing.T, dir string, n int) *run {
	t.Helper()
	g := &run{dir: dir, rand: chance(t), ledger: newLedger()}
	s := start(t, dir, launch{})
	g.boxes = accounts(t, dir, n)
	s.stop(t)
	divide(t, dir, g.boxes)
	return g
}

// maker makes messages to all mailboxes of the run.
func (g *run) maker(s sizes) *maker {
	g.sent++
	return &maker{name: fmt.Sprintf("s%d", g.sent), boxes: g.boxes, sizes: s,
		rand: rand.New(rand.NewPCG(g.rand.Uint64(), 0))}
}

// send sends messages over some connections, each so many. All must be
// accepted.
func (g *run) send(t *testing.T, s *server, conns, each int, z sizes) {
	t.Helper()
	var group sync.WaitGroup
	for i := range conns {
		k := g.maker(z)
		k.limit = each
		group.Go(func() {
			if err := load(context.Background(), s.smtp, g.ledger, k, i, nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := g.ledger.count.refused; n > 0 {
		t.Errorf("%d messages were refused: %q", n, g.ledger.refusals)
	}
}

// inspect proves all mailboxes, every message read.
func (g *run) inspect(t *testing.T, s *server) {
	t.Helper()
	known := map[string]memory{}
	for _, box := range g.boxes {
		known[box] = memory{}
	}
	inspectAll(t, s, g.ledger, known)
}
