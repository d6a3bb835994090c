package volume

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"postrider/internal/blob"
	"postrider/internal/blob/blobtest"
	"postrider/internal/blob/vfs"
	"postrider/internal/mail"
)

// move moves bodies and says where they are.
func move(t *testing.T, s *Store, locs ...blob.Location) []blob.Location {
	t.Helper()
	locs = slices.Clone(locs)
	for i := range locs {
		var err error
		if locs[i], err = s.Move(t.Context(), locs[i]); err != nil {
			t.Fatalf("Move: %v", err)
		}
	}
	return locs
}

// isPacked says whether a body is packed.
func isPacked(t *testing.T, s *Store, loc blob.Location) bool {
	t.Helper()
	r, err := s.reader(loc)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return r.packed != nil
}

// sizeOf is what Volumes and the disk say of a volume.
func sizeOf(t *testing.T, s *Store, number int64) (told, disk int64) {
	t.Helper()
	for _, v := range s.Volumes() {
		if v.Number == number {
			told = v.Size
		}
	}
	i, err := os.Stat(s.files[number].path)
	if err != nil {
		t.Fatal(err)
	}
	return told, i.Size()
}

// TestMovePacks wants text packed, the disk to have less to keep, and Volumes
// to tell what the sizes of the bodies can be compared with.
func TestMovePacks(t *testing.T) {
	c := Config{Dirs: []string{t.TempDir()}, FS: noSync{}, Size: 300_000}
	s := open(t, c)
	text := blobtest.Text(200_000, 1)
	bodies := [][]byte{text, blobtest.Body(100_000, 2), blobtest.Text(5000, 3), nil}
	locs := move(t, s, put(t, s, 1, bodies...)...)
	var live int64
	for i, want := range []bool{true, false, true, false} {
		if got := isPacked(t, s, locs[i]); got != want || locs[i].Volume != locs[0].Volume {
			t.Errorf("body %d: got packed %v in volume %d, want %v", i, got, locs[i].Volume, want)
		}
		live += locs[i].Size
	}
	check := func(what string) {
		t.Helper()
		told, disk := sizeOf(t, s, locs[0].Volume)
		if disk > 200_000 || told < live || told > live+headSize+10*recordSize {
			t.Errorf("%s: got %d bytes told and %d on the disk, for %d in bodies", what, told, disk,
				live)
		}
		for i, loc := range locs {
			if got := blobtest.Read(t, s, loc); !bytes.Equal(got, bodies[i]) {
				t.Errorf("%s: body %d differs", what, i)
			}
		}
	}
	check("moved")
	reopen := func() {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, c)
	}
	reopen()
	check("open again")
	// The volume is full now, and the next one begins.
	more := move(t, s, put(t, s, 9, blobtest.Body(250_000, 4), text)...)
	if more[0].Volume != locs[0].Volume || more[1].Volume == more[0].Volume {
		t.Errorf("got volumes %d and %d, want %d and another", more[0].Volume, more[1].Volume,
			locs[0].Volume)
	}
	told, disk := sizeOf(t, s, locs[0].Volume)
	reopen()
	if again, d := sizeOf(t, s, locs[0].Volume); again != told || d != disk || again < disk+100_000 {
		t.Errorf("sealed: got %d bytes told and %d on the disk after %d and %d", again, d, told, disk)
	}
	for i, loc := range locs {
		if got := blobtest.Read(t, s, loc); !bytes.Equal(got, bodies[i]) {
			t.Errorf("sealed: body %d differs", i)
		}
	}
}

