package proof

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"postrider/internal/trial"
)

// everybody is how many mailboxes each message goes to: more than one step of a
// delivery takes, and more than two.
const everybody = 300

// TestKillLongLists kills the server while messages for very many mailboxes
// are delivered, between the steps of a delivery too. What was confirmed must
// be in every mailbox once, as soon as the server is there again.
func TestKillLongLists(t *testing.T) {
	kills := max(1, number(t, "PROOF_KILLS", 10)/2)
	r := chance(t)
	dir := filepath.Join(t.TempDir(), "data")
	s := start(t, dir, launch{})
	// Only some can log in: a password costs its time at every login.
	all := manyAccounts(t, dir)
	var read []string
	for _, i := range []int{0, 1, 127, 128, 129, 255, 256, everybody - 1, r.IntN(everybody), r.IntN(everybody)} {
		read = append(read, all[i])
	}
	for _, box := range read {
		must(t, dir, trial.Password+"\n", "account", "password", box, "--password-file", "-")
	}
	l := newLedger()
	for round := range kills {
		ctx, cancel := context.WithCancel(context.Background())
		var group sync.WaitGroup
		for i := range 3 {
			k := &maker{name: fmt.Sprintf("l%d-c%d", round, i), boxes: all, all: true,
				rand: rand.New(rand.NewPCG(r.Uint64(), 0))}
			group.Go(func() { load(ctx, s.smtp, l, k, i, nil) })
		}
		time.Sleep(time.Duration(50+r.IntN(500)) * time.Millisecond)
		s.Kill()
		cancel()
		group.Wait()
		s = start(t, dir, launch{})
		known := map[string]memory{}
		for _, box := range read {
			known[box] = memory{}
		}
		inspectAll(t, s, l, known)
		if t.Failed() {
			t.Fatalf("stopped after %d kills; the data is as it was found", round+1)
		}
	}
	sound(t, dir)
	s.stop(t)
	sound(t, dir)
	c := &l.count
	say(t, "lists: kills=%d mailboxes=%d sent=%d answered_250=%d refused=%d unheard=%d", kills, everybody,
		c.sent, c.answered, c.refused, c.unheard)
	if c.answered == 0 {
		t.Error("the load did nothing")
	}
	if c.refused > 0 {
		t.Errorf("%d messages were refused: %q", c.refused, l.refusals)
	}
}

// manyAccounts makes accounts without passwords in dir, where a server runs.
func manyAccounts(t *testing.T, dir string) (boxes []string) {
	t.Helper()
	table := "UserName\n"
	for i := range everybody {
		name := fmt.Sprintf("crowd%03d", i)
		table += name + "\n"
		boxes = append(boxes, name+"@localhost")
	}
	must(t, dir, table, "account", "import", "-")
	return boxes
}
