package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"

	"postrider/internal/blob"
	"postrider/internal/mail"
)

// A Fake is a blob.Store in memory. Each record or large body is a sealed
// volume of its own.
type Fake struct {
	groups int

	// FailSync, if not nil, is what Batch.Sync asks first.
	FailSync func() error

	mu      sync.Mutex
	volumes map[int64]*fakeVolume
	order   []int64 // of the volumes with records
	last    int64
	settled uint64
	batch   fakeBatch
}

type fakeVolume struct {
	group  int
	body   []byte
	record blob.Record // with a Body.Volume of 0 if there is none
}

// NewFake returns an empty store with the given number of groups.
func NewFake(groups int) *Fake {
	return &Fake{groups: groups, volumes: map[int64]*fakeVolume{}}
}

var errDone = errors.New("the draft is finished or discarded")

type fakeDraft struct {
	s        *Fake
	body     []byte
	finished bool
	gone     bool
}

// NewDraft implements blob.Store; memory is never used up.
func (s *Fake) NewDraft(_ context.Context, group int) (blob.Draft, error) {
	if err := s.check(group); err != nil {
		return nil, err
	}
	return &fakeDraft{s: s, body: []byte{}}, nil
}

func (s *Fake) check(group int) error {
	if group < 0 || group >= s.groups {
		return mail.Errorf(mail.Invalid, fmt.Sprintf("there is no group %d", group))
	}
	return nil
}

func (d *fakeDraft) Write(p []byte) (int, error) {
	if d.finished || d.gone {
		return 0, errDone
	}
	d.body = append(d.body, p...)
	return len(p), nil
}

func (d *fakeDraft) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(d.body).ReadAt(p, off)
}

func (d *fakeDraft) Finish(context.Context) error {
	if d.gone {
		return errDone
	}
	d.finished = true
	return nil
}

// Yield implements blob.Draft; memory is never used up.
func (d *fakeDraft) Yield() {}

func (d *fakeDraft) Size() int64 { return int64(len(d.body)) }

func (d *fakeDraft) Bytes() []byte {
	if d.gone || len(d.body) > blob.InMemory {
		return nil
	}
	return d.body
}

func (d *fakeDraft) Discard() { d.gone = true }

type fakeBatch struct {
	s               *Fake
	number, durable uint64
	added           []*fakeVolume
	last            []*fakeVolume // of the last Sync
}

// Begin implements blob.Store.
func (s *Fake) Begin(batch, durable uint64) blob.Batch {
	s.batch = fakeBatch{s: s, number: batch, durable: durable}
	return &s.batch
}

// Add implements blob.Batch.
func (b *fakeBatch) Add(group int, d blob.Draft, meta []byte) (blob.Location, error) {
	if err := b.s.check(group); err != nil {
		return blob.Location{}, err
	}
	draft, ok := d.(*fakeDraft)
	if !ok || !draft.finished || draft.gone {
		return blob.Location{}, mail.Errorf(mail.Internal, "the draft is not finished")
	}
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.s.last++
	loc := blob.Location{Volume: b.s.last, Size: draft.Size(),
		Sum: crc32.Checksum(draft.body, crc32.MakeTable(crc32.Castagnoli))}
	b.added = append(b.added, &fakeVolume{group: group, body: bytes.Clone(draft.body),
		record: blob.Record{Batch: b.number, Durable: b.durable, Meta: bytes.Clone(meta),
			Body: loc}})
	return loc, nil
}

// Reset implements blob.Batch.
func (b *fakeBatch) Reset() { b.added = nil }

// Sync implements blob.Batch.
func (b *fakeBatch) Sync() error {
	defer b.Reset()
	if b.s.FailSync != nil {
		if err := b.s.FailSync(); err != nil {
			return err
		}
	}
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.last = b.added
	for _, v := range b.added {
		b.s.volumes[v.record.Body.Volume] = v
		b.s.order = append(b.s.order, v.record.Body.Volume)
	}
	return nil
}

// Revoke implements blob.Batch.
func (b *fakeBatch) Revoke() error {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	for _, v := range b.last {
		b.s.order = slices.DeleteFunc(b.s.order, func(n int64) bool {
			return n == v.record.Body.Volume
		})
	}
	b.last = nil
	return nil
}

// Settled implements blob.Store.
func (s *Fake) Settled(batch uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled = max(s.settled, batch)
}

// SettledBatch is the highest batch that Settled was told.
func (s *Fake) SettledBatch() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settled
}

type fakeReader struct{ *io.SectionReader }

func (fakeReader) Close() error { return nil }

// Open implements blob.Store.
func (s *Fake) Open(loc blob.Location) (blob.Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.volumes[loc.Volume]
	if v == nil {
		return nil, mail.Errorf(mail.NotFound, fmt.Sprintf("there is no volume %d", loc.Volume))
	}
	size := int64(len(v.body))
	if loc.Offset < 0 || loc.Size < 0 || loc.Size > size || loc.Offset > size-loc.Size {
		return nil, mail.Errorf(mail.Damaged, "there is no such place")
	}
	return fakeReader{io.NewSectionReader(bytes.NewReader(v.body), loc.Offset, loc.Size)}, nil
}

// Records implements blob.Store.
func (s *Fake) Records(ctx context.Context, after uint64, fn func(blob.Record) error) error {
	s.mu.Lock()
	var list []blob.Record
	for _, number := range s.order {
		if v := s.volumes[number]; v != nil && (after == 0 || v.record.Batch > after) {
			list = append(list, v.record)
		}
	}
	s.mu.Unlock()
	for _, r := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

// Verify implements blob.Store.
func (s *Fake) Verify(_ context.Context, loc blob.Location) error {
	r, err := s.Open(loc)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(r.(fakeReader))
	if err == nil && crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) != loc.Sum {
		err = mail.Errorf(mail.Damaged, "another checksum")
	}
	return err
}

// Volumes implements blob.Store.
func (s *Fake) Volumes() []blob.Volume {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []blob.Volume
	for number := int64(1); number <= s.last; number++ {
		if v := s.volumes[number]; v != nil {
			list = append(list, blob.Volume{Number: number, Group: v.group,
				Size: int64(len(v.body)), Sealed: true})
		}
	}
	return list
}

// Move implements blob.Store. The record goes with the body at once; the
// bytes stay readable at the old place too.
func (s *Fake) Move(_ context.Context, loc blob.Location) (blob.Location, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.volumes[loc.Volume]
	if v == nil {
		return loc, mail.Errorf(mail.NotFound, fmt.Sprintf("there is no volume %d", loc.Volume))
	}
	s.last++
	moved := *v
	loc.Volume = s.last
	moved.record.Body = loc
	s.volumes[loc.Volume] = &moved
	for i, number := range s.order {
		if s.volumes[number] == v {
			s.order[i] = loc.Volume
		}
	}
	return loc, nil
}

// Remove implements blob.Store.
func (s *Fake) Remove(_ context.Context, number int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.volumes[number] == nil {
		return mail.Errorf(mail.NotFound, fmt.Sprintf("there is no volume %d", number))
	}
	delete(s.volumes, number)
	return nil
}

// Close implements blob.Store.
func (s *Fake) Close() error { return nil }
