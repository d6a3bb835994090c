package volume

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"postrider/internal/blob"
	"postrider/internal/blob/blobtest"
	"postrider/internal/blob/vfs"
)

// everyEvent makes TestPowerCut thorough instead of quick.
var everyEvent = flag.Bool("every", false, "cut the power after every event, with three seeds")

// A confirmation is a record whose batch was confirmed: at the mark it must
// survive.
type confirmation struct {
	mark  int
	batch uint64
	sum   uint32
	size  int64
}

// A workload writes batches onto a recorder and remembers what it was told.
type workload struct {
	t         *testing.T
	rec       *vfs.Recorder
	root      string
	rand      *rand.Rand
	s         *Store
	batch     uint64
	confirmed map[string]confirmation // by meta
	refused   map[string]bool
	locs      []blob.Location
	failures  int
	settled   []settled
}

// A settled batch was told to the store at a mark.
type settled struct {
	mark  int
	batch uint64
}

func newWorkload(t *testing.T, seed uint64) *workload {
	return &workload{t: t, rec: vfs.NewRecorder(vfs.NewMemory(nil)), root: "/volumes",
		rand:      rand.New(rand.NewPCG(seed, 1)),
		confirmed: map[string]confirmation{}, refused: map[string]bool{}}
}

func config(root string, fs vfs.FS) Config {
	return Config{Dirs: []string{filepath.Join(root, "new", "a"), filepath.Join(root, "b")},
		Size: 60_000, FS: fs}
}

func (w *workload) open() {
	w.t.Helper()
	s, err := Open(config(w.root, w.rec))
	if err != nil {
		w.t.Fatal(err)
	}
	w.s = s
}

// run makes n batches, with all that goes on beside them.
func (w *workload) run(n int) {
	for range n {
		w.oneBatch()
		switch w.rand.IntN(8) {
		case 0:
			w.settled = append(w.settled, settled{w.rec.Mark(), w.batch - 1})
			w.s.Settled(w.batch - 1)
			for _, g := range w.s.groups { // do not wait for 4 MB
				g.mu.Lock()
				if len(g.chain) > 0 {
					g.chain[0].settle(w.batch-1, 1)
				}
				g.mu.Unlock()
			}
		case 1:
			w.rejected()
		case 2, 3:
			w.compact()
		}
		w.s.work.Wait() // so that a seed always does the same
	}
}

// draft may fail, when errors are injected.
func (w *workload) draft(group int, body []byte) (blob.Draft, error) {
	d, err := w.s.NewDraft(w.t.Context(), group)
	if err != nil {
		return nil, err
	}
	if _, err = d.Write(body); err == nil {
		err = d.Finish(w.t.Context())
	}
	if err != nil {
		d.Discard()
		w.failures++
		return nil, err
	}
	return d, nil
}

// rejected is a large body that no batch gets.
func (w *workload) rejected() {
	if d, err := w.draft(w.rand.IntN(2), blobtest.Body(70_000, w.batch)); err == nil {
		d.Discard()
	}
}

func (w *workload) oneBatch() {
	w.batch++
	b := w.s.Begin(w.batch, w.batch-1)
	added := map[string]confirmation{}
	var drafts []blob.Draft
	var locs []blob.Location
	for i := range 1 + w.rand.IntN(4) {
		n := []int{w.rand.IntN(3000), 20_000, 66_000 + w.rand.IntN(9000), 0}[w.rand.IntN(4)]
		make := blobtest.Body
		if w.rand.IntN(2) == 0 {
			make = blobtest.Text // is packed when it is moved
		}
		d, err := w.draft(w.rand.IntN(2), make(n, w.batch+uint64(i)))
		if err != nil {
			continue
		}
		drafts = append(drafts, d)
		meta := fmt.Sprintf("%d.%d %s", w.batch, i, strings.Repeat("m", w.rand.IntN(100)))
		loc, err := b.Add(d.(*draft).group, d, []byte(meta))
		if err != nil {
			w.failures++
			continue
		}
		locs = append(locs, loc)
		added[meta] = confirmation{batch: w.batch, sum: loc.Sum, size: loc.Size}
	}
	err := b.Sync()
	mark := w.rec.Mark()
	for meta, c := range added {
		if err != nil {
			w.refused[meta] = true
			continue
		}
		c.mark = mark
		w.confirmed[meta] = c
	}
	if err == nil {
		w.locs = append(w.locs, locs...)
	} else {
		w.failures++
	}
	for _, d := range drafts {
		d.Discard()
	}
}

