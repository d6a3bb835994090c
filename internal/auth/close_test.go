package auth

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestClose ends the waiting of a login whose own context goes on.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, _ := newTest(t, nil)
		for range 3 {
			_, _ = a.Password(t.Context(), &Channel{Remote: here}, "alice", "wrong")
		}
		start := time.Now()
		time.AfterFunc(time.Second, a.Close)
		_, err := a.Password(t.Context(), &Channel{Remote: here}, "alice", "wrong")
		if took := time.Since(start); !errors.Is(err, ErrTemporary) || took != time.Second {
			t.Errorf("got %v after %v, want %v after 1s", err, took, ErrTemporary)
		}
		if _, err := a.Password(t.Context(), &Channel{Remote: here}, "alice", "wrong"); !errors.Is(
			err, ErrTemporary) || time.Since(start) != time.Second {
			t.Errorf("after Close got %v, want %v at once", err, ErrTemporary)
		}
	})
}
