package story

import (
	"context"
	"database/sql"
	"time"

	"postrider/internal/store"
)

// pageRows bounds one read transaction.
const pageRows = 500

// Find gives the traces that q asks for, newest first. There is no index on
// what is looked for: a search reads the rows and costs the hot path nothing.
func Find(ctx context.Context, db *sql.DB, q store.TraceQuery) ([]store.Trace, error) {
	limit := q.Limit
	if limit == 0 {
		limit = 100
	}
	var found []store.Trace
	before := int64(1<<63 - 1)
	for len(found) < limit {
		some, next, err := page(ctx, db, before, q)
		if err != nil {
			return nil, err
		}
		for _, t := range some {
			if len(found) < limit && Matches(&t, q) {
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

// page reads some rows below an id and returns the id to go on from, 0 at the
// end.
func page(ctx context.Context, db *sql.DB, before int64, q store.TraceQuery) (
	list []store.Trace, next int64, err error) {
	rows, err := db.QueryContext(ctx, `SELECT id, time, data FROM trace WHERE id < $1
		ORDER BY id DESC LIMIT $2`, before, pageRows)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	var id, at int64
	n := 0
	for rows.Next() {
		var data []byte
		if err := rows.Scan(&id, &at, &data); err != nil {
			return nil, 0, err
		}
		n++
		if !q.Since.IsZero() && at < q.Since.UnixMicro() {
			return list, 0, rows.Err()
		}
		t, err := Parse(time.UnixMicro(at), data)
		if err != nil {
			continue // a row that cannot be read must not hide the others
		}
		list = append(list, *t)
	}
	if n < pageRows {
		id = 0
	}
	return list, id, rows.Err()
}
