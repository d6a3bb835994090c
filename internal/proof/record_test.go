package proof

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postrider/internal/trial"
)

// A recording is a run of the server under strace: what was there before,
// every step, and what the clients heard.
type recording struct {
	before  string // a copy of the data directory
	root    string // the data directory in the trace
	steps   []step
	ledger  *ledger
	boxes   []string
	late    string         // a mailbox that came later, if one did
	replies map[string]int // step of the reply, by receipt
	places  map[string][]extent
	popped  map[int]session // by the client's port
}

// An extent is where some bytes of a message were written.
type extent struct {
	file     *opened
	at, size int64
}

// A session is a POP3 connection: the steps of its beginning and of the last
// line that the server wrote.
type session struct{ opened, last int }

// A plan says what a recording sees.
type plan struct {
	name     string // begins the ids of its messages
	messages int    // per connection
	conns    int
	sizes    sizes
	remove   bool          // with POP3 sessions that delete
	late     bool          // with an account that is made meanwhile, and mail for it
	linger   time.Duration // before the end, for what happens in the background
	kill     bool          // end with SIGKILL, so that nothing is put in order
	inject   string        // for strace --inject; empty for none
}

// record makes a directory with accounts and runs the plan on it.
func record(t *testing.T, r *rand.Rand, p plan) *recording {
	t.Helper()
	g := prepare(t)
	g.run(t, r, p)
	return g
}

// prepare makes a directory with accounts. No server runs afterwards.
func prepare(t *testing.T) *recording {
	t.Helper()
	place := t.TempDir()
	g := &recording{root: filepath.Join(place, "data"), before: filepath.Join(place, "before"),
		ledger: newLedger()}
	s := start(t, g.root, launch{})
	g.boxes = accounts(t, g.root, 4)
	s.stop(t)
	divide(t, g.root, g.boxes)
	return g
}

// run records the plan on the directory as it is.
func (g *recording) run(t *testing.T, r *rand.Rand, p plan) {
	t.Helper()
	g.save(t)
	out := filepath.Join(t.TempDir(), "trace")
	var more []string
	if p.inject != "" {
		more = append(more, "-e", "inject="+p.inject)
	}
	s := start(t, g.root, straced(t, out, more...))
	g.traffic(t, r, p, s)
	time.Sleep(p.linger)
	if p.kill {
		killTraced(t, g.root)
		<-s.Ended
	} else {
		s.stop(t)
	}
	g.steps = readTrace(t, out)
	g.index()
}

// save keeps the directory as it is before the server starts.
func (g *recording) save(t *testing.T) {
	t.Helper()
	if err := os.CopyFS(g.before, os.DirFS(g.root)); err != nil {
		t.Fatal(err)
	}
}

// traffic sends messages over some connections, and deletes some.
func (g *recording) traffic(t *testing.T, r *rand.Rand, p plan, s *server) {
	t.Helper()
	var senders sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	for i := range p.conns {
		k := &maker{name: p.name + "c" + string(rune('a'+i)), boxes: g.boxes, sizes: p.sizes,
			rand: rand.New(rand.NewPCG(r.Uint64(), 0)), limit: p.messages}
		senders.Go(func() {
			if err := load(ctx, s.smtp, g.ledger, k, i, nil); err != nil {
				t.Error(err)
			}
		})
	}
	var readers sync.WaitGroup
	if p.remove {
		readers.Go(func() { g.remove(ctx, t, rand.New(rand.NewPCG(r.Uint64(), 0)), s) })
	}
	if p.late {
		g.newcomer(t, r, s)
	}
	senders.Wait()
	cancel()
	readers.Wait()
}

// newcomer makes an account and sends it mail, so that who made it has heard
// that it is there before the first message was answered.
func (g *recording) newcomer(t *testing.T, r *rand.Rand, s *server) {
	t.Helper()
	const box = "late@localhost"
	must(t, g.root, trial.Password+"\n", "account", "add", box, "--password-file", "-")
	k := &maker{name: "late", boxes: []string{box}, limit: 5,
		rand: rand.New(rand.NewPCG(r.Uint64(), 0))}
	if err := load(context.Background(), s.smtp, g.ledger, k, 0, nil); err != nil {
		t.Error(err)
	}
	g.late = box
}

// remove reads mailboxes, one after the other, and deletes a few messages of
// each.
func (g *recording) remove(ctx context.Context, t *testing.T, r *rand.Rand, s *server) {
	for i := 0; ctx.Err() == nil; i++ {
		box := g.boxes[i%len(g.boxes)]
		known, err := g.ledger.identify(s.pop, box)
		if err == nil {
			err = g.ledger.remove(s.pop, box, known, func(n int) []int {
				return r.Perm(n)[:min(n, 1+n/10)]
			})
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
}

// killTraced ends a traced server: strace itself would let it live.
func killTraced(t *testing.T, dir string) {
	t.Helper()
	pid := strings.TrimSpace(read(t, filepath.Join(dir, "postrider.lock")))
	kill(t, pid)
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// index finds in the trace what concerns the messages.
func (g *recording) index() {
	g.replies, g.places, g.popped = map[string]int{}, map[string][]extent{}, map[int]session{}
	receipts := map[string]*message{}
	for _, m := range g.ledger.messages {
		if m.receipt != "" {
			receipts[m.receipt] = m
		}
	}
	before := map[*opened][]byte{} // the end of what was written to a connection
	for i, s := range g.steps {
		c := s.call
		if c.file == nil {
			continue
		}
		if c.file.port > 0 {
			p := g.popped[c.file.port]
			if p.opened == 0 {
				p.opened = i
			}
			if c.writes() && !s.done {
				p.last = i
				text := append(before[c.file], c.data()...)
				g.heard(text, i)
				before[c.file] = bytes.Clone(text[max(len(text)-200, 0):])
			}
			g.popped[c.file.port] = p
		}
		if c.name == "pwrite64" && !s.done && strings.HasSuffix(c.file.path, ".vol") {
			g.written(c, receipts)
		}
	}
}

// heard notes the receipts in what is written to a connection at a step.
func (g *recording) heard(text []byte, at int) {
	for {
		_, rest, ok := bytes.Cut(text, []byte(receiptText))
		receipt, after, whole := bytes.Cut(rest, []byte("\r\n"))
		if !ok || !whole {
			return
		}
		if _, known := g.replies[string(receipt)]; !known {
			g.replies[string(receipt)] = at
		}
		text = after
	}
}

// written notes where messages lie, as a write to a volume shows it: the
// message itself, and what the server's id of it stands in (its prefix).
func (g *recording) written(c *call, receipts map[string]*message) {
	data, base := c.data(), c.numbers[2]
	for at := 0; ; {
		i := bytes.Index(data[at:], []byte(idField))
		if i < 0 {
			break
		}
		at += i
		id, _, _ := bytes.Cut(data[at+len(idField):], []byte("\r\n"))
		if m := g.ledger.messages[string(id)]; m != nil {
			g.places[m.id] = append(g.places[m.id], extent{c.file, base + int64(at), m.exact})
		}
		at += len(idField)
	}
	for receipt, m := range receipts {
		if i := bytes.Index(data, []byte(receipt)); i >= 0 {
			g.places[m.id] = append(g.places[m.id],
				extent{c.file, base + int64(i), int64(len(receipt))})
		}
	}
}
