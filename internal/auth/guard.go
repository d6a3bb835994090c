package auth

import (
	"context"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"postrider/internal/mail"
)

const (
	// freePair is how many wrong passwords one address may send for one
	// account without a delay; the next ones wait 1, 2, 4… seconds.
	freePair = 1
	// freeWide is the same for an address over all accounts, behind which
	// there may be an office, and for an account over all addresses.
	freeWide = 20
	// maxFailures limits a count. Failures are forgotten one by one, this many
	// in the time of Policy.Forgive, so that a telephone with an old password
	// does not gather more and more.
	maxFailures = freeWide + 10
	// maxGuarded limits the counts in memory, at some 100 bytes each.
	maxGuarded = 1 << 16
	// maxWaiting is how many logins may wait for the end of a delay at once,
	// and maxWaitingEach how many of them for one address; where the address
	// is exempt, for one account at it.
	maxWaiting     = 512
	maxWaitingEach = 8
)

// A guard slows down those who guess. It counts failures for an address with
// an account, for an address, and for an account. The first two hold back
// whoever comes from that address until the delay is over, also on another
// connection. The last delays failures only: he who knows the password is
// not locked out by what others do elsewhere.
type guard struct {
	seed   maphash.Seed
	closed <-chan struct{} // ends all waiting; nil: nothing does

	mu      sync.Mutex
	counts  map[guardKey]*failures
	waiting map[guardKey]int // logins that wait, by address
	waits   int              // their sum
}

// A guardKey is what failures are counted for. An address counts with its
// network: 64 bits of IPv6, which one client has for itself. Users are known
// by a hash, whether they exist or not.
type guardKey struct {
	address netip.Addr // zero: for the account at all addresses
	user    uint64     // zero: for the address with all accounts
}

type guardKeys struct {
	pair, address, account guardKey
	// exempt says that nothing is counted for the address as a whole: not its
	// failures, and its waiting logins for each account alone.
	exempt bool
}

// waiting is what logins that wait are counted for.
func (k *guardKeys) waiting() guardKey {
	if k.exempt {
		return k.pair
	}
	return k.address
}

type failures struct {
	count int
	until time.Time // when the delay of the last one is over
}

func newGuard() *guard {
	return &guard{
		seed:    maphash.MakeSeed(),
		counts:  make(map[guardKey]*failures),
		waiting: make(map[guardKey]int),
	}
}

// keys gives the keys of an attempt. A name that cannot be an account's is
// counted as it was given.
func (g *guard) keys(
	remote netip.Addr, exempt bool, a mail.Address, given string,
) guardKeys {
	if remote.Is6() {
		if p, err := remote.Prefix(64); err == nil {
			remote = p.Addr()
		}
	}
	if !a.IsZero() {
		given = a.Key()
	}
	user := maphash.String(g.seed, given) | 1 // never zero
	return guardKeys{
		pair:    guardKey{remote, user},
		address: guardKey{address: remote},
		account: guardKey{user: user},
		exempt:  exempt,
	}
}

// enter waits until the delays of earlier failures from the address are over.
// It fails with ErrTooMany as soon as they will not be by the given time:
// somebody else has failed meanwhile.
func (g *guard) enter(
	ctx context.Context, k *guardKeys, by time.Time, now func() time.Time,
) error {
	for {
		t := now()
		delay := g.left(k, t)
		switch {
		case delay <= 0:
			return nil
		case delay > by.Sub(t):
			return ErrTooMany
		}
		if err := g.wait(ctx, k, delay); err != nil {
			return err
		}
	}
}

// left says how long the delays of earlier failures still run.
func (g *guard) left(k *guardKeys, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.counts) == 0 {
		return 0
	}
	var left time.Duration
	if f := g.counts[k.pair]; f != nil {
		left = f.until.Sub(now)
	}
	if f := g.counts[k.address]; f != nil && !k.exempt {
		left = max(left, f.until.Sub(now))
	}
	return left
}

// failed counts a failure and says how long its answer is to be held back.
func (g *guard) failed(k *guardKeys, p *Policy, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	delay := max(g.count(k.pair, freePair, p, now), g.count(k.account, freeWide, p, now))
	if !k.exempt {
		delay = max(delay, g.count(k.address, freeWide, p, now))
	}
	return delay
}

func (g *guard) count(k guardKey, free int, p *Policy, now time.Time) time.Duration {
	f := g.counts[k]
	if f == nil {
		if len(g.counts) >= maxGuarded {
			g.evict()
		}
		f = &failures{}
		g.counts[k] = f
	}
	forgiven := max(now.Sub(f.until), 0) / max(p.Forgive/maxFailures, 1)
	f.count = max(f.count-int(min(forgiven, maxFailures)), 0) + 1
	f.count = min(f.count, maxFailures)
	delay := delayOf(f.count-free, p)
	f.until = now.Add(delay)
	return delay
}

// delayOf gives the delay of the nth failure beyond the free ones.
func delayOf(n int, p *Policy) time.Duration {
	if n <= 0 || p.FirstDelay <= 0 {
		return 0
	}
	d := p.FirstDelay
	for ; n > 1 && d < p.MaxDelay; n-- {
		d *= 2
	}
	return min(d, p.MaxDelay)
}

// forgive drops the count of an address with an account after a login there.
// The address keeps its own: a guesser may have one good account.
func (g *guard) forgive(k *guardKeys) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.counts) > 0 {
		delete(g.counts, k.pair)
	}
}

// evict drops the oldest of a few counts.
func (g *guard) evict() {
	var victim guardKey
	var oldest time.Time
	seen := 0
	for k, f := range g.counts {
		if seen == 0 || f.until.Before(oldest) {
			victim, oldest = k, f.until
		}
		if seen++; seen >= evictSample {
			break
		}
	}
	delete(g.counts, victim)
}

// wait lets time pass. When too many wait already it fails with ErrTooMany at
// once; when ctx ends or the guard is closed, with ErrTemporary.
func (g *guard) wait(ctx context.Context, k *guardKeys, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	key := k.waiting()
	g.mu.Lock()
	if g.waits >= maxWaiting || g.waiting[key] >= maxWaitingEach {
		g.mu.Unlock()
		return ErrTooMany
	}
	g.waits++
	g.waiting[key]++
	g.mu.Unlock()
	defer g.done(key)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
	case <-g.closed:
	}
	return ErrTemporary
}

func (g *guard) done(key guardKey) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waits--
	if g.waiting[key]--; g.waiting[key] == 0 {
		delete(g.waiting, key)
	}
}
