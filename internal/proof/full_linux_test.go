package proof

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"postrider/internal/trial"
)

// diskSize is that of the disks to be filled, in bytes. The server wants a
// twentieth of it left free.
const diskSize = 400 << 20

// TestFullDisk fills the disk in three ways: by mail alone, by others while
// mail comes in, and to the last byte. Mail is refused for the time being,
// nothing confirmed is lost, and everything goes on once there is room.
func TestFullDisk(t *testing.T) {
	for _, kind := range []string{"tmpfs", "ext4"} {
		t.Run(kind, func(t *testing.T) {
			f := &flood{run: newRunIn(t, filepath.Join(smallDisk(t, kind, diskSize), "data"), 3)}
			f.proof(t)
		})
	}
}

// A flood is a run that meets a full disk.
type flood struct {
	*run
	mu      sync.Mutex
	refused map[int]int // by code
}

func (f *flood) proof(t *testing.T) {
	ballast := filepath.Join(filepath.Dir(f.dir), "ballast")
	first := filepath.Join(filepath.Dir(f.dir), "first")
	occupy(t, first, 50<<20)
	s := start(t, f.dir, launch{})

	f.pour(t, s, "mail alone", func(context.Context) {})
	f.inspect(t, s)
	f.drain(t, s) // a deletion finds its place
	f.free(t, first)
	occupy(t, first, 50<<20)
	f.again(t, s)

	f.pour(t, s, "others write while mail comes in", func(context.Context) {
		fill(t, ballast, func() { time.Sleep(5 * time.Millisecond) })
	})
	open := f.openable(s)

	// The server is killed, and finds no byte free when it starts.
	s.Kill()
	fill(t, ballast+"2", func() {})
	s = begin(t, f.dir, launch{})
	if err := s.ready(); err != nil {
		s.Kill()
		t.Logf("it does not start on a full disk: %s", s.Stderr)
		f.free(t, ballast+"2")
		f.free(t, ballast)
		s = start(t, f.dir, launch{})
	} else {
		f.pour(t, s, "after a start on a full disk", func(context.Context) {})
		f.free(t, ballast+"2")
		f.free(t, ballast)
	}
	f.free(t, first)
	f.inspect(t, s)

	f.drain(t, s)
	f.again(t, s)
	f.inspect(t, s)
	sound(t, f.dir)
	s.stop(t)
	sound(t, f.dir)
	say(t, "full disk: answered_250=%d deletions_ok=%d mailboxes=%d open_without_a_free_byte=%d",
		f.ledger.count.answered, f.ledger.count.deletions, len(f.boxes), open)
}

// openable counts the mailboxes that can be read now. A login writes down
// who has the maildrop, so that it may fail while no byte is free.
func (f *flood) openable(s *server) int {
	n := 0
	for _, box := range f.boxes {
		if c, err := dialPOP(s.pop, box); err == nil {
			n++
			c.Conn.Close()
		}
	}
	return n
}

func (f *flood) free(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// pour sends mail over a few connections until each was refused often, while
// meanwhile runs.
func (f *flood) pour(t *testing.T, s *server, when string, meanwhile func(context.Context)) {
	t.Helper()
	const enough = 10
	ctx, cancel := context.WithTimeout(context.Background(), trial.Patience)
	defer cancel()
	before := f.ledger.count.answered
	f.refused = map[int]int{}
	var group sync.WaitGroup
	for range 4 {
		k := f.maker(sizes{medium: 60, large: 5})
		group.Go(func() {
			for n := 0; n < enough; {
				if ctx.Err() != nil {
					t.Errorf("%s: mail is still accepted", when)
					return
				}
				if code := f.try(t, s, k.next()); code != 250 {
					n++
				}
			}
		})
	}
	meanwhile(ctx)
	group.Wait()
	t.Logf("%s: %d messages accepted, then refused with %v", when,
		f.ledger.count.answered-before, f.refused)
	for code := range f.refused {
		if code != 452 && code != 431 {
			t.Errorf("%s: refused with %d, want 452 or 431", when, code)
		}
	}
}

// try sends one message over a connection of its own and returns the code
// that decided.
func (f *flood) try(t *testing.T, s *server, m *message) int {
	t.Helper()
	code, err := sendOne(s.smtp, f.ledger, m)
	if err != nil {
		t.Errorf("%s: %v", m.id, err)
	}
	if code == 250 {
		return code
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused[code]++
	return code
}

// drain deletes most messages, so that there is room in the mailboxes; the
// disk gets it back later.
func (f *flood) drain(t *testing.T, s *server) {
	t.Helper()
	for _, box := range f.boxes {
		known, err := f.ledger.identify(s.pop, box)
		if err == nil {
			err = f.ledger.remove(s.pop, box, known, func(n int) []int {
				return f.rand.Perm(n)[:n*9/10]
			})
		}
		if err != nil {
			t.Errorf("deletions on a full disk: %v", err)
		}
	}
}

// again sends small messages until one is accepted: there is room.
func (f *flood) again(t *testing.T, s *server) {
	t.Helper()
	k := f.maker(sizes{})
	for deadline := time.Now().Add(10 * time.Second); ; {
		if f.try(t, s, k.next()) == 250 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("mail is refused though there is room: %v", f.refused)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
