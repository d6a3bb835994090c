package blobtest

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"postrider/internal/blob"
	"postrider/internal/mail"
)

func testMove(t *testing.T, u *suite) {
	bodies := [][]byte{Body(1000, 0), Body(60_000, 1), Body(200_000, 2), Body(1000, 3)}
	before := u.put(1, bodies...)
	var after []blob.Location
	for _, loc := range before {
		to, err := u.s.Move(t.Context(), loc)
		if err != nil {
			t.Fatalf("Move: %v", err)
		}
		if to.Volume == loc.Volume || to.Size != loc.Size || to.Sum != loc.Sum {
			t.Errorf("Move: got %+v from %+v", to, loc)
		}
		if to, err = u.s.Move(t.Context(), to); err != nil { // again
			t.Fatalf("second Move: %v", err)
		}
		after = append(after, to)
	}
	for i := range bodies {
		u.wantBody(before[i], bodies[i])
		u.wantBody(after[i], bodies[i])
	}
	if metas, _ := u.records(0); len(metas) != len(bodies) {
		t.Errorf("records after Move: got %v, want %d", metas, len(bodies))
	}
	_, err := u.s.Move(t.Context(), blob.Location{Volume: 12345, Offset: 5000, Size: 1})
	u.wantKind("Move of nothing", err, mail.NotFound)
}

// chunk is pack.Chunk, whose package has tests that use this one.
const chunk = 64 << 10

// testMovedRanges has bodies that an engine may pack when it moves them, and
// such that it will not, and reads them in many ways.
func testMovedRanges(t *testing.T, u *suite) {
	bodies := [][]byte{nil, []byte("x"), Body(100_000, 1), HTML(1_500_000, 2), Base64(900_000, 3),
		append(Text(200_000, 4), Body(700_000, 4)...)}
	for _, n := range []int{100, 5000, chunk - 1, chunk, chunk + 1, 2 * chunk,
		4_000_000} {
		bodies = append(bodies, Text(n, uint64(n)))
	}
	before := u.put(0, bodies...)
	for i, body := range bodies {
		to, err := u.s.Move(t.Context(), before[i])
		if err != nil {
			t.Fatalf("Move: %v", err)
		}
		for range 2 { // from plain, and from what it was made
			u.wantBody(to, body)
			u.wantRanges(to, body)
			if err := u.s.Verify(t.Context(), to); err != nil {
				t.Errorf("Verify of %d bytes: %v", len(body), err)
			}
			if to, err = u.s.Move(t.Context(), to); err != nil {
				t.Fatalf("Move: %v", err)
			}
		}
		for name, wrong := range map[string]blob.Location{
			"a byte less": {Volume: to.Volume, Offset: to.Offset, Size: to.Size - 1, Sum: to.Sum},
			"a byte more": {Volume: to.Volume, Offset: to.Offset, Size: to.Size + 1, Sum: to.Sum},
			"elsewhere":   {Volume: to.Volume, Offset: to.Offset + 1, Size: to.Size, Sum: to.Sum},
		} {
			if err := u.s.Verify(t.Context(), wrong); err == nil && len(body) > 0 {
				t.Errorf("Verify of %d bytes, %s: no error", len(body), name)
			}
		}
	}
	_, list := u.records(0)
	for i, r := range list {
		u.wantBody(r.Body, bodies[i])
	}
	if len(list) != len(bodies) {
		t.Errorf("records: got %d, want %d", len(list), len(bodies))
	}
}

// wantRanges reads a body in pieces, its beginning, and at random places.
func (u *suite) wantRanges(loc blob.Location, body []byte) {
	u.t.Helper()
	r, err := u.s.Open(loc)
	if err != nil {
		u.t.Fatalf("Open: %v", err)
	}
	defer r.Close()
	if got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size())); err != nil ||
		!bytes.Equal(got, body) {
		u.t.Errorf("in pieces: got %d bytes, %v, want %d", len(got), err, len(body))
	}
	if w, ok := r.(io.WriterTo); ok {
		var got bytes.Buffer
		if n, err := w.WriteTo(&got); n != loc.Size || err != nil || !bytes.Equal(got.Bytes(), body) {
			u.t.Errorf("WriteTo: got %d bytes, %v, want %d", n, err, len(body))
		}
	}
	random := rand.New(rand.NewPCG(uint64(len(body)), 1))
	for i := range 60 {
		p := make([]byte, random.IntN([]int{2, 200, 4096, 300_000}[i%4]))
		off := random.IntN(len(body) + 1)
		if i%3 == 0 {
			off = 0
		}
		want := body[off:min(off+len(p), len(body))]
		n, err := r.ReadAt(p, int64(off))
		if !bytes.Equal(p[:n], want) || n < len(p) && err != io.EOF ||
			n == len(p) && err != nil && err != io.EOF {
			u.t.Errorf("%d bytes at %d of %d: got %d, %v, want %d", len(p), off, len(body), n, err,
				len(want))
		}
	}
}

// testRemove empties all sealed volumes, as compaction does.
func testRemove(t *testing.T, u *suite) {
	var bodies [][]byte
	var locs []blob.Location
	for i := range 12 {
		pair := [][]byte{Body(9000, uint64(i)), Body(70_000, uint64(i))}
		bodies = append(bodies, pair...)
		locs = append(locs, u.put(0, pair...)...)
	}
	removed := 0
	for _, v := range u.s.Volumes() {
		if !v.Sealed {
			u.wantKind("Remove of an open volume", u.s.Remove(t.Context(), v.Number), mail.Conflict)
			continue
		}
		for i, loc := range locs {
			if loc.Volume != v.Number {
				continue
			}
			to, err := u.s.Move(t.Context(), loc)
			if err != nil {
				t.Fatalf("Move: %v", err)
			}
			locs[i] = to
		}
		if err := u.s.Remove(t.Context(), v.Number); err != nil {
			t.Fatalf("Remove: %v", err)
		}
		removed++
		_, err := u.s.Open(blob.Location{Volume: v.Number, Offset: 5000, Size: 1})
		u.wantKind("Open of a removed volume", err, mail.NotFound)
		u.wantKind("second Remove", u.s.Remove(t.Context(), v.Number), mail.NotFound)
	}
	for i, loc := range locs {
		u.wantBody(loc, bodies[i])
	}
	if metas, _ := u.records(0); len(metas) != len(bodies) {
		t.Errorf("records after %d removals: got %v, want %d", removed, metas, len(bodies))
	}
	if metas, _ := u.records(6); len(metas) != 12 {
		t.Errorf("records after batch 6: got %v, want 12", metas)
	}
}