// compact empties a sealed volume and removes it.
func (w *workload) compact() {
	var sealed []int64
	for _, v := range w.s.Volumes() {
		if v.Sealed {
			sealed = append(sealed, v.Number)
		}
	}
	if len(sealed) == 0 {
		return
	}
	number := sealed[w.rand.IntN(len(sealed))]
	for i, loc := range w.locs {
		if loc.Volume != number {
			continue
		}
		to, err := w.s.Move(w.t.Context(), loc)
		if err != nil {
			w.failures++
			return
		}
		w.locs[i] = to
	}
	if err := w.s.Remove(w.t.Context(), number); err != nil {
		w.failures++
	}
}

// check opens what a power cut at a mark left, and says what is missing.
func (w *workload) check(at int, keep vfs.Keep, what string) (missing []string) {
	w.t.Helper()
	disk := map[string][]byte{}
	files, _ := w.rec.Left(at, keep, w.root)
	for path, data := range files {
		disk[filepath.Join(w.root, path)] = data
	}
	c := config(w.root, vfs.NewMemory(disk))
	over := false
	damage := func(volume, offset int64, text string) {
		if over {
			return // what was the last batch is not any more
		}
		w.t.Errorf("%s: damage in volume %d at %d: %s", what, volume, offset, text)
	}
	if w.failures == 0 && w.rec.Fail == nil {
		c.Damage = damage
	}
	s, err := Open(c)
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
	defer s.Close()
	missing = w.compare(s, at, what)
	w.compareTail(s, at, what)

	over = true
	// What goes on from here must not harm what is there.
	d := blobtest.Draft(w.t, s, 0, blobtest.Body(3000, 1))
	large := blobtest.Draft(w.t, s, 0, blobtest.Body(70_000, 1))
	b := s.Begin(w.batch+1, w.batch)
	for _, d := range []blob.Draft{d, large} {
		if _, err := b.Add(0, d, []byte("after the cut")); err != nil {
			w.t.Fatalf("%s: %v", what, err)
		}
	}
	if err := b.Sync(); err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
	if again := w.compare(s, at, what); len(again) != len(missing) {
		w.t.Errorf("%s: after another batch got %q missing, want %q", what, again, missing)
	}
	return missing
}

// compare says which confirmed records a store lacks, and fails the test for
// those that should not be there.
func (w *workload) compare(s *Store, at int, what string) (missing []string) {
	w.t.Helper()
	got := map[string]int{}
	err := s.Records(w.t.Context(), 0, func(r blob.Record) error {
		meta := string(r.Meta)
		got[meta]++
		if w.refused[meta] && got[meta] == 1 {
			w.t.Errorf("%s: refused record %q is there", what, meta)
		}
		c, ok := w.confirmed[meta]
		if ok && (r.Body.Size != c.size || r.Body.Sum != c.sum || r.Batch != c.batch) {
			w.t.Errorf("%s: record %q: got %+v, want %+v", what, meta, r, c)
		}
		if err := s.Verify(w.t.Context(), r.Body); err != nil {
			w.t.Errorf("%s: record %q: %v", what, meta, err)
		}
		return nil
	})
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
	for meta, c := range w.confirmed {
		if n := got[meta]; c.mark <= at && n == 0 {
			missing = append(missing, meta)
		} else if n > 1 {
			w.t.Errorf("%s: record %q is there %d times", what, meta, n)
		}
	}
	return missing
}

// compareTail does what a start does: it reads what is above a batch that
// had been settled.
func (w *workload) compareTail(s *Store, at int, what string) {
	w.t.Helper()
	var after uint64
	for _, s := range w.settled {
		if s.mark <= at {
			after = s.batch
		}
	}
	got := map[string]bool{}
	err := s.Records(w.t.Context(), after, func(r blob.Record) error {
		got[string(r.Meta)] = true
		if r.Batch <= after {
			w.t.Errorf("%s: record %q of batch %d, want above %d", what, r.Meta, r.Batch, after)
		}
		return nil
	})
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
	all := map[string]bool{}
	_ = s.Records(w.t.Context(), 0, func(r blob.Record) error {
		all[string(r.Meta)] = r.Batch > after
		return nil
	})
	for meta, above := range all {
		if above && !got[meta] {
			w.t.Errorf("%s: record %q is not above %d", what, meta, after)
		}
	}
}

func TestPowerCut(t *testing.T) {
	seeds, step := uint64(1), 8
	if *everyEvent {
		seeds, step = 3, 1
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { cutEverywhere(t, seed, step) })
	}
}

