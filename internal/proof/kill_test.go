package proof

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// A siege is a server under load that is killed again and again.
type siege struct {
	t      *testing.T
	dir    string
	rand   *rand.Rand
	ledger *ledger
	boxes  []string
	known  map[string]memory
	sizes  sizes
	rounds int
	stored int64 // bytes sent, about
}

// senders and readers of the load.
const (
	senders = 6
	readers = 2
)

// TestKill kills the server at random moments under load. Whatever it has
// confirmed must be there afterwards.
func TestKill(t *testing.T) {
	g := newSiege(t)
	kills := number(t, "PROOF_KILLS", 10)
	early, began := 0, time.Now()
	var slowest time.Duration
	for range kills {
		started := time.Now()
		s := start(t, g.dir, launch{})
		slowest = max(slowest, time.Since(started))
		g.inspect(s, false)
		g.assault(s)
		if g.rand.IntN(3) == 0 { // and once more while it recovers
			again := begin(t, g.dir, launch{})
			time.Sleep(time.Duration(g.rand.IntN(80)) * time.Millisecond)
			again.Kill()
			early++
		}
		if t.Failed() {
			t.Fatalf("stopped after %d kills; the data is as it was found", g.rounds)
		}
	}
	s := start(t, g.dir, launch{})
	g.inspect(s, true)
	sound(t, g.dir)
	s.stop(t)
	sound(t, g.dir)
	c := &g.ledger.count
	say(t, "kill: kills=%d early_kills=%d sent=%d answered_250=%d refused=%d unheard=%d "+
		"unheard_found=%d deletions_ok=%d deletions_unheard=%d in_mailboxes=%d slowest_start=%v "+
		"took=%v", kills, early, c.sent, c.answered, c.refused, c.unheard, c.late, c.deletions,
		c.unsure, g.ledger.places(), slowest.Round(time.Millisecond),
		time.Since(began).Round(time.Second))
	if c.answered == 0 || c.deletions == 0 {
		t.Error("the load did nothing")
	}
	if c.refused > 0 {
		t.Errorf("%d messages were refused: %q", c.refused, g.ledger.refusals)
	}
}

func newSiege(t *testing.T) *siege {
	t.Helper()
	g := &siege{t: t, dir: filepath.Join(t.TempDir(), "data"), rand: chance(t),
		ledger: newLedger(), known: map[string]memory{}, sizes: sizes{medium: 8, large: 1}}
	s := start(t, g.dir, launch{})
	g.boxes = accounts(t, g.dir, 6)
	for _, box := range g.boxes {
		g.known[box] = memory{}
	}
	s.stop(t)
	divide(t, g.dir, g.boxes)
	return g
}

// inspect proves that everything confirmed is there; with whole, every
// message is read again.
func (g *siege) inspect(s *server, whole bool) {
	g.t.Helper()
	if whole {
		for box := range g.known {
			clear(g.known[box])
		}
	}
	inspectAll(g.t, s, g.ledger, g.known)
	// Check reads every body: often while there are few, then now and then.
	if g.ledger.count.sent < 5000 || g.rounds%10 == 0 {
		sound(g.t, g.dir)
	}
}

// inspectAll proves all mailboxes, some at a time.
func inspectAll(t *testing.T, s *server, l *ledger, known map[string]memory) {
	t.Helper()
	var group sync.WaitGroup
	places := make(chan struct{}, 3)
	for box, memory := range known {
		group.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			for _, err := range l.inspect(s.pop, box, memory) {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

// assault puts the server under load and kills it.
func (g *siege) assault(s *server) {
	g.rounds++
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var group sync.WaitGroup
	for i := range senders {
		k := &maker{name: fmt.Sprintf("r%d-c%d", g.rounds, i), boxes: g.boxes, sizes: g.sizes,
			rand: rand.New(rand.NewPCG(g.rand.Uint64(), 0))}
		group.Go(func() { load(ctx, s.smtp, g.ledger, k, i, nil) })
	}
	for i := range readers {
		r := rand.New(rand.NewPCG(g.rand.Uint64(), 0))
		group.Go(func() {
			for ctx.Err() == nil {
				// Each reader has mailboxes of its own.
				box := g.boxes[r.IntN(len(g.boxes)/readers)*readers+i]
				some := func(n int) []int { return r.Perm(n)[:min(n, 1+n/20)] }
				if g.ledger.remove(s.pop, box, g.known[box], some) != nil {
					return
				}
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
	}
	time.Sleep(time.Duration(50+g.rand.IntN(900)) * time.Millisecond)
	s.Kill()
	cancel()
	group.Wait()
}
