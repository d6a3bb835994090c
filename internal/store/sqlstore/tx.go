package sqlstore

import (
	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/commit"
)

// A tx is what an operation of this store works with: the committer's
// transaction, and the counters of accounts. There is one for all batches,
// used on the committer's goroutine only.
type tx struct {
	*commit.Tx
	s       *Store
	cached  *counterCache
	touched map[mail.AccountID]*counters
	events  map[mail.AccountID]mail.ModSeq
}

var _ commit.Owner = (*tx)(nil)

// do hands an operation to the committer and waits until what it promises
// holds.
func (s *Store) do(p commit.Promise, bulk bool, run func(*tx) error) error {
	return s.committer.Do(p, bulk, s.in(run))
}

// in gives an operation its tx.
func (s *Store) in(run func(*tx) error) func(*commit.Tx) error {
	return func(*commit.Tx) error { return run(s.tx) }
}

// Begin implements commit.Owner.
func (t *tx) Begin(c *commit.Tx) { t.Tx, t.touched, t.events = c, nil, nil }

// Rollback implements commit.Owner.
func (t *tx) Rollback(*commit.Tx) { t.cached.forget(t.touched) }

// Flush implements commit.Owner: it writes the counters that changed. With
// full also the last id drawn: who deletes messages commits so, and their ids
// must not come again even if the clock is set back before the next start.
func (t *tx) Flush(_ *commit.Tx, full bool) error {
	if err := t.flushCounters(); err != nil || !full {
		return err
	}
	return t.Exec(`UPDATE state SET value = $1 WHERE name = 'id' AND value < $1`,
		t.s.ids.last.Load())
}

// Committed implements commit.Owner.
func (t *tx) Committed(*commit.Tx) {
	for id, modseq := range t.events {
		t.s.hub.Publish(store.Event{Account: id, ModSeq: modseq})
	}
}
