package proof

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestFaults lets calls of the running server fail, in the kernel's place. A
// message whose flush failed is refused for the time being; all that was
// confirmed was flushed before, and is there after the next start.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name, inject string
		ends         bool // the server ends itself, and recovers at its next start
	}{
		{"flush of a volume", "fdatasync:error=EIO:when=12+9", false},
		{"write without room", "pwrite64:error=ENOSPC:when=150+97", false},
		{"write that fails", "pwrite64:error=EIO:when=150+97", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := prepare(t)
			g.save(t)
			g.ledger.doubtful = c.ends
			out := filepath.Join(t.TempDir(), "trace")
			s := start(t, g.root, straced(t, out, "-e", "inject="+c.inject))
			f := g.suffer(t, chance(t), s, false)
			if f.lives {
				killTraced(t, g.root)
				<-s.Ended
			}
			g.steps = readTrace(t, out)
			g.index()
			for _, err := range g.order(t, nil) {
				t.Error(err)
			}
			o := g.cuts(t, chance(t), g.points(chance(t), number(t, "PROOF_CUTS", 40)/4), nil)
			for _, err := range o.wrong {
				t.Error(err)
			}
			say(t, "fault, %s, then a power cut: cuts=%d places_proved=%d wrong=%d", c.name,
				o.cuts, o.proved, len(o.wrong))
			g.recovered(t, c.name, f, c.ends)
		})
	}
}

// TestDatabaseFault lets the flushes of a running server's database fail,
// which needs a deletion or something else that is durable only there.
func TestDatabaseFault(t *testing.T) {
	g := prepare(t)
	s := start(t, g.root, launch{})
	first := &maker{name: "first", boxes: g.boxes, rand: chance(t), limit: 30}
	if err := load(context.Background(), s.smtp, g.ledger, first, 0, nil); err != nil {
		t.Fatal(err)
	}
	g.ledger.doubtful = true
	attach(t, s, "-e", "trace=fsync", "-e", "inject=fsync:error=EIO")
	f := g.suffer(t, chance(t), s, true)
	if f.lives {
		t.Error("the server goes on though its database cannot be flushed")
		s.Kill()
	}
	g.recovered(t, "flush of the database", f, true)
}

// attach has strace trace a server that runs already.
func attach(t *testing.T, s *server, args ...string) {
	t.Helper()
	straced(t, os.DevNull) // skips without strace
	cmd := exec.Command("strace", append([]string{"-f", "-o", os.DevNull, "-p",
		strconv.Itoa(s.Cmd.Process.Pid)}, args...)...)
	said, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		cmd.Wait()
	})
	r := bufio.NewReader(said)
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "attached") {
		t.Skipf("strace may not attach here: %s", line)
	}
	go io.Copy(io.Discard, r)
}

// A fault is what came of a load while calls failed.
type fault struct {
	codes map[int]int // how often each was heard; 0: none was
	lives bool        // the server still ran at the end
}

// suffer runs a load on a server whose calls fail.
func (g *recording) suffer(t *testing.T, r *rand.Rand, s *server, remove bool) *fault {
	t.Helper()
	f := &fault{codes: map[int]int{}}
	var mu sync.Mutex
	var group sync.WaitGroup
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	for i := range 4 {
		k := &maker{name: "f" + string(rune('a'+i)), boxes: g.boxes,
			sizes: sizes{medium: 10, large: 2}, rand: rand.New(rand.NewPCG(r.Uint64(), 0))}
		group.Go(func() {
			for range 60 {
				code, err := sendOne(s.smtp, g.ledger, k.next())
				mu.Lock()
				f.codes[code]++
				mu.Unlock()
				if err != nil || ctx.Err() != nil {
					return
				}
			}
		})
	}
	if remove {
		known, err := g.ledger.identify(s.pop, g.boxes[0])
		if err != nil {
			t.Error(err)
		}
		some := func(n int) []int { return r.Perm(n)[:min(n, 3)] }
		if g.ledger.remove(s.pop, g.boxes[0], known, some) == nil {
			t.Error("a deletion was confirmed though no flush succeeds")
		}
	}
	group.Wait()
	select {
	case <-s.Ended:
	case <-time.After(500 * time.Millisecond):
		f.lives = true
	}
	return f
}

// recovered starts the server again, and proves that nothing is lost.
func (g *recording) recovered(t *testing.T, name string, f *fault, ends bool) {
	t.Helper()
	say(t, "fault, %s: answered=%v still_running=%t", name, f.codes, f.lives)
	if !f.lives && !ends {
		t.Error("the server has ended")
	}
	for code := range f.codes {
		if code != 250 && code/100 != 4 && code != 0 {
			t.Errorf("a message was answered %d, want 250 or 4xx", code)
		}
	}
	s := start(t, g.root, launch{})
	known := map[string]memory{}
	for _, box := range g.boxes {
		known[box] = memory{}
	}
	inspectAll(t, s, g.ledger, known)
	sound(t, g.root)
}

// sendOne sends a message over a connection of its own and returns the code
// that decided; the error tells that none was heard, and the code is 0.
func sendOne(address string, l *ledger, m *message) (int, error) {
	c, err := dialSMTP(address, l)
	if err == nil {
		defer c.conn.Close()
		err = c.data([]*message{m})
	}
	if no, ok := errors.AsType[*refusal](err); ok {
		return no.code, nil
	}
	return m.code, err
}
