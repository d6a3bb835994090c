package sqlstore

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
	"time"
)

// How often the keeper does what.
const (
	checkpointEvery = 5 * time.Second
	// checkpointWrites starts a checkpoint early, at about 100 MB of log. Less
	// often is better: pages that many batches have touched are moved once.
	checkpointWrites = 100_000
	// restartBytes is the length of the log above which the committer stands
	// still for a last checkpoint, after which the log begins anew. Below it
	// that is done when there is little to do, because it takes two flushes.
	restartBytes = 128 << 20
	// fewWrites between two ticks is little to do.
	fewWrites = 2_000
	// writeBackEvery is how often the system is told to write the log back,
	// so that the flush of a checkpoint finds little left and deliveries do
	// not wait behind it.
	writeBackEvery = 50 * time.Millisecond
	// maxLogBytes is the length of the log above which a checkpoint waits a
	// moment for readers, so that it can begin anew.
	maxLogBytes   = 256 << 20
	tracesEvery   = 5 * time.Second
	sweepEvery    = time.Hour
	snapshotEvery = time.Minute
	// restAfter is how many checkpointEvery without writing make a rest.
	restAfter = 6
)

// A keeper does the background work of a store: checkpoints, traces,
// snapshots, and winning back space. It has several goroutines, so that
// neither checkpoints nor notes and snapshots wait for a sweep.
type keeper struct {
	writes   atomic.Int64 // statements since the last checkpoint
	soon     chan struct{}
	changed  atomic.Bool // the snapshot is out of date
	cancel   context.CancelFunc
	group    sync.WaitGroup
	db       *sql.DB // for checkpoints
	conn     *sql.Conn
	volumes  map[int64]time.Time // when each was first seen sealed
	lastSnap time.Time
}

func (k *keeper) start(s *Store) {
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	k.soon = make(chan struct{}, 1)
	k.volumes = map[int64]time.Time{}
	k.snapshotSoon() // what a crash kept from being written
	k.group.Go(func() { s.keepCheckpoints(ctx) })
	k.group.Go(func() { s.writeBack(ctx) })
	k.group.Go(func() { s.keepNotes(ctx) })
	k.group.Go(func() { s.keepTidy(ctx) })
}

func (k *keeper) stop() {
	if k.cancel != nil {
		k.cancel()
		k.group.Wait()
		if k.conn != nil {
			k.conn.Close()
			k.db.Close()
		}
	}
}

// wrote counts statements and asks for a checkpoint when there were many.
func (k *keeper) wrote(n int) {
	if k.soon != nil && k.writes.Add(int64(n)) > checkpointWrites {
		select {
		case k.soon <- struct{}{}:
		default:
		}
	}
}

// snapshotSoon notes that accounts, domains or settings have changed.
func (k *keeper) snapshotSoon() { k.changed.Store(true) }

// keepCheckpoints moves the log into the database, in the background first
// and then, when little is left, once more between two batches: only then
// can the log begin anew, whatever the load.
func (s *Store) keepCheckpoints(ctx context.Context) {
	tick := time.NewTicker(checkpointEvery)
	defer tick.Stop()
	for idle := 0; ; idle++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.keeper.soon:
		}
		if n := s.keeper.writes.Swap(0); n > 0 {
			idle = 0
			s.checkpoint(n < fewWrites)
		}
		if idle == restAfter {
			s.shrink(ctx)
		}
	}
}

// shrink gives back the writer's cache of pages, which is of use under load
// only.
func (s *Store) shrink(ctx context.Context) {
	s.committer.pause(func() {
		if err := s.dialect.shrink(ctx, s.committer.conn); err != nil && ctx.Err() == nil {
			s.log.Warn("giving back memory", "error", err)
		}
	})
}

// lastCheckpoint runs when the committer has ended.
func (s *Store) lastCheckpoint() {
	c := s.committer
	if _, _, err := s.dialect.checkpoint(context.Background(), c.conn, true); err != nil {
		s.log.Warn("last checkpoint", "error", err)
	}
	s.blobs.Settled(c.durable)
}

// checkpoint runs one checkpoint in the background, and then, if the log is
// long or there is time, the rest of it between two batches.
func (s *Store) checkpoint(idle bool) {
	ctx := context.Background()
	c := s.committer
	length, err := s.background(ctx)
	if err != nil {
		s.log.Warn("checkpoint", "error", err)
		return
	}
	if length < restartBytes && !idle {
		return
	}
	c.pause(func() {
		all, length, err := s.dialect.checkpoint(ctx, c.conn, false)
		if err == nil && length > s.maxLog {
			// There was a reader each time that the log could have begun anew.
			all, _, err = s.dialect.checkpoint(ctx, c.conn, true)
		}
		if err != nil {
			s.log.Warn("checkpoint", "error", err)
		}
		if all && err == nil {
			c.durable = c.held
			s.blobs.Settled(c.durable)
		}
	})
}

// background runs the part of a checkpoint that holds nobody up, on a
// connection of its own.
func (s *Store) background(ctx context.Context) (logBytes int64, err error) {
	k := &s.keeper
	if k.conn == nil {
		if k.db, err = s.dialect.open(s.cfg.Path, 1, 256); err != nil {
			return 0, err
		}
		if k.conn, err = k.db.Conn(ctx); err != nil {
			k.db.Close()
			return 0, err
		}
	}
	_, logBytes, err = s.dialect.checkpoint(ctx, k.conn, false)
	return logBytes, err
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
		err := s.committer.do(volatile, true, func(t *tx) (err error) {
			n, err = t.changed(`DELETE FROM trace WHERE id IN (SELECT id FROM trace WHERE id < $1
				ORDER BY id LIMIT 200)`, before)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
	}
	return ctx.Err()
}

// pause runs f between two batches, on the committer's goroutine.
func (c *committer) pause(f func()) {
	done := make(chan struct{})
	c.mu.Lock()
	if c.closed || c.failed != nil {
		c.mu.Unlock()
		return
	}
	c.between = append(c.between, func() { f(); close(done) })
	c.mu.Unlock()
	c.wake.Signal()
	<-done
}
