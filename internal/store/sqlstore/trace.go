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

// Traces implements store.Store. There is no index on what is looked for: a
// search reads the rows, newest first, and costs the hot path nothing.
func (s *Store) Traces(ctx context.Context, q store.TraceQuery) ([]store.Trace, error) {
	if err := s.flushTraces(); err != nil {
		return nil, err
	}
	limit := q.Limit
	if limit == 0 {
		limit = 100
	}
	var found []store.Trace
	before := int64(1<<63 - 1)
	for len(found) < limit {
		page, next, err := s.tracePage(ctx, before, q)
		if err != nil {
			return nil, err
		}
		for _, t := range page {
			if len(found) < limit && story.Matches(&t, q) {
				found = append(found, t)
			}
		}
		if next == 0 {
			break
		}
		before = next
	}
	return found, nil
}

// tracePage reads up to 500 rows below an id and returns the id to go on
// from, 0 at the end.
func (s *Store) tracePage(ctx context.Context, before int64, q store.TraceQuery) (
	[]store.Trace, int64, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, time, data FROM trace WHERE id < $1
		ORDER BY id DESC LIMIT 500`, before)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	var page []store.Trace
	var id, at int64
	n := 0
	for rows.Next() {
		var data []byte
		if err := rows.Scan(&id, &at, &data); err != nil {
			return nil, 0, err
		}
		n++
		if !q.Since.IsZero() && at < q.Since.UnixMicro() {
			return page, 0, rows.Err()
		}
		t, err := story.Parse(time.UnixMicro(at), data)
		if err != nil {
			continue // a row that cannot be read must not hide the others
		}
		page = append(page, *t)
	}
	if n < 500 {
		id = 0
	}
	return page, id, rows.Err()
}
