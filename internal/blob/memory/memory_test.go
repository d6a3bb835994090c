package memory

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postrider/internal/mail"
)

func TestSizes(t *testing.T) {
	p := New(Small + Large)
	small, err := p.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	large := p.Try(Large)
	if large == nil || cap(large.B) != Large || cap(small.B) != Small || p.Free() != 0 {
		t.Fatalf("got %d and %d bytes with %d left", cap(small.B), cap(large.B), p.Free())
	}
	if p.Try(Large) != nil {
		t.Error("got another one, want none")
	}
	large.B = append(large.B, "something"...)
	p.Put(large)
	if again := p.Try(Large); again == nil || len(again.B) != 0 {
		t.Error("got none, or one that is not empty")
	}
	if got := New(1).Free(); got != Small {
		t.Errorf("a limit of 1 byte: got %d bytes, want one small buffer", got)
	}
}

// TestWaiting has three wait, of whom the second gives up.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(2 * Small)
		a, _ := p.Wait(t.Context())
		b, _ := p.Wait(t.Context())
		var order []int
		var mu sync.Mutex
		ctx, cancel := context.WithCancel(t.Context())
		for i, ctx := range []context.Context{t.Context(), ctx, t.Context()} {
			go func() {
				_, err := p.Wait(ctx)
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
				if i == 1 && (mail.KindOf(err) != mail.Full || !errors.Is(err, context.Canceled)) {
					t.Errorf("given up: got %v, want full", err)
				} else if i != 1 && err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		p.Put(a)
		synctest.Wait()
		p.Put(b)
		synctest.Wait()
		if len(order) != 3 || order[0] != 1 || order[1] != 0 || order[2] != 2 {
			t.Errorf("got served %v, want 1 (which gave up), 0, 2", order)
		}
		if got := p.Free(); got != 0 {
			t.Errorf("got %d bytes free, want 0", got)
		}
	})
}

// TestTryLetsWaitersGoFirst wants nobody to grow while others wait.
func TestTryLetsWaitersGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Large)
		a := p.Try(Large)
		go func() { _, _ = p.Wait(t.Context()) }()
		synctest.Wait()
		if p.Try(Large) != nil {
			t.Error("got a large buffer while somebody waits")
		}
		p.Put(a)
		synctest.Wait()
		if got := p.Free(); got != Large-Small {
			t.Errorf("got %d bytes free, want %d", got, Large-Small)
		}
	})
}

// TestPatience has one wait to the end, and then another be served.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Small)
		a, _ := p.Wait(t.Context())
		start := time.Now()
		if _, err := p.Wait(t.Context()); mail.KindOf(err) != mail.Full {
			t.Errorf("got %v, want full", err)
		}
		if took := time.Since(start); took != Patience {
			t.Errorf("got an answer after %v, want %v", took, Patience)
		}
		if p.Pressed() {
			t.Error("pressed, though nobody waits any more")
		}
		p.Put(a)
		if _, err := p.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestPressed is true while somebody has waited for some time.
func TestPressed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(2 * Small)
		a, _ := p.Wait(t.Context())
		b := p.Try(Small)
		if p.Pressed() || p.Try(Small) != nil {
			t.Error("pressed before anybody waits, or gives more than it has")
		}
		for range 2 {
			go func() { _, _ = p.Wait(t.Context()) }()
			synctest.Wait()
			time.Sleep(pressure - 1)
		}
		if !p.Pressed() {
			t.Error("not pressed by the first")
		}
		p.Put(a)
		if p.Pressed() {
			t.Error("pressed by the second too early")
		}
		time.Sleep(1)
		if !p.Pressed() {
			t.Error("not pressed by the second")
		}
		p.Put(b)
		synctest.Wait()
		if p.Pressed() {
			t.Error("pressed when all are served")
		}
	})
}
