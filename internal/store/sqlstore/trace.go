package sqlstore

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/commit"
)

// appendTrace writes a trace's row. JSON keeps it readable for ten years;
// its short names keep it small.
func appendTrace(b []byte, t *store.Trace) []byte {
	row := traceRow{ID: t.ID, Door: t.Door, Peer: t.Peer, Helo: t.Helo, User: t.User, TLS: t.TLS,
		From: t.From, MessageID: t.MessageID, Return: t.Return, EnvelopeID: t.EnvelopeID,
		RequireTLS: t.RequireTLS, Size: t.Size, To: make([]traceTo, len(t.Recipients))}
	for i, r := range t.Recipients {
		row.To[i] = traceTo(r)
	}
	text, err := json.Marshal(&row)
	if err != nil { // no type in it can fail
		return b
	}
	return append(b, text...)
}

type traceRow struct {
	ID         string    `json:"i"`
	Door       string    `json:"d"`
	Peer       string    `json:"p,omitempty"`
	Helo       string    `json:"h,omitempty"`
	User       string    `json:"u,omitempty"`
	TLS        string    `json:"s,omitempty"`
	From       string    `json:"f"`
	MessageID  string    `json:"m,omitempty"`
	Return     string    `json:"b,omitempty"`
	EnvelopeID string    `json:"v,omitempty"`
	RequireTLS bool      `json:"q,omitempty"`
	Size       int64     `json:"n,omitempty"`
	To         []traceTo `json:"t,omitempty"`
}

type traceTo struct {
	Address  string         `json:"a"`
	Account  mail.AccountID `json:"c,omitempty"`
	Email    mail.EmailID   `json:"e,omitempty"`
	Outcome  string         `json:"o"`
	Reason   string         `json:"r,omitempty"`
	Notify   string         `json:"y,omitempty"`
	Original string         `json:"g,omitempty"`
}

func parseTrace(at time.Time, data []byte) (*store.Trace, error) {
	var row traceRow
	if err := json.Unmarshal(data, &row); err != nil {
		return nil, err
	}
	t := &store.Trace{ID: row.ID, Time: at, Door: row.Door, Peer: row.Peer, Helo: row.Helo,
		User: row.User, TLS: row.TLS, From: row.From, MessageID: row.MessageID,
		Return: row.Return, EnvelopeID: row.EnvelopeID, RequireTLS: row.RequireTLS, Size: row.Size}
	for _, r := range row.To {
		t.Recipients = append(t.Recipients, store.TraceRecipient(r))
	}
	return t, nil
}

func (t *tx) insertTrace(id int64, at time.Time, data []byte) error {
	return t.Exec(`INSERT INTO trace (id, time, data) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO NOTHING`, id, at.UnixMicro(), data)
}

// maxPendingTraces bounds what waits in memory for a later commit; beyond it
// the oldest are dropped, since nobody was promised them.
const maxPendingTraces = 10_000

// WriteTrace implements store.Store.
func (s *Store) WriteTrace(t *store.Trace) {
	data := appendTrace(nil, t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.traces) >= maxPendingTraces {
		s.traces = s.traces[1:]
	}
	s.traces = append(s.traces, pendingTrace{s.ids.next(), t.Time, data})
}

type pendingTrace struct {
	id   int64
	at   time.Time
	data []byte
}

// flushTraces writes what WriteTrace has gathered.
func (s *Store) flushTraces() error {
	s.mu.Lock()
	pending := s.traces
	s.traces = nil
	s.mu.Unlock()
	for len(pending) > 0 {
		n := min(len(pending), 500)
		some := pending[:n]
		pending = pending[n:]
		err := s.do(commit.Volatile, true, func(t *tx) error {
			for _, p := range some {
				if err := t.insertTrace(p.id, p.at, p.data); err != nil {
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
			if len(found) < limit && matches(&t, q) {
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
		t, err := parseTrace(time.UnixMicro(at), data)
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

func matches(t *store.Trace, q store.TraceQuery) bool {
	if q.ID != "" && t.ID != q.ID && !slicesEmail(t, q.ID) {
		return false
	}
	if q.Address == "" || strings.EqualFold(t.From, q.Address) ||
		strings.EqualFold(t.User, q.Address) {
		return true
	}
	for i := range t.Recipients {
		if strings.EqualFold(t.Recipients[i].Address, q.Address) {
			return true
		}
	}
	return false
}

func slicesEmail(t *store.Trace, id string) bool {
	for i := range t.Recipients {
		if t.Recipients[i].Email != 0 && t.Recipients[i].Email.String() == id {
			return true
		}
	}
	return false
}
