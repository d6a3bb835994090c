package volume

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"postrider/internal/blob"
	"postrider/internal/blob/blobtest"
	"postrider/internal/blob/memory"
	"postrider/internal/mail"
)

// TestYield has drafts of all states give their memory to one that waits, and
// then go on.
func TestYield(t *testing.T) {
	const limit = 4 * memory.Large
	for _, tt := range []struct {
		name          string
		before, after int
		small         bool // there is no memory any more when the body goes on
	}{
		{"empty", 0, 0, false},
		{"empty, goes on in memory", 0, 5000, false},
		{"empty, goes on without memory", 0, 5000, true},
		{"small", 5000, 0, false},
		{"small, goes on", 5000, 5000, false},
		{"larger", 50_000, 5000, true},
		{"large", 100_000, 1_000_000, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, Config{FS: noSync{}, Memory: limit})
				body := blobtest.Body(tt.before+tt.after, 0)
				d, err := s.NewDraft(t.Context(), 0)
				if err != nil {
					t.Fatal(err)
				}
				write(t, d, body[:tt.before])
				d.Yield() // nobody waits
				if got := s.memory.Free(); got == limit {
					t.Error("gave its memory to nobody")
				}
				rest := takeAll(t, s.memory)
				served := make(chan blob.Draft)
				go func() {
					d, err := s.NewDraft(t.Context(), 0)
					if err != nil {
						t.Error(err)
					}
					served <- d
				}()
				time.Sleep(time.Second)
				synctest.Wait()
				d.Yield()
				d.Yield()
				other := <-served
				if !tt.small {
					other.Discard()
				}
				write(t, d, body[tt.before:])
				other.Discard()
				finish(t, s, d, body)
				for _, b := range rest {
					s.memory.Put(b)
				}
				if got := s.memory.Free(); got != limit {
					t.Errorf("in the end got %d bytes free, want %d", got, limit)
				}
			})
		})
	}
}

// TestYieldThenDiscard leaves nothing behind.
func TestYieldThenDiscard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Config{FS: noSync{}, Memory: memory.Small})
		d, err := s.NewDraft(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		write(t, d, blobtest.Body(5000, 0))
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, _ = s.NewDraft(ctx, 0) }()
		time.Sleep(time.Second)
		cancel()
		d.Yield() // too late
		synctest.Wait()
		d.Yield()
		d.Discard()
		d.Yield()
		if _, err := d.Write([]byte("x")); err == nil {
			t.Error("a discarded draft took something")
		}
		if got := s.memory.Free(); got != memory.Small {
			t.Errorf("in the end got %d bytes free, want all", got)
		}
	})
}

// TestPatience answers who waits for memory in vain.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Config{FS: noSync{}, Memory: memory.Small})
		d, err := s.NewDraft(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Discard()
		start := time.Now()
		if _, err := s.NewDraft(t.Context(), 0); mail.KindOf(err) != mail.Full {
			t.Errorf("got %v, want full", err)
		}
		if took := time.Since(start); took != memory.Patience {
			t.Errorf("got an answer after %v, want %v", took, memory.Patience)
		}
	})
}

func takeAll(t *testing.T, p *memory.Pool) []*memory.Buffer {
	t.Helper()
	var all []*memory.Buffer
	for _, size := range []int{memory.Large, memory.Small} {
		for b := p.Try(size); b != nil; b = p.Try(size) {
			all = append(all, b)
		}
	}
	return all
}

func write(t *testing.T, d blob.Draft, body []byte) {
	t.Helper()
	for len(body) > 0 {
		n := min(len(body), 3000)
		if k, err := d.Write(body[:n]); k != n || err != nil {
			t.Fatalf("Write: got %d, %v, want %d", k, err, n)
		}
		body = body[n:]
	}
}

// finish brings a draft into a batch and reads what was kept.
func finish(t *testing.T, s *Store, d blob.Draft, body []byte) {
	t.Helper()
	if err := d.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := s.Begin(1, 0)
	loc, err := b.Add(0, d, []byte("meta"))
	if err == nil {
		err = b.Sync()
	}
	if err != nil {
		t.Fatal(err)
	}
	d.Discard()
	if got := blobtest.Read(t, s, loc); !bytes.Equal(got, body) {
		t.Errorf("got %d other bytes, want %d", len(got), len(body))
	}
	if err := s.Verify(t.Context(), loc); err != nil {
		t.Error(err)
	}
}
