// Package blobtest is the suite that every blob.Store must pass, and a small
// Store in memory for the tests of what stands on one.
package blobtest

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"postrider/internal/blob"
	"postrider/internal/mail"
)

// Run holds a store to the sentences of package blob. Open is called once
// for each of them and returns an empty store with groups 0 and 1, which it
// closes when the test ends.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	tests := []struct {
		name string
		run  func(*testing.T, *suite)
	}{
		{"bodies of all sizes", testSizes},
		{"one body in several batches", testBodyTwice},
		{"records come in order", testRecordsOrder},
		{"records of a body", testRecordsKeepFacts},
		{"reset forgets", testReset},
		{"revoke takes a batch back", testRevoke},
		{"discard before a batch", testDiscard},
		{"unfinished draft", testUnfinished},
		{"draft refuses writes when finished", testWriteAfterFinish},
		{"waiting for memory ends with ctx", testContext},
		{"places that cannot be", testWrongPlaces},
		{"readers stay within the body", testReaderBounds},
		{"verify", testVerify},
		{"unknown group", testUnknownGroup},
		{"groups are apart", testGroups},
		{"move", testMove},
		{"every range after move", testMovedRanges},
		{"move and remove", testRemove},
		{"concurrent drafts", testConcurrent},
		{"empty batch", testEmptyBatch},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.run(t, &suite{t: t, s: open(t), batch: 1})
		})
	}
}

// A suite is one test's store and the batch number that comes next.
type suite struct {
	t     *testing.T
	s     blob.Store
	batch uint64
}

// Body makes n bytes that look like nothing and are the same each time.
func Body(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(n)})
	_, _ = r.Read(b) // never fails
	return b
}

// Draft writes body into a new, finished draft.
func Draft(t testing.TB, s blob.Store, group int, body []byte) blob.Draft {
	t.Helper()
	d, err := s.NewDraft(t.Context(), group)
	if err != nil {
		t.Fatalf("NewDraft: %v", err)
	}
	for rest := body; len(rest) > 0; {
		n := min(len(rest), 5000)
		if k, err := d.Write(rest[:n]); k != n || err != nil {
			t.Fatalf("Write: got %d, %v, want %d", k, err, n)
		}
		rest = rest[n:]
	}
	if err := d.Finish(t.Context()); err != nil {
		t.Fatalf("Finish: %v", err)
	}
	return d
}

// Read returns the whole body at loc.
func Read(t testing.TB, s blob.Store, loc blob.Location) []byte {
	t.Helper()
	r, err := s.Open(loc)
	if err != nil {
		t.Fatalf("Open(%v): %v", loc, err)
	}
	b := make([]byte, r.Size())
	if n, err := r.ReadAt(b, 0); n != len(b) || err != nil && err != io.EOF {
		t.Fatalf("ReadAt: got %d, %v, want %d", n, err, len(b))
	}
	if err := r.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return b
}

// put stores bodies in one batch and discards the drafts.
func (u *suite) put(group int, bodies ...[]byte) []blob.Location {
	u.t.Helper()
	b := u.s.Begin(u.batch, u.batch-1)
	var locs []blob.Location
	var drafts []blob.Draft
	for i, body := range bodies {
		d := Draft(u.t, u.s, group, body)
		drafts = append(drafts, d)
		loc, err := b.Add(group, d, fmt.Appendf(nil, "meta %d %d", u.batch, i))
		if err != nil {
			u.t.Fatalf("Add: %v", err)
		}
		locs = append(locs, loc)
	}
	if err := b.Sync(); err != nil {
		u.t.Fatalf("Sync: %v", err)
	}
	for _, d := range drafts {
		d.Discard()
		d.Discard()
	}
	u.batch++
	return locs
}

// records returns what Records tells, as text.
func (u *suite) records(after uint64) (metas []string, list []blob.Record) {
	u.t.Helper()
	err := u.s.Records(u.t.Context(), after, func(r blob.Record) error {
		metas = append(metas, string(r.Meta))
		r.Meta = bytes.Clone(r.Meta)
		list = append(list, r)
		return nil
	})
	if err != nil {
		u.t.Fatalf("Records: %v", err)
	}
	return metas, list
}

