package volume

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"postrider/internal/blob"
	"postrider/internal/blob/blobtest"
	"postrider/internal/blob/vfs"
	"postrider/internal/mail"
)

// put stores each body in a batch of its own, numbered from first.
func put(t *testing.T, s *Store, first uint64, bodies ...[]byte) []blob.Location {
	t.Helper()
	var locs []blob.Location
	for i, body := range bodies {
		d := blobtest.Draft(t, s, 0, body)
		b := s.Begin(first+uint64(i), 0)
		loc, err := b.Add(0, d, fmt.Appendf(nil, "%d", first+uint64(i)))
		if err == nil {
			err = b.Sync()
		}
		if err != nil {
			t.Fatal(err)
		}
		d.Discard()
		locs = append(locs, loc)
	}
	return locs
}

// batches returns the batch numbers of all records, in order.
func batches(t *testing.T, s *Store, after uint64) []uint64 {
	t.Helper()
	var got []uint64
	if err := s.Records(t.Context(), after, func(r blob.Record) error {
		got = append(got, r.Batch)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

func wantBatches(t *testing.T, what string, got []uint64, want ...uint64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got records of batches %v, want %v", what, got, want)
	}
}

// stored is the bytes of a volume with one record each of batches 1 to n.
func stored(t *testing.T, bodies ...[]byte) (data []byte, locs []blob.Location) {
	t.Helper()
	dir := t.TempDir()
	s := open(t, Config{Dirs: []string{dir}})
	locs = put(t, s, 1, bodies...)
	data, err := os.ReadFile(filepath.Join(dir, fileName(1)))
	if err != nil {
		t.Fatal(err)
	}
	return data, locs
}

// volumeOne is the first file in memory.
var volumeOne = filepath.Join("/volumes", fileName(1))

// reopened opens a directory that has data as its first volume.
func reopened(t *testing.T, data []byte, damage func(int64, int64, string)) *Store {
	t.Helper()
	disk := vfs.NewMemory(map[string][]byte{volumeOne: data})
	return open(t, Config{Dirs: []string{filepath.Dir(volumeOne)}, FS: disk, Damage: damage})
}

func noDamage(t *testing.T) func(int64, int64, string) {
	return func(v, off int64, what string) {
		t.Errorf("damage reported in volume %d at %d: %s", v, off, what)
	}
}

// TestTail cuts the last record at every byte, and fills what is missing
// with zeros or with nothing.
func TestTail(t *testing.T) {
	body := blobtest.Body(200, 1)
	data, _ := stored(t, body, body, body)
	last := recordSize + len(body) + 1
	for cut := 0; cut <= last; cut++ {
		whole := len(data) - last
		for name, tail := range map[string][]byte{
			"short": data[whole : whole+cut],
			"zeros": append(slices.Clone(data[whole:whole+cut]), make([]byte, last-cut)...),
			"hole":  append(make([]byte, cut), data[whole+cut:]...),
		} {
			want := []uint64{1, 2}
			if bytes.Equal(tail, data[whole:]) {
				want = append(want, 3)
			}
			s := reopened(t, append(slices.Clone(data[:whole]), tail...), noDamage(t))
			what := fmt.Sprintf("%s at %d", name, cut)
			wantBatches(t, what, batches(t, s, 0), want...)
			locs := put(t, s, 4, body)
			if locs[0].Volume != 1 {
				t.Errorf("%s: got volume %d, want that the first one is used further",
					what, locs[0].Volume)
			}
			wantBatches(t, what, batches(t, s, 0), append(want, 4)...)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if t.Failed() {
			return
		}
	}
}

// TestDamage breaks one byte in the middle of a volume, each in turn.
func TestDamage(t *testing.T) {
	body := blobtest.Body(100, 1)
	data, locs := stored(t, body, body, body, body)
	second := int(locs[1].Offset) - recordSize
	for at := second; at < int(locs[2].Offset)-recordSize; at++ {
		broken := slices.Clone(data)
		broken[at] ^= 0x10
		reports := 0
		s := reopened(t, broken, func(int64, int64, string) { reports++ })
		what := fmt.Sprintf("byte %d", at-second)
		wantBatches(t, what, batches(t, s, 0), 1, 3, 4)
		put(t, s, 5, body)
		wantBatches(t, what, batches(t, s, 0), 1, 3, 4, 5)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(s.fs.(*vfs.Memory).Data(volumeOne), broken) {
			t.Errorf("%s: the damaged volume lost something", what)
		}
		if t.Failed() {
			return
		}
		if err := s.Verify(t.Context(), locs[1]); err == nil {
			t.Errorf("%s: Verify of a closed store: no error", what)
		}
	}
}

// TestDamageReported has the damage in a sealed volume.
func TestDamageReported(t *testing.T) {
	dir := t.TempDir()
	body := blobtest.Body(3000, 1)
	s := open(t, Config{Dirs: []string{dir}, Size: 20_000})
	locs := put(t, s, 1, body, body, body, body, body, body, body, body)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, fileName(locs[1].Volume))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[locs[1].Offset+7] ^= 1            // a body
	data[locs[3].Offset-recordSize+9] ^= 1 // a header
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	reports := 0
	s = open(t, Config{Dirs: []string{dir}, Size: 20_000,
		Damage: func(v, _ int64, _ string) {
			if v == locs[1].Volume {
				reports++
			}
		}})
	wantBatches(t, "damaged", batches(t, s, 0), 1, 3, 5, 6, 7, 8)
	if reports != 2 {
		t.Errorf("got %d reports, want 2", reports)
	}
	if err := s.Verify(t.Context(), locs[1]); mail.KindOf(err) != mail.Damaged {
		t.Errorf("Verify: got %v, want damaged", err)
	}
	if _, err := s.Move(t.Context(), locs[1]); mail.KindOf(err) != mail.Damaged {
		t.Errorf("Move of a broken body: got %v, want damaged", err)
	}
	if _, err := s.Move(t.Context(), locs[3]); mail.KindOf(err) != mail.Damaged {
		t.Errorf("Move of a broken header: got %v, want damaged", err)
	}
	if err := s.Verify(t.Context(), locs[0]); err != nil {
		t.Errorf("Verify of a whole one: %v", err)
	}
}

// TestHeadLost overwrites the head of a volume: its records are found all
// the same.
func TestHeadLost(t *testing.T) {
	body := blobtest.Body(3000, 1)
	data, _ := stored(t, body, body)
	copy(data, make([]byte, headSize))
	reports := 0
	s := reopened(t, data, func(int64, int64, string) { reports++ })
	wantBatches(t, "no head", batches(t, s, 0), 1, 2)
	wantBatches(t, "no head", batches(t, s, 1), 2)
	if reports == 0 {
		t.Error("nothing reported")
	}
	if loc := put(t, s, 3, body)[0]; loc.Volume == 1 {
		t.Error("a volume without a head is written to")
	}
}

// TestAllLost opens a file that is nothing but zeros: that takes no longer
// than one look at it.
func TestAllLost(t *testing.T) {
	const size = 1 << 20
	disk := &countReads{FS: vfs.NewMemory(map[string][]byte{volumeOne: make([]byte, size)})}
	s := open(t, Config{Dirs: []string{filepath.Dir(volumeOne)}, FS: disk})
	wantBatches(t, "zeros", batches(t, s, 0))
	if disk.bytes > 2*size {
		t.Errorf("%d bytes were read of %d", disk.bytes, size)
	}
}

// TestForgedRecord has a sender put a record into a body, and a disk that
// loses the header before it. The tag of another volume is all he can know.
func TestForgedRecord(t *testing.T) {
	forged := make([]byte, recordSize)
	h := header{kind: kindMessage, batch: 99}
	h.encode(forged, 0x1234567890abcdef)
	data, locs := stored(t, blobtest.Body(10, 0), slices.Concat(make([]byte, 100), forged, forged),
		blobtest.Body(10, 0))
	clear(data[locs[1].Offset-recordSize : locs[1].Offset])
	s := reopened(t, data, nil)
	wantBatches(t, "forged", batches(t, s, 0), 1, 3)
}

func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"notes.txt", "1.vol", "00000000001.vol", "0000000005.vol.bak"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// What a crash leaves of a volume that was being made.
	for _, n := range []int64{3, 4} {
		if err := os.WriteFile(filepath.Join(dir, fileName(n)),
			make([]byte, 4096*(n-3)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, Config{Dirs: []string{dir}})
	if loc := put(t, s, 1, nil)[0]; loc.Volume != 5 {
		t.Errorf("got volume %d, want 5", loc.Volume)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 6 {
		t.Errorf("got %v, %v, want the four foreign files, a volume and the order", entries, err)
	}
}

// FuzzRecord decodes anything as the records of a volume.
func FuzzRecord(f *testing.F) {
	const tag = 0x0102030405060708
	h := header{kind: kindMessage, body: 5, meta: 3, batch: 7}
	b := make([]byte, recordSize, 200)
	h.encode(b, tag)
	f.Add(append(b, "hellomet"...))
	f.Add(slices.Concat(b, []byte("hellomet"), b[:50], b, []byte("hellomet")))
	h = header{kind: kindReference, body: 1 << 40, ref: place{1, 2}}
	h.encode(b, tag)
	f.Add(slices.Clone(b))
	h = header{kind: kindMessage, body: 1<<63 - 1, meta: maxMeta}
	h.encode(b, tag)
	f.Add(slices.Clone(b))
	for _, n := range []int64{5, 0, -1, 1 << 62} {
		h = header{kind: kindMessage, flags: flagPacked, body: 900, meta: 3, ref: place{77, n}}
		h.encode(b, tag)
		f.Add(append(slices.Clone(b), "hellomet"...))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		sc := scanner{r: bytes.NewReader(data), tag: tag, end: int64(len(data)), window: 100}
		end := int64(0)
		err := sc.each(0, func(r *found) error {
			if r.at < end || r.end() > int64(len(data)) || r.end() < r.at+recordSize {
				t.Fatalf("record at %d to %d after one to %d", r.at, r.end(), end)
			}
			end = r.end()
			var b [recordSize]byte
			r.encode(b[:], tag)
			if !bytes.Equal(b[:], data[r.at:r.at+recordSize]) {
				t.Fatalf("record at %d: encoded again it differs", r.at)
			}
			_, err := r.intact(t.Context())
			return err
		}, func(from, to int64) {
			if from < end || to <= from {
				t.Fatalf("gap from %d to %d after %d", from, to, end)
			}
			end = to
		})
		if err != nil {
			t.Fatal(err)
		}
		if end != int64(len(data)) {
			t.Fatalf("got to %d of %d bytes", end, len(data))
		}
		head := make([]byte, headSize)
		copy(head, data)
		_, _ = decodeHead(head, 1)
		_ = decodeSlots(head, tag, 1<<20)
	})
}
