package proof

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postrider/internal/datadir"
	"postrider/internal/engine"
	"postrider/internal/mail"
	"postrider/internal/store"
)

// TestPowerCut records a run and cuts the power at its flushes: just before
// one returns, and just after. Of what was not flushed then, nothing is left,
// or a random part, torn between sectors. The store is opened on what is
// left, and must hold what was confirmed by then.
func TestPowerCut(t *testing.T) {
	r := chance(t)
	g := recordCuts(t, r)
	points := g.points(r, number(t, "PROOF_CUTS", 40))
	began := time.Now()
	o := g.cuts(t, r, points, nil)
	say(t, "power cut: flushes=%d cuts=%d answered_250=%d deletions_ok=%d places_proved=%d "+
		"deletions_proved=%d wrong=%d took=%v", o.flushes, o.cuts, g.ledger.count.answered,
		g.ledger.count.deletions, o.proved, o.gone, len(o.wrong),
		time.Since(began).Round(time.Second))
	for _, err := range o.wrong {
		t.Error(err)
	}
	if g.ledger.count.deletions == 0 || o.proved == 0 || o.gone == 0 {
		t.Error("the recording proves too little")
	}
	g.mustFail(t, r, points)
}

// mustFail takes flushes away, kind by kind: each time the same cuts have to
// find something.
func (g *recording) mustFail(t *testing.T, r *rand.Rand, points []int) {
	t.Helper()
	var few []int // over the whole run
	for i := 0; i < len(points); i += 1 + len(points)/25 {
		few = append(few, points[i])
	}
	for _, c := range []struct {
		name  string
		blind func(path string) bool
	}{
		{"volumes", func(path string) bool { return strings.HasSuffix(path, ".vol") }},
		{"database", func(path string) bool { return strings.Contains(path, "/postrider.db") }},
		{"names", func(path string) bool { return strings.HasSuffix(path, "/") }},
	} {
		o := g.cuts(t, r, few, c.blind)
		say(t, "power cut without the flushes of %s: cuts=%d wrong=%d", c.name, o.cuts,
			len(o.wrong))
		if len(o.wrong) == 0 {
			t.Errorf("without the flushes of %s nothing wrong was found", c.name)
		}
	}
}

func recordCuts(t *testing.T, r *rand.Rand) *recording {
	t.Helper()
	// The database is put in order every five seconds: wait for that, too.
	return record(t, r, plan{messages: 40, conns: 5, remove: true, late: true,
		linger: 6 * time.Second,
		sizes:  sizes{medium: 10, large: 2}})
}

// points chooses steps to cut the power at, most of them at flushes under
// load, in order.
func (g *recording) points(r *rand.Rand, n int) []int {
	var flushes []int
	for i, s := range g.steps {
		if s.done && strings.HasSuffix(s.call.name, "sync") && s.call.file != nil &&
			strings.HasPrefix(s.call.file.path, g.root) {
			flushes = append(flushes, i, i+1) // before it returns, and after
		}
	}
	r.Shuffle(len(flushes), func(i, j int) { flushes[i], flushes[j] = flushes[j], flushes[i] })
	points := flushes[:min(n, len(flushes))]
	slices.Sort(points)
	return slices.Compact(points)
}

// An outcome is what the cuts of one recording showed.
type outcome struct {
	flushes, cuts int
	proved        int // confirmed messages that were found, over all cuts
	gone          int // confirmed deletions that were not found, over all cuts
	wrong         []error
}

// cuts cuts the power at each point, twice, and looks at what is left.
func (g *recording) cuts(t *testing.T, r *rand.Rand, points []int,
	blind func(path string) bool) *outcome {
	t.Helper()
	d := newDisk(t, g.before, g.root)
	d.blind = blind
	o := &outcome{}
	next := 0
	for i := 0; i <= len(g.steps) && next < len(points); i++ {
		if points[next] == i {
			for _, r := range []*rand.Rand{nil, r} {
				g.cut(t, d, i, r, o)
			}
			next++
		}
		if i < len(g.steps) {
			d.play(g.steps[i])
		}
	}
	o.flushes = d.flushed
	return o
}

// cut makes the directory as it would be, opens the store on it, and adds
// what it sees to the outcome.
func (g *recording) cut(t *testing.T, d *disk, at int, r *rand.Rand, o *outcome) {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "cut")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	d.cut(t, dir, r)
	o.cuts++
	wrong := func(format string, args ...any) {
		o.wrong = append(o.wrong, fmt.Errorf("cut at step %d, random part %t: %w", at, r != nil,
			fmt.Errorf(format, args...)))
	}
	found, problems, err := g.look(dir)
	if err != nil {
		wrong("%w", err)
		return
	}
	for _, p := range problems {
		wrong("check: %s: %s", p.Where, p.What)
	}
	g.judge(at, found, o, wrong)
}