// cutEverywhere cuts the power of a workload at steps of up to step events.
func cutEverywhere(t *testing.T, seed uint64, step int) {
	w := newWorkload(t, seed)
	w.open()
	w.run(32)
	if err := w.s.Close(); err != nil {
		t.Fatal(err)
	}
	w.open() // goes on where it was
	w.run(16)
	defer w.s.Close()
	packed, plain := w.moved()
	if packed < 3 || plain < 3 {
		t.Errorf("got %d packed and %d plain bodies in moved files, want some", packed, plain)
	}
	some := vfs.KeepSome(rand.New(rand.NewPCG(seed, 2)))
	cuts := 0
	for at := 0; at <= w.rec.Mark(); at += 1 + w.rand.IntN(step) {
		for name, keep := range map[string]vfs.Keep{
			"nothing": vfs.KeepNone, "everything": vfs.KeepAll, "some": some} {
			what := fmt.Sprintf("cut at %d, %s kept", at, name)
			if missing := w.check(at, keep, what); len(missing) > 0 {
				t.Errorf("%s: %d confirmed records are gone: %q", what, len(missing), missing)
			}
			cuts++
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d records confirmed, %d moved and packed, %d events, %d power cuts",
		len(w.confirmed), packed, w.rec.Mark(), cuts)
}

// moved counts the bodies in moved files.
func (w *workload) moved() (packed, plain int) {
	for _, loc := range w.locs {
		r, err := w.s.reader(loc)
		if err != nil {
			w.t.Fatal(err)
		}
		if r.packed != nil {
			packed++
		} else if r.f.kind == movedFile {
			plain++
		}
		_ = r.Close()
	}
	return packed, plain
}

// TestPowerCutFindsMissingSync shows that TestPowerCut can fail.
func TestPowerCutFindsMissingSync(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpSync, vfs.OpSyncDir} {
		w := newWorkload(t, 1)
		skip := 1 << 30
		w.rec.Fail = func(o vfs.Op, _ string, n int) error {
			if o == op && n >= skip {
				return vfs.ErrSkip
			}
			return nil
		}
		w.open()
		w.run(5)
		skip = w.rec.Count(op) + 1
		w.run(15)
		defer w.s.Close()
		if missing := w.check(w.rec.Mark(), vfs.KeepNone, "no flush"); len(missing) == 0 {
			t.Errorf("op %d left out: nothing is missing", op)
		}
	}
}

// TestInjectedErrors fails each kind of operation once or more, and cuts the
// power afterwards.
func TestInjectedErrors(t *testing.T) {
	ops := map[string][]vfs.Op{"create": {vfs.OpCreate}, "write": {vfs.OpWrite},
		"sync": {vfs.OpSync}, "truncate": {vfs.OpTruncate}, "remove": {vfs.OpRemove},
		"directory sync": {vfs.OpSyncDir}, "open": {vfs.OpOpen}, "read": {vfs.OpRead},
		"write and truncate": {vfs.OpWrite, vfs.OpTruncate},
		"sync and truncate":  {vfs.OpSync, vfs.OpTruncate}}
	for name, ops := range ops {
		for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
			t.Run(name+" "+errno.Error(), func(t *testing.T) {
				w := newWorkload(t, 3)
				var from, to int // of the first operation; the others fail meanwhile
				seen, op := 0, ops[0]
				w.rec.Fail = func(o vfs.Op, _ string, n int) error {
					if o == op {
						seen = n
						if n > from && n <= to {
							return errno
						}
					} else if slices.Contains(ops, o) && seen > from && seen <= to {
						return errno
					}
					return nil
				}
				w.open()
				for _, run := range []int{1, 2, 3, 9} {
					w.run(3)
					from = w.rec.Count(op) + w.rand.IntN(3)
					to = from + run
					w.run(6)
				}
				from, to = 0, 0
				w.run(3)
				if w.failures == 0 && w.rec.Count(op) > 10 {
					t.Error("nothing failed")
				}
				if missing := w.compare(w.s, w.rec.Mark(), "running"); len(missing) > 0 {
					t.Errorf("running: %q missing", missing)
				}
				_ = w.s.Close()
				for _, keep := range []vfs.Keep{vfs.KeepNone, vfs.KeepAll} {
					if missing := w.check(w.rec.Mark(), keep, "cut"); len(missing) > 0 {
						t.Errorf("%d confirmed records are gone: %q", len(missing), missing)
					}
				}
			})
		}
	}
}