func (u *suite) wantBody(loc blob.Location, want []byte) {
	u.t.Helper()
	if got := Read(u.t, u.s, loc); !bytes.Equal(got, want) {
		u.t.Errorf("body at %v: got %d other bytes, want %d", loc, len(got), len(want))
	}
	if loc.Size != int64(len(want)) {
		u.t.Errorf("size: got %d, want %d", loc.Size, len(want))
	}
	if sum := crc32.Checksum(want, crc32.MakeTable(crc32.Castagnoli)); loc.Sum != sum {
		u.t.Errorf("sum: got %08x, want %08x", loc.Sum, sum)
	}
}

func (u *suite) wantKind(what string, err error, want mail.Kind) {
	u.t.Helper()
	if err == nil || mail.KindOf(err) != want {
		u.t.Errorf("%s: got %v (kind %d), want kind %d", what, err, mail.KindOf(err), want)
	}
}

func testSizes(t *testing.T, u *suite) {
	var bodies [][]byte
	for i, n := range []int{0, 1, 4096, 8191, 8192, 8193, 65535, 65536, 65537, 70000, 300_000,
		5_000_000} {
		bodies = append(bodies, Body(n, uint64(i)))
	}
	for i, body := range bodies {
		d := Draft(t, u.s, 0, body)
		if d.Size() != int64(len(body)) {
			t.Errorf("Size: got %d, want %d", d.Size(), len(body))
		}
		if b := d.Bytes(); b != nil && !bytes.Equal(b, body) {
			t.Errorf("Bytes of body %d differ", i)
		} else if len(body) > blob.InMemory && b != nil {
			t.Errorf("a body of %d bytes waits in memory", len(body))
		}
		got, err := io.ReadAll(io.NewSectionReader(d, 0, d.Size()))
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("draft %d: got %d bytes, %v, want %d", i, len(got), err, len(body))
		}
		d.Discard()
	}
	for i, loc := range u.put(0, bodies...) {
		u.wantBody(loc, bodies[i])
	}
	metas, list := u.records(0)
	if len(metas) != len(bodies) {
		t.Fatalf("records: got %d, want %d", len(metas), len(bodies))
	}
	for i, r := range list {
		u.wantBody(r.Body, bodies[i])
	}
}

func testBodyTwice(t *testing.T, u *suite) {
	for _, n := range []int{100, 100_000} {
		body := Body(n, 1)
		d := Draft(t, u.s, 0, body)
		var locs []blob.Location
		for range 2 {
			b := u.s.Begin(u.batch, 0)
			loc, err := b.Add(0, d, []byte("meta"))
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Sync(); err != nil {
				t.Fatal(err)
			}
			u.batch++
			locs = append(locs, loc)
		}
		d.Discard()
		for _, loc := range locs {
			u.wantBody(loc, body)
		}
	}
	if metas, _ := u.records(0); len(metas) != 4 {
		t.Errorf("records: got %d, want 4", len(metas))
	}
}

func testRecordsOrder(t *testing.T, u *suite) {
	for i := range 20 {
		u.put(0, Body(3000, uint64(i)), Body(10, 0), Body(80_000, 0))
	}
	for _, after := range []uint64{0, 1, 7, 19, 20, 21} {
		metas, list := u.records(after)
		var want []string
		for b := after + 1; b <= 20; b++ {
			for i := range 3 {
				want = append(want, fmt.Sprintf("meta %d %d", b, i))
			}
		}
		if fmt.Sprint(metas) != fmt.Sprint(want) {
			t.Errorf("after %d: got %v, want %v", after, metas, want)
		}
		for _, r := range list {
			if err := u.s.Verify(t.Context(), r.Body); err != nil {
				t.Errorf("after %d: Verify: %v", after, err)
			}
		}
	}
}

func testRecordsKeepFacts(t *testing.T, u *suite) {
	u.batch = 42
	locs := u.put(1, Body(20, 0), Body(200_000, 0))
	_, list := u.records(41)
	if len(list) != 2 {
		t.Fatalf("records: got %d, want 2", len(list))
	}
	for i, r := range list {
		if r.Batch != 42 || r.Durable != 41 || r.Body != locs[i] {
			t.Errorf("got %+v, want batch 42, durable 41, body %+v", r, locs[i])
		}
	}
}

