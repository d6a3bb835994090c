package commit

import (
	"context"

	"postrider/internal/mail"
)

// loop serves batches until Close.
func (c *Committer) loop() {
	defer close(c.finished)
	for {
		ops, between := c.next()
		for _, f := range between {
			f()
		}
		switch {
		case len(ops) > 0:
			c.serve(ops)
		case len(between) == 0:
			return
		}
	}
}

// next waits for operations and takes as many as one batch may hold.
func (c *Committer) next() (ops []*Op, between []func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waiting)+len(c.later)+len(c.between) == 0 && !c.closed {
		c.wake.Wait()
	}
	between, c.between = c.between, nil
	ops, c.waiting = take(c.waiting, maxOps)
	// One at least, so that nobody starves, whatever the load.
	var bulk []*Op
	bulk, c.later = take(c.later, max(1, min(maxBulk, maxOps-len(ops))))
	ops = append(ops, bulk...)
	return ops, between
}

// take takes n operations at most, and no more than a batch's weight.
func take(from []*Op, n int) (taken, rest []*Op) {
	weight := 0
	for i, o := range from {
		weight += o.Weight
		if i == n || i > 0 && weight > maxWeight {
			return from[:i:i], from[i:]
		}
	}
	return from, nil
}

// serve runs a batch and tells each operation's caller.
func (c *Committer) serve(ops []*Op) {
	var t *Tx
	if c.Failure() == nil {
		t = c.commit(ops)
	}
	if err := c.Failure(); err != nil {
		for _, o := range ops {
			o.err = stopped(err)
		}
	} else {
		t.announce()
	}
	for _, o := range ops {
		close(o.done)
	}
}

// commit runs the operations in one transaction; those that fail after they
// have written are left out and the rest is run again. Each operation's err
// is set. The returned Tx tells what is to be announced.
func (c *Committer) commit(ops []*Op) *Tx {
	full := c.mustFull
	for _, o := range ops {
		full = full || o.Promise == InDatabase
	}
	c.batch++
	live := append([]*Op(nil), ops...)
	t := &Tx{c: c, Ctx: context.Background(), Now: c.cfg.Now(),
		Blobs: c.cfg.Blobs.Begin(c.batch, c.durable)}
	for {
		t.reset()
		bad, err := c.attempt(t, live, full)
		switch {
		case bad != nil:
			live = without(live, bad)
		case err != nil:
			c.abandon(live, err)
			t.reset()
			return t
		default:
			c.mustFull = false
			c.held = c.batch
			if full {
				c.durable = c.batch
			}
			c.logs.wrote(t.writes)
			return t
		}
	}
}

// attempt runs the operations once. Bad is an operation that failed and left
// something behind; then, and on an error, everything is rolled back.
func (c *Committer) attempt(t *Tx, ops []*Op, full bool) (bad *Op, err error) {
	if err := c.begin(t.Ctx, full); err != nil {
		return nil, err
	}
	for _, o := range ops {
		if o.Promise == InDatabase { // it may look at any row
			if bad := t.runLater(); bad != nil {
				c.rollback(t)
				return bad, nil
			}
		}
		before, later := t.writes, len(t.later)
		o.err = o.Run(t)
		// After some errors of its own SQLite has rolled back already, and
		// what follows would be committed statement by statement.
		if o.err != nil && (t.writes != before || mail.KindOf(o.err) == mail.Internal) {
			c.rollback(t)
			return o, nil
		}
		for i := later; i < len(t.later); i++ {
			t.later[i].op = o
		}
	}
	if bad, err := c.flush(t, full); bad != nil || err != nil {
		c.rollback(t)
		return bad, err
	}
	// The order that the promise rests on: volumes first, then the rows.
	if err := c.plain(t.Ctx, "COMMIT"); err != nil {
		c.rollback(t)
		if c.cfg.Dialect.Full(err) {
			// Nobody will hear 250 for these records, so no start may bring
			// them back. If even that fails, the next batch's number does it.
			t.Blobs.Revoke()
			return nil, err
		}
		// Nobody knows whether the log holds this batch. The records stay,
		// for rows that the next start may find there.
		c.fail(number(c.batch, err))
		return nil, err
	}
	return nil, nil
}

// flush makes the volumes durable while it writes what is left to write: the
// disk and the processor need not wait for each other.
func (c *Committer) flush(t *Tx, full bool) (bad *Op, err error) {
	flushed := make(chan error, 1)
	go func() { flushed <- t.Blobs.Sync() }()
	if bad = t.runLater(); bad == nil {
		err = t.finish(c.batch, full)
	}
	if failed := <-flushed; failed != nil {
		return nil, failed
	}
	if bad != nil || err != nil {
		// The records are flushed, but their rows will not be there.
		if err := t.Blobs.Revoke(); err != nil {
			return nil, err
		}
	}
	return bad, err
}

// abandon fails every operation of a batch. The volumes may hold its
// records, so the next batch passes its number durably before anything else
// is confirmed: replay then knows that they were refused.
func (c *Committer) abandon(ops []*Op, err error) {
	c.mustFull = true
	c.cfg.Log.Error("batch failed", "batch", c.batch, "operations", len(ops), "error", err)
	failure := &mail.Error{Kind: mail.Temporary, Text: "cannot store this now", Err: err}
	if mail.KindOf(err) == mail.Full || c.cfg.Dialect.Full(err) {
		failure = &mail.Error{Kind: mail.Full, Text: "the disk is full", Err: err}
	}
	for _, o := range ops {
		o.err = failure
	}
}

func without(ops []*Op, bad *Op) []*Op {
	var rest []*Op
	for _, o := range ops {
		if o != bad {
			rest = append(rest, o)
		}
	}
	return rest
}
