// Package story keeps the trace of a message in one compact row. JSON keeps it
// readable for ten years; its short names keep it small.
package story

import (
	"encoding/json"
	"strings"
	"time"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// Append adds the row of a trace to b.
func Append(b []byte, t *store.Trace) []byte {
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

// Parse reads a row that Append made at this time.
func Parse(at time.Time, data []byte) (*store.Trace, error) {
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

// Matches says whether a trace is one of those that q asks for, by ID and
// Address.
func Matches(t *store.Trace, q store.TraceQuery) bool {
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