// look opens the store and lists each mailbox: how often each id is there.
func (g *recording) look(path string) (map[place]int, []store.Problem, error) {
	ctx := context.Background()
	dir, err := datadir.Open(path)
	if err != nil {
		return nil, nil, err
	}
	e, err := engine.Open(ctx, engine.Config{Dir: dir, Quiet: true})
	if err != nil {
		return nil, nil, fmt.Errorf("the store does not open: %w", err)
	}
	defer e.Close()
	found := map[place]int{}
	for _, box := range append(g.boxes[:len(g.boxes):len(g.boxes)], g.late) {
		err := g.list(ctx, e.Store, box, found)
		if box == g.late && mail.KindOf(err) == mail.NotFound {
			continue // then its messages are missed, if they were answered
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", box, err)
		}
	}
	problems, err := e.Store.Check(ctx, false, nil)
	for _, p := range e.Problems {
		problems = append(problems, store.Problem{What: p.What, Where: p.Where})
	}
	return found, problems, err
}

// list adds the messages of one mailbox.
func (g *recording) list(ctx context.Context, s store.Store, box string,
	found map[place]int) error {
	local, domain, _ := strings.Cut(box, "@")
	a, err := s.Account(ctx, mail.Address{Local: local, Domain: domain})
	if err != nil {
		return err
	}
	after := mail.UID(0)
	for {
		page, err := s.Entries(ctx, a.ID, store.Inbox, after, 500)
		if err != nil || len(page) == 0 {
			return err
		}
		var ids []mail.EmailID
		for _, e := range page {
			ids, after = append(ids, e.Email), e.UID
		}
		emails, err := s.Emails(ctx, a.ID, ids, false)
		if err != nil {
			return err
		}
		for _, e := range emails {
			if e == nil {
				return fmt.Errorf("an entry has no message")
			}
			id, err := g.identify(s, e)
			if err != nil {
				return err
			}
			found[place{box, id}]++
		}
	}
}

// identify reads a message and compares its bytes.
func (g *recording) identify(s store.Store, e *store.Email) (string, error) {
	r, err := s.OpenEmail(e)
	if err != nil {
		return "", err
	}
	defer r.Close()
	text := make([]byte, e.Size)
	if n, err := r.ReadAt(text, 0); int64(n) < e.Size {
		return "", fmt.Errorf("%d of %d bytes: %w", n, e.Size, errorOr(err, io.ErrUnexpectedEOF))
	}
	return g.ledger.recognize(bytes.Clone(text))
}

func errorOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// judge compares what was found after a cut with what had been confirmed by
// then.
func (g *recording) judge(at int, found map[place]int, o *outcome,
	wrong func(format string, args ...any)) {
	for p, n := range found {
		if n > 1 {
			wrong("%s is in %s %d times", p.id, p.box, n)
		}
	}
	for _, m := range g.ledger.messages {
		for _, box := range m.to {
			p := place{box, m.id}
			replied, heard := g.replies[m.receipt]
			port, removed := g.ledger.removed[p]
			quit := g.popped[port]
			switch {
			case removed && quit.last < at:
				if o.gone++; found[p] > 0 {
					wrong("%s is in %s again: its deletion was answered +OK", m.id, box)
				}
			case removed && quit.opened < at:
				// Being deleted: it may be there or not.
			case m.receipt != "" && heard && replied < at:
				if o.proved++; found[p] == 0 {
					wrong("%s is not in %s: it was answered 250", m.id, box)
				}
			}
		}
	}
}

// TestPowerCutTwice cuts the power, starts the server on what is left, and
// cuts it again: recovery itself must survive it.
func TestPowerCutTwice(t *testing.T) {
	r := chance(t)
	g := record(t, r, plan{messages: 20, conns: 4, kill: true, sizes: sizes{medium: 10, large: 2}})
	first := *g
	d := newDisk(t, g.before, g.root)
	for _, s := range g.steps {
		d.play(s)
	}
	// Go on from what the cut has left; the first run's messages stay due.
	place := t.TempDir()
	again := &recording{root: filepath.Join(place, "data"), before: filepath.Join(place, "before"),
		ledger: newLedger(), boxes: first.boxes}
	d.cut(t, again.root, r)
	again.run(t, r, plan{name: "again-", messages: 5, conns: 2, kill: true})
	for id, m := range first.ledger.messages {
		again.ledger.messages[id] = m
		again.replies[m.receipt] = -1
	}
	points := again.points(r, number(t, "PROOF_CUTS", 40)/2)
	o := again.cuts(t, r, points, nil)
	say(t, "power cut, twice: cuts=%d places_proved=%d wrong=%d", o.cuts, o.proved, len(o.wrong))
	for _, err := range o.wrong {
		t.Error(err)
	}
}
