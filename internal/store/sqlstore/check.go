package sqlstore

import (
	"context"

	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/audit"
)

// Check implements store.Store. It may run while the store serves.
func (s *Store) Check(ctx context.Context, repair bool, p store.Progress) ([]store.Problem, error) {
	return audit.Check(ctx, audit.Config{Path: s.cfg.Path, Read: s.read, Dialect: s.dialect,
		Committer: s.committer, Blobs: s.blobs, Location: s.location, Write: s.tx.flushCounters,
		Forget: func(id mail.AccountID) {
			delete(s.tx.cached.byAccount, id)
			delete(s.tx.touched, id)
		}}, repair, p)
}
