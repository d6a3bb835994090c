package proof

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestOrder proves that no reply to a message leaves before the flush of
// every file that holds it has returned: its body, and the record with what
// its rows need.
func TestOrder(t *testing.T) {
	g := recordOrder(t, chance(t), "")
	wrong := g.order(t, nil)
	for _, w := range wrong {
		t.Error(w)
	}
	flushes := 0
	for _, s := range g.steps {
		if s.done && strings.HasSuffix(s.call.name, "sync") {
			flushes++
		}
	}
	say(t, "order: answered_250=%d flushes=%d early=%d", g.ledger.count.answered, flushes,
		len(wrong))
	if g.ledger.count.answered < 200 {
		t.Errorf("%d messages were answered 250, want 200", g.ledger.count.answered)
	}
	// A checker that cannot fail proves nothing.
	blind := g.order(t, func(path string) bool { return strings.HasSuffix(path, ".vol") })
	if len(blind) < g.ledger.count.answered/2 {
		t.Errorf("without the flushes of volumes %d messages are found early, want nearly all",
			len(blind))
	}
}

// TestOrderCanFail takes one flush in ten away from the running server, in
// the kernel's place, and wants the same checker to see it.
func TestOrderCanFail(t *testing.T) {
	g := recordOrder(t, chance(t), "fdatasync:retval=0:when=10+10")
	wrong := g.order(t, nil)
	say(t, "order, every tenth flush taken away: answered_250=%d early=%d",
		g.ledger.count.answered, len(wrong))
	if len(wrong) == 0 {
		t.Error("flushes were taken away, and no reply was found early")
	}
}

func recordOrder(t *testing.T, r *rand.Rand, inject string) *recording {
	t.Helper()
	return record(t, r, plan{messages: 35, conns: 6, inject: inject,
		sizes: sizes{medium: 10, large: 1}})
}

// order returns the messages whose reply was early.
func (g *recording) order(t *testing.T, blind func(path string) bool) []error {
	t.Helper()
	d := newDisk(t, g.before, g.root)
	d.blind = blind
	due := map[int][]*message{}
	var wrong []error
	for _, m := range g.ledger.messages {
		at, ok := g.replies[m.receipt]
		switch {
		case m.receipt == "":
		case !ok:
			wrong = append(wrong, fmt.Errorf("%s: the reply is not in the trace", m.id))
		default:
			due[at] = append(due[at], m)
		}
	}
	for i, s := range g.steps {
		for _, m := range due[i] {
			if err := g.early(d, m); err != nil {
				wrong = append(wrong, err)
			}
		}
		d.play(s)
	}
	return wrong
}

// early says what of a message is not durable now.
func (g *recording) early(d *disk, m *message) error {
	body, record := false, false
	for _, e := range g.places[m.id] {
		f := d.files[e.file]
		if f == nil {
			return fmt.Errorf("%s: %s is not known", m.id, e.file.path)
		}
		bytes, name := d.durable(f, e.at, e.size)
		switch {
		case !bytes:
			return fmt.Errorf("%s: 250 before the flush of %s at %d", m.id, e.file.path, e.at)
		case !name:
			return fmt.Errorf("%s: 250 before the flush of the directory of %s", m.id, e.file.path)
		}
		body = body || e.size == m.exact && f.size >= e.at+e.size
		record = record || e.size == int64(len(m.receipt))
	}
	if !body || !record {
		return fmt.Errorf("%s: 250, but body written: %t, its record: %t", m.id, body, record)
	}
	return nil
}
