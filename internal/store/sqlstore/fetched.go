package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"

	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/commit"
)

// NoteFetched implements store.Store.
func (s *Store) NoteFetched(a mail.AccountID, uid mail.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fetched == nil {
		s.fetched = map[mail.AccountID]mail.UID{}
	}
	s.fetched[a] = max(s.fetched[a], uid)
}

// Fetched implements store.Store.
func (s *Store) Fetched(ctx context.Context, a mail.AccountID) (mail.UID, error) {
	s.mu.Lock()
	pending := s.fetched[a]
	s.mu.Unlock()
	var uid mail.UID
	err := s.read.QueryRowContext(ctx, `SELECT fetched FROM mailbox WHERE account = $1 AND id = $2`,
		int64(a), int64(store.Inbox)).Scan(&uid)
	if errors.Is(err, sql.ErrNoRows) {
		err = notFound("no such account")
	}
	return max(uid, pending), err
}

// flushFetched writes what NoteFetched has gathered, in small steps.
func (s *Store) flushFetched() error {
	s.mu.Lock()
	pending := maps.Clone(s.fetched)
	s.mu.Unlock()
	ids := slices.Collect(maps.Keys(pending))
	for len(ids) > 0 {
		n := min(len(ids), maxRows)
		some := ids[:n]
		ids = ids[n:]
		err := s.do(commit.Volatile, true, func(t *tx) error {
			for _, a := range some {
				if err := t.Exec(`UPDATE mailbox SET fetched = $3 WHERE account = $1 AND id = $2
					AND fetched < $3`, int64(a), int64(store.Inbox), int64(pending[a])); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		s.wroteFetched(some, pending)
	}
	return nil
}

// wroteFetched forgets what has its row now: until then Fetched needs it.
func (s *Store) wroteFetched(ids []mail.AccountID, written map[mail.AccountID]mail.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range ids {
		if s.fetched[a] == written[a] {
			delete(s.fetched, a)
		}
	}
}
