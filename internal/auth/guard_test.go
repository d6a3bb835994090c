package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// took tells how long f needs on the bubble's clock.
func took(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// channelFrom is a channel on which clear text is allowed.
func channelFrom(t *testing.T, address string) *Channel {
	return &Channel{Remote: netip.MustParseAddr(address), TLS: serverState(t, 0)}
}

func TestDelayGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, _ := newTest(t, nil)
		office, elsewhere := channelFrom(t, "192.0.2.7"), channelFrom(t, "192.0.2.8")
		try := func(c *Channel, user, password string) (got time.Duration, err error) {
			got = took(func() { _, err = a.Password(t.Context(), c, user, password) })
			return got, err
		}
		// An unknown user is held back like a known one.
		for _, user := range []string{"alice", "mallory"} {
			for i, want := range []time.Duration{0, 1, 2, 4, 8, 16, 30, 30} {
				got, err := try(office, user, "x")
				if got != want*time.Second || !errors.Is(err, ErrCredentials) {
					t.Errorf("failure %d of %s: got %v, %v, want %v s", i+1, user, got, err, want)
				}
			}
		}
		if got, err := try(elsewhere, "alice", rightPassword); got != 0 || err != nil {
			t.Errorf("from elsewhere: got %v, %v", got, err)
		}
		if got, err := try(office, "dave", rightPassword); got != 0 || err != nil {
			t.Errorf("a colleague: got %v, %v", got, err)
		}
		if got, err := try(office, "alice", rightPassword); got != 0 || err != nil {
			t.Errorf("after the delay was served: got %v, %v", got, err)
		}
		if got, _ := try(office, "alice", "x"); got != 0 {
			t.Errorf("first failure after a login: got %v", got)
		}
		try(office, "alice", "x")
		try(office, "alice", "x")
		time.Sleep(15 * time.Minute)
		if got, _ := try(office, "alice", "x"); got != 0 {
			t.Errorf("first failure after long: got %v", got)
		}
	})
}

// A delay holds on another connection too: more hands do not help.
func TestDelayHoldsNextAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, _ := newTest(t, nil)
		c := channelFrom(t, "2001:db8::1")
		neighbour := channelFrom(t, "2001:db8::2") // of the same network
		for range 4 {
			a.Password(t.Context(), c, "alice", "x")
		}
		go a.Password(t.Context(), c, "alice", "x") // earns 8 s
		synctest.Wait()
		var err error
		got := took(func() {
			_, err = a.Password(t.Context(), neighbour, "alice@EXAMPLE.org", rightPassword)
		})
		if got != 8*time.Second || err != nil {
			t.Errorf("got %v, %v, want 8s", got, err)
		}
	})
}

func TestDelayOverManyAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, _ := newTest(t, nil)
		c := channelFrom(t, "192.0.2.7")
		var last time.Duration
		for i := range freeWide + 3 {
			last = took(func() {
				a.Password(t.Context(), c, fmt.Sprintf("user%d", i), "x")
			})
			if i < freeWide && last != 0 {
				t.Fatalf("account %d: got %v", i+1, last)
			}
		}
		if last != 4*time.Second {
			t.Errorf("got %v, want 4s", last)
		}
	})
}

func TestDelayOverManyAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, _ := newTest(t, nil)
		c := channelFrom(t, "192.0.2.1")
		var last time.Duration
		for i := range freeWide + 3 {
			c.Remote = netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})
			last = took(func() { a.Password(t.Context(), c, "alice", "x") })
		}
		if last != 4*time.Second {
			t.Errorf("got %v, want 4s", last)
		}
		go a.Password(t.Context(), c, "alice", "x")
		synctest.Wait()
		c = channelFrom(t, "192.0.2.1")
		var err error
		last = took(func() { _, err = a.Password(t.Context(), c, "alice", rightPassword) })
		if last != 0 || err != nil {
			t.Errorf("the owner is locked out: %v, %v", last, err)
		}
	})
}

// An exempt address is not counted, but each account at it is.
func TestDelayExempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, _ := newTest(t, nil)
		c := channelFrom(t, "127.0.0.1")
		try := func(user, password string) (got time.Duration, err error) {
			got = took(func() { _, err = a.Password(t.Context(), c, user, password) })
			return got, err
		}
		for i, want := range []time.Duration{0, 1, 2, 4, 8, 16} {
			if got, _ := try("alice", "x"); got != want*time.Second {
				t.Errorf("failure %d: got %v, want %d s", i+1, got, want)
			}
		}
		for i := range freeWide + 3 {
			if got, _ := try(fmt.Sprintf("user%d", i), "x"); got != 0 {
				t.Errorf("account %d: got %v", i+1, got)
			}
		}
		for range maxWaitingEach {
			go a.Password(t.Context(), c, "alice", "x")
		}
		try("eve", "x")
		go a.Password(t.Context(), c, "eve", "x")
		synctest.Wait()
		if got, err := try("dave", rightPassword); got != 0 || err != nil {
			t.Errorf("a colleague: got %v, %v", got, err)
		}
		if got, err := try("eve", "x"); got != 3*time.Second || !errors.Is(err, ErrCredentials) {
			t.Errorf("others fill the room to wait: got %v, %v", got, err)
		}
		time.Sleep(time.Minute)
		if got, err := try("alice", rightPassword); got != 0 || err != nil {
			t.Errorf("after the delay: got %v, %v", got, err)
		}
		if got, _ := try("alice", "x"); got != 0 {
			t.Errorf("first failure after a login: got %v", got)
		}
	})
}