// TestMovePackedAgain wants a packed body to be copied as it is.
func TestMovePackedAgain(t *testing.T) {
	s := open(t, Config{Dirs: []string{t.TempDir()}, FS: noSync{}, Size: 30_000})
	body := blobtest.Text(300_000, 1)
	first := move(t, s, put(t, s, 1, body)...)[0]
	second := move(t, s, first)[0]
	stored := func(loc blob.Location) []byte {
		data, err := os.ReadFile(s.files[loc.Volume].path)
		if err != nil {
			t.Fatal(err)
		}
		at := loc.Offset - recordSize
		h, ok := decode(data[at:], s.files[loc.Volume].tag, int64(len(data))-at)
		if !ok || h.flags != flagMoved|flagPacked || h.body != int64(len(body)) {
			t.Fatalf("got header %+v, %v", h, ok)
		}
		return data[loc.Offset:][:h.inline()]
	}
	if !bytes.Equal(stored(first), stored(second)) || first.Volume == second.Volume {
		t.Errorf("got other bytes in volume %d than in %d", second.Volume, first.Volume)
	}
	if err := s.Remove(t.Context(), first.Volume); err != nil {
		t.Fatal(err)
	}
	wantBatches(t, "first copy removed", batches(t, s, 0), 1)
	if got := blobtest.Read(t, s, second); !bytes.Equal(got, body) {
		t.Error("the body differs")
	}
}

// TestPackedReference has large bodies whose records lie elsewhere: they are
// told after all else was removed.
func TestPackedReference(t *testing.T) {
	c := Config{Dirs: []string{t.TempDir()}, FS: noSync{}, Size: 100_000}
	s := open(t, c)
	bodies := [][]byte{blobtest.Text(1_000_000, 1), blobtest.Base64(500_000, 2)}
	locs := put(t, s, 1, bodies...)
	put(t, s, 3, blobtest.Body(50_000, 1), blobtest.Body(60_000, 1)) // seals the references' volume
	moved := move(t, s, locs...)
	sealed := 0
	for _, v := range s.Volumes() {
		if !v.Sealed || v.Number == moved[0].Volume || v.Number == moved[1].Volume {
			continue
		}
		for _, r := range records(t, s) {
			if r.Body.Volume == v.Number {
				move(t, s, r.Body)
			}
		}
		if err := s.Remove(t.Context(), v.Number); err != nil {
			t.Fatal(err)
		}
		sealed++
	}
	for range 2 {
		var got int
		for _, r := range records(t, s) {
			for i, m := range moved {
				if r.Body == m {
					got++
					if b := blobtest.Read(t, s, r.Body); !bytes.Equal(b, bodies[i]) {
						t.Errorf("body %d differs", i)
					}
				}
			}
		}
		if got != 2 || sealed < 3 {
			t.Errorf("got %d records of moved bodies after %d removals, want 2 after 3", got, sealed)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, c)
	}
}

