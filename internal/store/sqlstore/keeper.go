package sqlstore

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// How often the keeper does what.
const (
	tracesEvery = 5 * time.Second
	sweepEvery  = time.Hour
	expireEvery = time.Minute // traces, if there are very many
	// A snapshot is written at once after a change; then the next one waits a
	// while, and longer where it takes long, since it holds all accounts.
	snapshotPause  = time.Second
	snapshotEvery  = time.Minute
	snapshotFactor = 50
)

// A keeper does the background work of a store besides checkpoints: traces,
// snapshots, and winning back space. Deliveries that are due,
// notes and snapshots, and the sweep have a goroutine each, so that none waits
// for another.
type keeper struct {
	changed atomic.Bool   // the snapshot is out of date
	pending chan struct{} // deliveries may have become due
	cancel  context.CancelFunc
	group   sync.WaitGroup
	state   chan struct{} // accounts, domains or settings have changed
}

func (k *keeper) start(s *Store) {
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	k.state = make(chan struct{}, 1)
	k.snapshotSoon()
	k.group.Go(func() { s.keepState(ctx) })
	k.pending = make(chan struct{}, 1)
	k.group.Go(func() { s.keepPending(ctx) })
	k.group.Go(func() { s.keepNotes(ctx) })
	k.group.Go(func() { s.keepTidy(ctx) })
}

func (k *keeper) stop() {
	if k.cancel != nil {
		k.cancel()
		k.group.Wait()
	}
}

// pendingSoon has deliveries looked for that are due, now or soon.
func (k *keeper) pendingSoon() {
	select {
	case k.pending <- struct{}{}:
	default:
	}
}

// snapshotSoon notes that accounts, domains or settings have changed.
func (k *keeper) snapshotSoon() {
	k.changed.Store(true)
	select {
	case k.state <- struct{}{}:
	default: // somebody has, or nothing runs in the background
	}
}

// keepNotes writes what was noted in memory, and the snapshot.
func (s *Store) keepNotes(ctx context.Context) {
	tick := time.NewTicker(tracesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.flushTraces(); err != nil && ctx.Err() == nil {
			s.log.Warn("writing traces", "error", err)
		}
		if err := s.flushFetched(); err != nil && ctx.Err() == nil {
			s.log.Warn("writing what was fetched", "error", err)
		}
		if err := s.staged.Finish(); err != nil && ctx.Err() == nil {
			s.log.Error("finishing a change of accounts", "error", err)
		}
	}
}

// keepState writes the snapshot soon after every change, a change at the start
// included: what a crash has kept from being written.
func (s *Store) keepState(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.keeper.state:
		}
		began := time.Now()
		if err := s.writeSnapshot(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("writing the state snapshot", "error", err)
		}
		pause := min(max(snapshotPause, snapshotFactor*time.Since(began)), snapshotEvery)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if s.keeper.changed.Load() {
			s.keeper.snapshotSoon()
		}
	}
}

// keepTidy wins back space, soon after the start and then hourly, and that of
// traces when they are very many.
func (s *Store) keepTidy(ctx context.Context) {
	wait := time.NewTimer(tracesEvery)
	defer wait.Stop()
	for swept := (time.Time{}); ; {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		var err error
		if time.Since(swept) >= sweepEvery {
			err = s.Tidy(ctx)
			swept = time.Now()
		} else if s.tooManyTraces() {
			s.traced.Store(0)
			err = s.broom.ExpireTraces(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("winning back space", "error", err)
		}
		wait.Reset(expireEvery)
	}
}

// Tidy removes what nothing refers to any more: mail of removed accounts,
// old traces, bodies without messages, thin volumes. The background calls it
// hourly.
func (s *Store) Tidy(ctx context.Context) error { return s.broom.Run(ctx) }
