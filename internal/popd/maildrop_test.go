package popd

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"postrider/internal/mail"
)

// Who comes back at once waits a moment for what the last session still has.
func TestLockWaits(t *testing.T) {
	const never = time.Hour
	for _, tc := range []struct {
		name            string
		patience        time.Duration // of the server
		freed, cut      time.Duration // when the other goes, and when the client does
		want            mail.Kind     // Internal is success
		atLeast, atMost time.Duration
		attempts        int
	}{
		{"free", 0, 0, never, mail.Internal, 0, 0, 1},
		{"freed soon", 0, 5 * time.Millisecond, never, mail.Internal,
			5 * time.Millisecond, 10 * time.Millisecond, 2},
		{"freed later", 0, 600 * time.Millisecond, never, mail.Internal,
			600 * time.Millisecond, time.Second, 7},
		{"not freed", 0, never, never, mail.Locked, time.Second, time.Second, 8},
		{"longer patience", 3 * time.Second, 2 * time.Second, never, mail.Internal,
			2 * time.Second, 3 * time.Second, 9},
		{"no patience", -1, never, never, mail.Locked, 0, 0, 1},
		{"client goes", 0, never, 100 * time.Millisecond, mail.Locked,
			100 * time.Millisecond, 100 * time.Millisecond, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := newFakeStore(time.Now)
				srv := New(Config{Store: st, Patience: tc.patience})
				start := time.Now()
				if tc.freed > 0 {
					_ = st.Acquire(t.Context(), "drop", "other", start.Add(tc.freed))
					st.calls["acquire"] = 0
				}
				ctx, cancel := context.WithTimeout(t.Context(), tc.cut)
				defer cancel()
				err := srv.lock(ctx, "drop", "me")
				if (err == nil) != (tc.want == mail.Internal) || mail.KindOf(err) != tc.want {
					t.Errorf("got %v, want kind %v", err, tc.want)
				}
				if got := time.Since(start); got < tc.atLeast || got > tc.atMost {
					t.Errorf("got %v, want %v to %v", got, tc.atLeast, tc.atMost)
				}
				if got := st.count("acquire"); got != tc.attempts {
					t.Errorf("got %d attempts, want %d", got, tc.attempts)
				}
			})
		})
	}
}

// The same through two sessions: the second is let in when the first ends.
func TestReconnect(t *testing.T) {
	r := newRig(t)
	r.addUser(alice, "secret")
	o := defaults()
	o.config.Patience = time.Minute
	r.start(o)
	first, second := r.dial(), r.dial()
	first.login(alice)
	refused := make(chan struct{}, 100)
	r.store.mu.Lock()
	r.store.refused = func() { refused <- struct{}{} }
	r.store.mu.Unlock()
	second.ask("USER "+alice, "+OK")
	_, _ = second.conn.Write([]byte("PASS secret\r\n"))
	<-refused
	first.ask("QUIT", "+OK")
	second.line("+OK maildrop has")
}