func records(t *testing.T, s *Store) (list []blob.Record) {
	t.Helper()
	if err := s.Records(t.Context(), 0, func(r blob.Record) error {
		list = append(list, r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

// movedOnly is a moved volume on its own, its number, and where its bodies are.
func movedOnly(t *testing.T, bodies ...[]byte) (path string, data []byte, locs []blob.Location) {
	t.Helper()
	dir := t.TempDir()
	s := open(t, Config{Dirs: []string{dir}, FS: noSync{}})
	locs = move(t, s, put(t, s, 1, bodies...)...)
	name := fileName(locs[0].Volume)
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join("/volumes", name), data, locs
}

func openMoved(t *testing.T, path string, data []byte) *Store {
	t.Helper()
	return open(t, Config{Dirs: []string{filepath.Dir(path)},
		FS: vfs.NewMemory(map[string][]byte{path: data})})
}

// TestPackedDamage changes each byte of a volume that has a packed body
// between plain ones: what is read is right, or damage is told.
func TestPackedDamage(t *testing.T) {
	bodies := [][]byte{blobtest.Body(300, 1), blobtest.Text(1500, 2), blobtest.Body(300, 3)}
	path, data, locs := movedOnly(t, bodies...)
	for at := range data {
		if at >= 40 && at < headSize {
			continue // slots, which a moved file does not have
		}
		broken := slices.Clone(data)
		broken[at] ^= 0x10
		s := openMoved(t, path, broken)
		wrong := 0
		for i, loc := range locs {
			verified := s.Verify(t.Context(), loc)
			r, err := s.Open(loc)
			var got []byte
			if err == nil {
				got, err = io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
				_ = r.Close()
			}
			if err != nil && (mail.KindOf(err) != mail.Damaged ||
				!strings.Contains(err.Error(), fmt.Sprint(" at ", loc.Offset)) || !strings.Contains(
				err.Error(), fmt.Sprint("volume ", loc.Volume))) {
				t.Errorf("byte %d: body %d: %v", at, i, err)
			}
			if verified != nil {
				wrong++
			}
			right := err == nil && bytes.Equal(got, bodies[i])
			if right != (verified == nil) || i == 1 && err == nil && !right {
				t.Errorf("byte %d: body %d: got %d bytes, %v, verified %v", at, i, len(got), err,
					verified)
			}
		}
		if n := len(records(t, s)); wrong > 1 || n < 2 || at >= headSize && n != 2 {
			t.Errorf("byte %d: got %d records and %d bodies that are wrong", at, n, wrong)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
	}
}

// TestPackedTail cuts a moved volume at every byte of its last record.
func TestPackedTail(t *testing.T) {
	path, data, locs := movedOnly(t, blobtest.Text(800, 1), blobtest.Text(900, 2))
	last := int(locs[1].Offset) - recordSize
	for cut := last; cut < len(data); cut++ {
		for _, zeros := range []int{0, len(data) - cut} {
			s := openMoved(t, path, append(slices.Clone(data[:cut]), make([]byte, zeros)...))
			wantBatches(t, fmt.Sprintf("cut at %d", cut), batches(t, s, 0), 1)
			if got := s.files[locs[0].Volume].size.Load(); got != int64(last) {
				t.Errorf("cut at %d: got a volume of %d bytes, want %d", cut, got, last)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if t.Failed() {
			return
		}
	}
}

// TestMovedHeadLost overwrites the head, and then the first header too, with
// which all is lost that tells the kind of the file.
func TestMovedHeadLost(t *testing.T) {
	bodies := [][]byte{blobtest.Body(500, 1), blobtest.Text(5000, 2), blobtest.Body(600, 3)}
	path, data, locs := movedOnly(t, bodies...)
	for _, lost := range []int{headSize, headSize + recordSize} {
		clear(data[:lost])
		s := openMoved(t, path, slices.Clone(data))
		for i, loc := range locs {
			if got := blobtest.Read(t, s, loc); !bytes.Equal(got, bodies[i]) {
				t.Errorf("%d bytes lost: body %d differs", lost, i)
			}
			if err := s.Verify(t.Context(), loc); err != nil {
				t.Errorf("%d bytes lost: body %d: %v", lost, i, err)
			}
		}
	}
}

// TestMoveBroken wants a body that is not what it was never to be packed.
func TestMoveBroken(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dirs: []string{dir}, FS: noSync{}})
	body := blobtest.Text(300_000, 1)
	locs := put(t, s, 1, body, blobtest.Text(3000, 2))
	for i, loc := range locs {
		f, err := os.OpenFile(s.files[loc.Volume].path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{0}, loc.Offset+loc.Size/2); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		if _, err := s.Move(t.Context(), loc); mail.KindOf(err) != mail.Damaged {
			t.Errorf("body %d: got %v, want damage", i, err)
		}
	}
	// What was begun is gone.
	good := move(t, s, put(t, s, 3, blobtest.Text(4000, 3))...)[0]
	if good.Offset != headSize+recordSize {
		t.Errorf("got a body at %d, want it at the beginning", good.Offset)
	}
}

// TestMoveFlatMemory moves bodies of 24 MB, one that packs and one that does
// not seem so at first.
func TestMoveFlatMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("under the race detector, pools forget at random")
	}
	s := open(t, Config{Dirs: []string{t.TempDir()}, FS: noSync{}})
	text := blobtest.Text(1<<20, 1)
	for name, first := range map[string][]byte{"text": text, "plain": blobtest.Body(1<<20, 1)} {
		d, err := s.NewDraft(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 24 {
			piece := text
			if i == 0 {
				piece = first
			}
			if _, err := d.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		b := s.Begin(1, 0)
		loc, err := b.Add(0, d, nil)
		if err == nil {
			err = b.Sync()
		}
		if err != nil {
			t.Fatal(err)
		}
		d.Discard()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		to := move(t, s, loc)[0]
		if err := s.Verify(t.Context(), to); err != nil {
			t.Error(err)
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 8<<20 {
			t.Errorf("%s: took %d bytes of memory", name, got)
		}
		if got := isPacked(t, s, to); got != (name == "text") {
			t.Errorf("%s: got packed %v", name, got)
		}
	}
}
