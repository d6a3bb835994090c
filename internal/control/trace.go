package control

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// TraceRequest says which messages to tell of: one by its id (of the Received
// line or of the mailbox), or those from and to an address.
type TraceRequest struct {
	ID      string `json:"id,omitempty"`
	Address string `json:"address,omitempty"` // a bare local part means the main domain
	Since   string `json:"since,omitempty"`   // RFC 3339
	Limit   int    `json:"limit,omitempty"`   // so many of the newest; 0 means 50
}

// A TraceInfo is the story of one message.
type TraceInfo struct {
	ID         string           `json:"id"`
	Time       time.Time        `json:"time"`
	Door       string           `json:"door"`
	Peer       string           `json:"peer"`
	Helo       string           `json:"helo"`
	User       string           `json:"user"`
	TLS        string           `json:"tls"`
	From       string           `json:"from"`
	MessageID  string           `json:"message_id"`
	SizeBytes  int64            `json:"size_bytes"`
	Recipients []TraceRecipient `json:"recipients"`
	More       int              `json:"more_recipients"` // who are not listed
	// Story tells all of it in plain words, a line each.
	Story []string `json:"story"`
}

// A TraceRecipient is what became of the message for one recipient.
type TraceRecipient struct {
	Address string `json:"address"`
	EmailID string `json:"email_id,omitempty"` // as POP3's UIDL shows it
	Outcome string `json:"outcome"`            // "delivered", "accepted", "refused" or "deferred"
	Reason  string `json:"reason,omitempty"`
}

// TraceReply lists traces, the newest last, as a log does.
type TraceReply struct {
	Traces []TraceInfo `json:"traces"`
	More   bool        `json:"more"` // there are older ones
}

// How many traces a reply has if nothing is said, and at most.
const (
	usualTraces = 50
	maxTraces   = 10_000
)

func (c *Control) trace(ctx context.Context, q TraceRequest) (TraceReply, error) {
	r := TraceReply{Traces: []TraceInfo{}}
	limit := min(q.Limit, maxTraces)
	if limit <= 0 {
		limit = usualTraces
	}
	query := store.TraceQuery{ID: q.ID, Address: q.Address, Limit: limit + 1} // one more tells More
	if q.ID == "" && q.Address == "" {
		return r, mail.Errorf(mail.Invalid, "a trace needs an id or an address")
	}
	if q.Address != "" {
		address, err := c.tracedAddress(ctx, q.Address)
		if err != nil {
			return r, err
		}
		query.Address = address
	}
	if q.Since != "" {
		since, err := time.Parse(time.RFC3339, q.Since)
		if err != nil {
			return r, &mail.Error{Kind: mail.Invalid, Text: "since", Err: err}
		}
		query.Since = since
	}
	rows, err := c.store.Traces(ctx, query)
	if err != nil {
		return r, err
	}
	if len(rows) == 0 && q.ID != "" {
		return r, mail.Errorf(mail.NotFound, "there is no trace of a message "+Short(q.ID))
	}
	if len(rows) > limit {
		r.More, rows = true, rows[:limit]
	}
	for i := range slices.Backward(rows) {
		r.Traces = append(r.Traces, traceInfo(&rows[i]))
	}
	return r, nil
}

// tracedAddress is an address as traces have it. Those of others are not held
// to any rule.
func (c *Control) tracedAddress(ctx context.Context, text string) (string, error) {
	text = strings.TrimSpace(text)
	if inner, ok := strings.CutPrefix(text, "<"); ok {
		text = strings.TrimSuffix(inner, ">")
	}
	if strings.Contains(text, "@") {
		return text, nil
	}
	a, err := c.parseAddress(ctx, text)
	return a.String(), err
}

func traceInfo(t *store.Trace) TraceInfo {
	info := TraceInfo{
		ID: t.ID, Time: t.Time, Door: t.Door, Peer: t.Peer, Helo: t.Helo, User: t.User,
		TLS: t.TLS, From: t.From, MessageID: t.MessageID, SizeBytes: t.Size,
		Recipients: []TraceRecipient{}, More: t.More, Story: story(t),
	}
	for _, r := range t.Recipients {
		to := TraceRecipient{Address: r.Address, Outcome: r.Outcome, Reason: r.Reason}
		if r.Email != 0 {
			to.EmailID = r.Email.String()
		}
		info.Recipients = append(info.Recipients, to)
	}
	return info
}

// doors name how a message came.
var doors = map[string]string{
	"smtp":       "from another server by SMTP",
	"submission": "from a user's mail program by submission",
	"lmtp":       "from a server of ours by LMTP",
	"pop":        "through a POP3 session (XTND XMIT)",
}

// story tells a trace in plain words.
func story(t *store.Trace) []string {
	from := "with the empty return path"
	if t.From != "" {
		from = "from " + t.From
	}
	door, ok := doors[t.Door]
	if !ok {
		door = "by " + t.Door
	}
	came := fmt.Sprintf("It came %s, %s", door, from)
	if t.Size > 0 {
		came += fmt.Sprintf(", %d bytes", t.Size)
	}
	lines := []string{came + "."}
	if t.Peer != "" {
		peer := "The other side was " + t.Peer
		if t.Helo != "" {
			peer += ", calling itself " + t.Helo
		}
		lines = append(lines, peer+secured(t)+".")
	}
	if t.MessageID != "" {
		lines = append(lines, "Its Message-ID is "+t.MessageID+".")
	}
	for _, r := range t.Recipients {
		lines = append(lines, outcome(r))
	}
	if t.More > 0 {
		lines = append(lines, fmt.Sprintf("And for %d more, who are not listed.", t.More))
	} else if len(t.Recipients) == 0 {
		lines = append(lines, "No recipient was accepted.")
	}
	return lines
}

func secured(t *store.Trace) string {
	s := ", without TLS"
	if t.TLS != "" {
		s = ", over " + t.TLS
	}
	if t.User != "" {
		s += ", logged in as " + t.User
	}
	return s
}

func outcome(r store.TraceRecipient) string {
	s := "For " + r.Address + " it was " + r.Outcome
	switch {
	case r.Outcome == "delivered" && r.Email != 0:
		s += " as message " + r.Email.String()
	case r.Outcome == "accepted":
		s = "For " + r.Address + " it is safe and will be delivered"
	case r.Outcome == "deferred":
		s = "For " + r.Address + " it was put off: the sender may try again"
	}
	if r.Reason != "" {
		s += ": " + strings.TrimSuffix(strings.ReplaceAll(r.Reason, "\n", " "), ".")
	}
	return s + "."
}