func testReset(t *testing.T, u *suite) {
	first := u.put(0, Body(500, 1))
	b := u.s.Begin(u.batch, 0)
	lost := Draft(t, u.s, 0, Body(30_000, 2))
	kept := Draft(t, u.s, 0, Body(600, 3))
	large := Draft(t, u.s, 0, Body(100_000, 4))
	for _, d := range []blob.Draft{lost, large, kept} {
		if _, err := b.Add(0, d, []byte("lost")); err != nil {
			t.Fatal(err)
		}
	}
	b.Reset()
	loc, err := b.Add(0, kept, []byte("kept"))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Sync(); err != nil {
		t.Fatal(err)
	}
	for _, d := range []blob.Draft{lost, large, kept} {
		d.Discard()
	}
	u.wantBody(first[0], Body(500, 1))
	u.wantBody(loc, Body(600, 3))
	if metas, _ := u.records(0); fmt.Sprint(metas) != "[meta 1 0 kept]" {
		t.Errorf("records: got %v", metas)
	}
}

func testRevoke(t *testing.T, u *suite) {
	first := u.put(0, Body(500, 1))
	b := u.s.Begin(u.batch, 0)
	for _, n := range []int{700, 100_000} {
		d := Draft(t, u.s, 0, Body(n, 2))
		defer d.Discard()
		if _, err := b.Add(0, d, []byte("lost")); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := b.Revoke(); err != nil {
		t.Fatal(err)
	}
	if metas, _ := u.records(0); fmt.Sprint(metas) != "[meta 1 0]" {
		t.Errorf("records after Revoke: got %v", metas)
	}
	u.batch++
	next := u.put(0, Body(600, 3))
	u.wantBody(first[0], Body(500, 1))
	u.wantBody(next[0], Body(600, 3))
	if metas, _ := u.records(0); fmt.Sprint(metas) != "[meta 1 0 meta 3 0]" {
		t.Errorf("records after the next batch: got %v", metas)
	}
}

func testDiscard(t *testing.T, u *suite) {
	for _, n := range []int{10, 10_000, 100_000, 3_000_000} {
		d := Draft(t, u.s, 0, Body(n, 0))
		d.Discard()
		if _, err := d.Write([]byte("x")); err == nil {
			t.Errorf("Write after Discard of %d bytes: no error", n)
		}
		if b := d.Bytes(); b != nil {
			t.Errorf("Bytes after Discard: got %d bytes", len(b))
		}
	}
	locs := u.put(0, Body(100_000, 9))
	u.wantBody(locs[0], Body(100_000, 9))
	if metas, _ := u.records(0); len(metas) != 1 {
		t.Errorf("records: got %v, want one", metas)
	}
}

func testUnfinished(t *testing.T, u *suite) {
	d, err := u.s.NewDraft(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Discard()
	if _, err := d.Write(Body(100_000, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := u.s.Begin(1, 0).Add(0, d, nil); err == nil {
		t.Error("Add of an unfinished draft: no error")
	}
}

func testWriteAfterFinish(t *testing.T, u *suite) {
	d := Draft(t, u.s, 0, Body(10, 0))
	defer d.Discard()
	if _, err := d.Write([]byte("x")); err == nil {
		t.Error("Write after Finish: no error")
	}
}

func testContext(t *testing.T, u *suite) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d, err := u.s.NewDraft(ctx, 0)
	if err == nil {
		d.Discard() // there was memory
		return
	}
	u.wantKind("NewDraft", err, mail.Full)
}

func testWrongPlaces(t *testing.T, u *suite) {
	loc := u.put(0, Body(1000, 0))[0]
	gone := loc
	gone.Volume += 1000
	_, err := u.s.Open(gone)
	u.wantKind("Open of no volume", err, mail.NotFound)
	for name, change := range map[string]func(*blob.Location){
		"beyond the end": func(l *blob.Location) { l.Offset += 1 << 40 },
		"too large":      func(l *blob.Location) { l.Size += 1 << 40 },
		"negative":       func(l *blob.Location) { l.Offset = -5 },
		"negative size":  func(l *blob.Location) { l.Size = -5 },
		"overflow":       func(l *blob.Location) { l.Offset, l.Size = 1<<63-1, 1<<63-1 },
	} {
		wrong := loc
		change(&wrong)
		_, err := u.s.Open(wrong)
		u.wantKind(name, err, mail.Damaged)
	}
}

func testReaderBounds(t *testing.T, u *suite) {
	body := Body(1000, 5)
	locs := u.put(0, body, Body(1000, 6))
	r, err := u.s.Open(locs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := make([]byte, 600)
	if n, err := r.ReadAt(p, 500); n != 500 || err != io.EOF || !bytes.Equal(p[:n], body[500:]) {
		t.Errorf("over the end: got %d, %v, want 500, EOF", n, err)
	}
	if n, err := r.ReadAt(p, 1000); n != 0 || err != io.EOF {
		t.Errorf("at the end: got %d, %v, want 0, EOF", n, err)
	}
	if n, err := r.ReadAt(p, -1); n != 0 || err == nil {
		t.Errorf("before the beginning: got %d, %v, want an error", n, err)
	}
	if n, err := r.ReadAt(p, 100); n != 600 || err != nil || !bytes.Equal(p, body[100:700]) {
		t.Errorf("inside: got %d, %v, want 600", n, err)
	}
}

func testVerify(t *testing.T, u *suite) {
	for _, loc := range u.put(0, Body(1000, 0), Body(200_000, 0), nil) {
		if err := u.s.Verify(t.Context(), loc); err != nil {
			t.Errorf("Verify: %v", err)
		}
		loc.Sum++
		u.wantKind("Verify with another sum", u.s.Verify(t.Context(), loc), mail.Damaged)
	}
}

func testUnknownGroup(t *testing.T, u *suite) {
	for _, group := range []int{-1, 99} {
		if _, err := u.s.NewDraft(t.Context(), group); err == nil {
			t.Errorf("NewDraft in group %d: no error", group)
		}
	}
	d := Draft(t, u.s, 0, nil)
	defer d.Discard()
	if _, err := u.s.Begin(1, 0).Add(99, d, nil); err == nil {
		t.Error("Add to group 99: no error")
	}
}

func testGroups(t *testing.T, u *suite) {
	b := u.s.Begin(1, 0)
	var locs []blob.Location
	for i := range 6 {
		d := Draft(t, u.s, i%2, Body(100+i*20_000, uint64(i)))
		defer d.Discard()
		loc, err := b.Add(i%2, d, nil)
		if err != nil {
			t.Fatal(err)
		}
		locs = append(locs, loc)
	}
	if err := b.Sync(); err != nil {
		t.Fatal(err)
	}
	groups := map[int64]int{}
	for _, v := range u.s.Volumes() {
		groups[v.Number] = v.Group
	}
	for i, loc := range locs {
		u.wantBody(loc, Body(100+i*20_000, uint64(i)))
		if got := groups[loc.Volume]; got != i%2 {
			t.Errorf("body %d: got group %d, want %d", i, got, i%2)
		}
	}
}

// testConcurrent has sessions that write while a committer runs.
func testConcurrent(t *testing.T, u *suite) {
	const sessions, each = 8, 6
	ready := make(chan blob.Draft, sessions)
	var wg sync.WaitGroup
	for i := range sessions {
		wg.Go(func() {
			for k := range each {
				d, err := u.s.NewDraft(t.Context(), k%2)
				if err != nil {
					t.Errorf("NewDraft: %v", err)
					return
				}
				if _, err := d.Write(Body(1000+i*30_000, uint64(i))); err != nil {
					t.Errorf("Write: %v", err)
				}
				if err := d.Finish(t.Context()); err != nil {
					t.Errorf("Finish: %v", err)
				}
				ready <- d
			}
		})
	}
	go func() { wg.Wait(); close(ready) }()
	locs := map[blob.Location][]byte{}
	for d := range ready {
		body := make([]byte, d.Size())
		if n, err := d.ReadAt(body, 0); n != len(body) {
			t.Fatalf("ReadAt: got %d, %v", n, err)
		}
		b := u.s.Begin(u.batch, u.batch-1)
		loc, err := b.Add(0, d, nil)
		if err == nil {
			err = b.Sync()
		}
		if err != nil {
			t.Fatal(err)
		}
		u.batch++
		d.Discard()
		locs[loc] = body
	}
	if len(locs) != sessions*each {
		t.Errorf("got %d places, want %d", len(locs), sessions*each)
	}
	for loc, body := range locs {
		u.wantBody(loc, body)
	}
}

func testEmptyBatch(t *testing.T, u *suite) {
	if err := u.s.Begin(1, 0).Sync(); err != nil {
		t.Errorf("Sync: %v", err)
	}
	u.s.Settled(1)
	if metas, _ := u.records(0); len(metas) != 0 {
		t.Errorf("records: got %v, want none", metas)
	}
}
