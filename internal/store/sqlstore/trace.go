package sqlstore

import (
	"context"
	"time"

	"postrider/internal/store"
	"postrider/internal/store/commit"
	"postrider/internal/store/story"
)

func (t *tx) insertTrace(id int64, at time.Time, data []byte) error {
	t.s.traced.Add(int64(len(data)))
	return t.Exec(`INSERT INTO trace (id, time, data) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO NOTHING`, id, at.UnixMicro(), data)
}

// traceShare is what part of all traces may be new before it is looked
// whether there are too many of them; otherwise the hourly look is enough.
const traceShare = 16

// tooManyTraces says whether that look is due.
func (s *Store) tooManyTraces() bool {
	most := int64(0)
	if s.cfg.TraceMax != nil {
		most = s.cfg.TraceMax()
	}
	return most > 0 && s.traced.Load() > most/traceShare
}

// WriteTrace implements store.Store.
func (s *Store) WriteTrace(t *store.Trace) {
	s.traces.Add(story.Row{ID: s.ids.next(), Time: t.Time, Data: story.Append(nil, t)})
}

// flushTraces writes what WriteTrace has gathered.
func (s *Store) flushTraces() error {
	for _, some := range s.traces.Take() {
		err := s.do(commit.Volatile, true, func(t *tx) error {
			for _, r := range some {
				if err := t.insertTrace(r.ID, r.Time, r.Data); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Traces implements store.Store.
func (s *Store) Traces(ctx context.Context, q store.TraceQuery) ([]store.Trace, error) {
	if err := s.flushTraces(); err != nil {
		return nil, err
	}
	return story.Find(ctx, s.read, q)
}
