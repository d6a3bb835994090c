package commit

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
	"time"
)

// How often checkpoints are made.
const (
	checkpointEvery = 5 * time.Second
	// checkpointWrites starts a checkpoint early, at about 100 MB of log. Less
	// often is better: pages that many batches have touched are moved once.
	checkpointWrites = 100_000
	// restartBytes is the length of the log above which the committer stands
	// still for a last checkpoint, after which the log begins anew. Below it
	// that is done when there is little to do, because it takes two flushes.
	restartBytes = 128 << 20
	// maxLogBytes is the length of the log above which a checkpoint waits a
	// moment for readers, so that it can begin anew.
	maxLogBytes = 256 << 20
	// fewWrites between two ticks is little to do.
	fewWrites = 2_000
	// writeBackEvery is how often the system is told to write the log back,
	// so that the flush of a checkpoint finds little left and deliveries do
	// not wait behind it.
	writeBackEvery = 50 * time.Millisecond
	// restAfter is how many checkpointEvery without writing make a rest.
	restAfter = 6
	// checkpointCacheKB is the cache of the connection for checkpoints.
	checkpointCacheKB = 256
)

// checkpoints move the log into the database, on a goroutine and a
// connection of their own.
type checkpoints struct {
	writes atomic.Int64  // statements since the last checkpoint
	soon   chan struct{} // many of them
	maxLog int64         // bytes
	cancel context.CancelFunc
	group  sync.WaitGroup
	db     *sql.DB // opened by the first checkpoint
	conn   *sql.Conn
}

func (k *checkpoints) init() {
	k.soon = make(chan struct{}, 1)
	k.maxLog = maxLogBytes
}

// KeepCheckpoints makes checkpoints in the background until Close. Without
// it there is one, at Close.
func (c *Committer) KeepCheckpoints() {
	ctx, cancel := context.WithCancel(context.Background())
	c.logs.cancel = cancel
	c.logs.group.Go(func() { c.keepCheckpoints(ctx) })
	c.logs.group.Go(func() { c.writeBack(ctx) })
}

func (k *checkpoints) stop() {
	if k.cancel != nil {
		k.cancel()
		k.group.Wait()
	}
	if k.conn != nil {
		k.conn.Close()
		k.db.Close()
		k.conn = nil
	}
}

// wrote counts statements and asks for a checkpoint when there were many.
func (k *checkpoints) wrote(n int) {
	if k.writes.Add(int64(n)) > checkpointWrites {
		select {
		case k.soon <- struct{}{}:
		default:
		}
	}
}

// keepCheckpoints moves the log into the database, in the background first
// and then, when little is left, once more between two batches: only then
// can the log begin anew, whatever the load.
func (c *Committer) keepCheckpoints(ctx context.Context) {
	tick := time.NewTicker(checkpointEvery)
	defer tick.Stop()
	for idle := 0; ; idle++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.logs.soon:
		}
		if n := c.logs.writes.Swap(0); n > 0 {
			idle = 0
			c.checkpoint(n < fewWrites)
		}
		if idle == restAfter {
			c.shrink(ctx)
		}
	}
}

// shrink gives back the writer's cache of pages, which is of use under load
// only.
func (c *Committer) shrink(ctx context.Context) {
	c.Pause(func() {
		if err := c.cfg.Dialect.Shrink(ctx, c.conn); err != nil && ctx.Err() == nil {
			c.cfg.Log.Warn("giving back memory", "error", err)
		}
	})
}

// Checkpoint moves the whole log into the database, before Start.
func (c *Committer) Checkpoint(ctx context.Context) error {
	_, _, err := c.cfg.Dialect.Checkpoint(ctx, c.conn, true)
	return err
}

// lastCheckpoint runs when the loop has ended.
func (c *Committer) lastCheckpoint() {
	if err := c.Checkpoint(context.Background()); err != nil {
		c.cfg.Log.Warn("last checkpoint", "error", err)
	}
	c.cfg.Blobs.Settled(c.durable)
}

// checkpoint runs one checkpoint in the background, and then, if the log is
// long or there is time, the rest of it between two batches.
func (c *Committer) checkpoint(idle bool) {
	ctx := context.Background()
	length, err := c.background(ctx)
	if err != nil {
		c.cfg.Log.Warn("checkpoint", "error", err)
		return
	}
	if length < restartBytes && !idle {
		return
	}
	c.Pause(func() {
		all, length, err := c.cfg.Dialect.Checkpoint(ctx, c.conn, false)
		if err == nil && length > c.logs.maxLog {
			// There was a reader each time that the log could have begun anew.
			all, _, err = c.cfg.Dialect.Checkpoint(ctx, c.conn, true)
		}
		if err != nil {
			c.cfg.Log.Warn("checkpoint", "error", err)
		}
		if all && err == nil {
			c.durable = c.held
			c.cfg.Blobs.Settled(c.durable)
		}
	})
}

// CheckpointNow makes a checkpoint as KeepCheckpoints does at rest.
func (c *Committer) CheckpointNow() { c.checkpoint(true) }

// background runs the part of a checkpoint that holds nobody up, on a
// connection of its own.
func (c *Committer) background(ctx context.Context) (logBytes int64, err error) {
	k := &c.logs
	if k.conn == nil {
		if k.db, err = c.cfg.Dialect.Open(c.cfg.Path, 1, checkpointCacheKB); err != nil {
			return 0, err
		}
		if k.conn, err = k.db.Conn(ctx); err != nil {
			k.db.Close()
			return 0, err
		}
	}
	_, logBytes, err = c.cfg.Dialect.Checkpoint(ctx, k.conn, false)
	return logBytes, err
}