// Whatever others do, no answer is held back for longer than MaxDelay.
func TestDelayIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, _ := newTest(t, nil)
		c, other := channelFrom(t, "192.0.2.7"), channelFrom(t, "192.0.2.8")
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				for range 10 {
					got := took(func() { a.Password(t.Context(), c, "alice", "x") })
					if most := DefaultPolicy().MaxDelay; got > most {
						t.Errorf("password: got %v, want %v at most", got, most)
					}
				}
			})
			wg.Go(func() {
				for range 10 {
					x, err := a.Start(other, mechSHA256)
					if err != nil {
						t.Error(err)
						return
					}
					e := x.(*scramExchange)
					if _, _, err := x.Next([]byte("n,,n=dave,r=abc")); err != nil {
						continue
					}
					proof := base64.StdEncoding.EncodeToString(make([]byte, 32))
					got := took(func() { e.Next([]byte("c=biws,r=" + e.nonce + ",p=" + proof)) })
					if most := DefaultPolicy().MaxDelay; got > most {
						t.Errorf("proof: got %v, want %v at most", got, most)
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestDelayEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, _ := newTest(t, nil)
		c := channelFrom(t, "192.0.2.7")
		for range 4 {
			a.Password(t.Context(), c, "alice", "x")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var err error
		got := took(func() { _, err = a.Password(ctx, c, "alice", "x") })
		if got != time.Second || !errors.Is(err, ErrTemporary) {
			t.Errorf("got %v, %v", got, err)
		}
		x, err := a.Start(c, "PLAIN")
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, a.Close)
		got = took(func() { _, _, err = x.Next([]byte("\x00alice\x00x")) })
		if got != time.Second || !errors.Is(err, ErrTemporary) {
			t.Errorf("closed: got %v, %v", got, err)
		}
	})
}

func TestTooManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, _ := newTest(t, nil)
		c := channelFrom(t, "192.0.2.7")
		for range 3 {
			a.Password(t.Context(), c, "alice", "x")
		}
		const all = maxWaitingEach + 5
		var mu sync.Mutex
		var refused int
		var wg sync.WaitGroup
		go a.Password(t.Context(), c, "alice", "x") // begins to serve 4 s
		synctest.Wait()
		for range all {
			wg.Go(func() {
				if _, err := a.Password(t.Context(), c, "alice", "x"); errors.Is(err, ErrTooMany) {
					mu.Lock()
					refused++
					mu.Unlock()
				}
			})
		}
		synctest.Wait()
		if got := a.guard.waitingNow(); got != maxWaitingEach {
			t.Errorf("got %d waiting, want %d", got, maxWaitingEach)
		}
		mu.Lock()
		if refused != all-maxWaitingEach+1 {
			t.Errorf("got %d refused, want %d", refused, all-maxWaitingEach+1)
		}
		mu.Unlock()
		wg.Wait()
		time.Sleep(time.Hour)
		if len(a.guard.waiting) != 0 || a.guard.waits != 0 {
			t.Errorf("left over: %v, %d", a.guard.waiting, a.guard.waits)
		}
	})
}

// failures is the count of a key, while others go on.
func (g *guard) failures(k guardKey) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counts[k].count
}

func (g *guard) waitingNow() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waits
}

// Guesses sent side by side are not all looked at.
func TestDelayOfParallelGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, _ := newTest(t, nil)
		c := channelFrom(t, "192.0.2.7")
		const all = 40
		for i := range all {
			go a.Password(t.Context(), c, "alice", fmt.Sprint("guess ", i))
		}
		synctest.Wait()
		keys := a.guard.keys(c.Remote, false, mail.Address{Local: "alice", Domain: "example.org"}, "")
		if got := a.guard.failures(keys.pair); got > workers+2 {
			t.Errorf("%d of %d passwords were tried at once", got, all)
		}
		time.Sleep(time.Hour)

		x := make([]Exchange, all)
		for i := range x {
			x[i], _ = a.Start(c, mechSHA256)
			if _, _, err := x[i].Next([]byte("n,,n=dave,r=abc")); err != nil {
				t.Fatal(err)
			}
		}
		for i := range x {
			e := x[i].(*scramExchange)
			proof := base64.StdEncoding.EncodeToString(make([]byte, 32))
			go e.Next([]byte("c=biws,r=" + e.nonce + ",p=" + proof))
		}
		synctest.Wait()
		keys = a.guard.keys(c.Remote, false, mail.Address{Local: "dave", Domain: "example.org"}, "")
		if got := a.guard.failures(keys.pair); got > workers+2 {
			t.Errorf("%d of %d proofs were tried at once", got, all)
		}
		time.Sleep(time.Hour)
	})
}

