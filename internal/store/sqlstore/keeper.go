package sqlstore

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"postrider/internal/store/commit"
)

// How often the keeper does what.
const (
	tracesEvery   = 5 * time.Second
	sweepEvery    = time.Hour
	snapshotEvery = time.Minute
)

// A keeper does the background work of a store besides checkpoints: traces,
// snapshots, and winning back space. It has two goroutines, so that notes and
// snapshots do not wait for a sweep.
type keeper struct {
	changed  atomic.Bool // the snapshot is out of date
	cancel   context.CancelFunc
	group    sync.WaitGroup
	volumes  map[int64]time.Time // when each was first seen sealed
	lastSnap time.Time
}

func (k *keeper) start(s *Store) {
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	k.volumes = map[int64]time.Time{}
	k.snapshotSoon() // what a crash kept from being written
	k.group.Go(func() { s.keepNotes(ctx) })
	k.group.Go(func() { s.keepTidy(ctx) })
}

func (k *keeper) stop() {
	if k.cancel != nil {
		k.cancel()
		k.group.Wait()
	}
}

// snapshotSoon notes that accounts, domains or settings have changed.
func (k *keeper) snapshotSoon() { k.changed.Store(true) }

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
		now := s.now()
		if now.Sub(s.keeper.lastSnap) >= snapshotEvery {
			if err := s.writeSnapshot(ctx); err != nil {
				s.log.Error("writing the state snapshot", "error", err)
			}
		}
	}
}

// keepTidy wins back space, soon after the start and then hourly.
func (s *Store) keepTidy(ctx context.Context) {
	wait := time.NewTimer(tracesEvery)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		if err := s.Tidy(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("winning back space", "error", err)
		}
		wait.Reset(sweepEvery)
	}
}

// Tidy removes what nothing refers to any more: mail of removed accounts,
// old traces, bodies without messages, thin volumes. It runs in small steps
// after everybody who waits; the background calls it hourly.
func (s *Store) Tidy(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		s.purge, s.expireTraces, s.sweep, s.compact} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// expireTraces removes traces that are old enough.
func (s *Store) expireTraces(ctx context.Context) error {
	if s.cfg.TraceKeep == nil || s.cfg.TraceKeep() <= 0 {
		return nil
	}
	// Ids carry the time, so the oldest are found without an index.
	before := s.now().Add(-s.cfg.TraceKeep()).UnixMilli() << 20
	for ctx.Err() == nil {
		var n int64
		err := s.do(commit.Volatile, true, func(t *tx) (err error) {
			n, err = t.Changed(`DELETE FROM trace WHERE id IN (SELECT id FROM trace WHERE id < $1
				ORDER BY id LIMIT 200)`, before)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
	}
	return ctx.Err()
}