func TestGuardIsBounded(t *testing.T) {
	g := newGuard()
	p := DefaultPolicy()
	now := time.Now()
	for i := range maxGuarded {
		k := g.keys(here, false, mail.Address{}, fmt.Sprint(i))
		g.failed(&k, &p, now)
	}
	if got := len(g.counts); got > maxGuarded {
		t.Errorf("got %d counts, want %d at most", got, maxGuarded)
	}
}

func TestMemoryExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s, _ := newTest(t, nil)
		login := func() {
			t.Helper()
			_, err := a.Password(t.Context(), &Channel{Remote: here}, "alice", rightPassword)
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, step := range []struct {
			after time.Duration
			reads int
		}{
			{0, 1}, {9 * time.Minute, 1}, {9 * time.Minute, 1}, {10 * time.Minute, 2},
			{time.Second, 2},
		} {
			time.Sleep(step.after)
			login()
			if s.reads != step.reads {
				t.Errorf("after %v: got %d reads, want %d", step.after, s.reads, step.reads)
			}
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	m := newMemory()
	now := time.Now()
	var d [32]byte
	for i := range maxKnown + 1000 {
		m.remember(&store.Account{ID: mail.AccountID(i)}, &d, "", now, time.Minute)
	}
	if got := len(m.accounts); got != maxKnown {
		t.Errorf("got %d accounts, want %d", got, maxKnown)
	}
	acct := &store.Account{ID: 1, Version: 3}
	for i := range byte(3 * maxKnownEach) {
		d[0] = i
		m.remember(acct, &d, "", now.Add(time.Duration(i)), time.Minute)
	}
	if got := len(m.accounts[1].passwords); got != maxKnownEach {
		t.Errorf("got %d passwords, want %d", got, maxKnownEach)
	}
	if _, ok := m.check(acct, &d, now, time.Minute); !ok {
		t.Error("the newest is not there")
	}
	m.remember(&store.Account{ID: 1, Version: 2}, &d, "", now, time.Minute)
	if m.accounts[1].version != 3 {
		t.Error("an older version took the place of a newer one")
	}
}

func TestWorkshop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkshop()
		ctx, cancel := context.WithCancel(t.Context())
		if err := w.enterBulk(ctx); err != nil {
			t.Fatal(err)
		}
		if err := w.enter(ctx); err != nil {
			t.Fatal(err)
		}
		results := make(chan error, maxQueue+1)
		for range maxQueue + 1 {
			go func() { results <- w.enter(ctx) }()
		}
		synctest.Wait()
		if len(results) != 1 {
			t.Errorf("got %d refused at once, want 1", len(results))
		}
		w.leave()
		synctest.Wait()
		w.leaveBulk()
		synctest.Wait()
		cancel()
		synctest.Wait()
		ok := 0
		for range maxQueue + 1 {
			if err := <-results; err == nil {
				ok++
			} else if !errors.Is(err, ErrTemporary) {
				t.Errorf("got %v, want %v", err, ErrTemporary)
			}
		}
		if ok != 2 {
			t.Errorf("got %d places, want 2", ok)
		}
	})
}

func TestLog(t *testing.T) {
	var out bytes.Buffer
	a, _, _ := newTest(t, func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(&out, nil))
	})
	c := &Channel{Service: "pop", Session: "s7", Remote: here}
	for _, test := range []struct{ user, password, want string }{
		{"alice", "Secret1", `user=alice reason="wrong password"`},
		{"mal\nlory", "Secret1", `user="mal\nlory" reason="unknown user"`},
		{strings.Repeat("x", 99) + "é", "Secret1", "user=" + strings.Repeat("x", 99) + "…"},
		{"bob", rightPassword, `reason="account disabled"`},
		{"dave", rightPassword, `reason="clear text without TLS"`},
	} {
		out.Reset()
		a.Password(t.Context(), c, test.user, test.password)
		got := out.String()
		if !strings.Contains(got, test.want) || strings.Contains(got, test.password) ||
			!strings.Contains(got, "service=pop session=s7 address=127.0.0.1 method=USER") ||
			!strings.Contains(got, "level=ERROR") ||
			strings.Count(got, "\n") != 1 {
			t.Errorf("got %s\nwant %s", got, test.want)
		}
	}
}
