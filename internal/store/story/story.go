// Package story keeps the trace of a message in one compact row. JSON keeps it
// readable for ten years; its short names keep it small.
package story

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// MaxRow bounds the row of a trace, in bytes, whatever a sender says: what
// one message writes for its trace is a small part of a batch.
const MaxRow = 16 << 10

// maxPath and maxText bound what a peer may put into a row, in bytes: an
// address (RFC 5321 section 4.5.3.1: 64 and 255) or a Message-ID, and
// anything else.
const (
	maxPath = 320
	maxText = 200
)

// tailRoom is what the end of a row takes behind its last recipient.
const tailRoom = 32

// Append adds the row of a trace to b, MaxRow bytes at most: texts are cut
// short, and recipients for whom there is no room are only counted.
//
// It runs where nobody else can write, and again when a batch is run again;
// so it does not use reflection.
func Append(b []byte, t *store.Trace) []byte {
	start := len(b)
	b = append(b, '{')
	b = appendText(b, `"i":`, t.ID, maxText)
	b = appendText(b, `,"d":`, t.Door, maxText)
	b = appendFilled(b, `,"p":`, t.Peer, maxText)
	b = appendFilled(b, `,"h":`, t.Helo, maxText)
	b = appendFilled(b, `,"u":`, t.User, maxPath)
	b = appendFilled(b, `,"s":`, t.TLS, maxText)
	b = appendText(b, `,"f":`, t.From, maxPath)
	b = appendFilled(b, `,"m":`, t.MessageID, maxPath)
	b = appendFilled(b, `,"b":`, t.Return, maxText)
	b = appendFilled(b, `,"v":`, t.EnvelopeID, maxText)
	if t.RequireTLS {
		b = append(b, `,"q":true`...)
	}
	b = appendNumber(b, `,"n":`, t.Size)
	told, open := 0, `,"t":[`
	for i := range t.Recipients {
		before := len(b)
		b = appendRecipient(append(b, open...), &t.Recipients[i])
		if len(b)-start > MaxRow-tailRoom {
			b = b[:before]
			break
		}
		told, open = i+1, ","
	}
	if told > 0 {
		b = append(b, ']')
	}
	b = appendNumber(b, `,"x":`, int64(t.More+len(t.Recipients)-told))
	return append(b, '}')
}

func appendRecipient(b []byte, r *store.TraceRecipient) []byte {
	b = append(b, '{')
	b = appendText(b, `"a":`, r.Address, maxPath)
	b = appendNumber(b, `,"c":`, int64(r.Account))
	b = appendNumber(b, `,"e":`, int64(r.Email))
	b = appendText(b, `,"o":`, r.Outcome, maxText)
	b = appendFilled(b, `,"r":`, r.Reason, maxPath)
	b = appendFilled(b, `,"y":`, r.Notify, maxText)
	b = appendFilled(b, `,"g":`, r.Original, maxText)
	return append(b, '}')
}

func appendFilled(b []byte, name, text string, limit int) []byte {
	if text == "" {
		return b
	}
	return appendText(b, name, text, limit)
}

func appendNumber(b []byte, name string, n int64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(append(b, name...), n, 10)
}

// appendText writes a JSON string (RFC 8259 section 7).
func appendText(b []byte, name, text string, limit int) []byte {
	b = append(append(b, name...), '"')
	text = Clip(text, limit)
	plain := 0 // from here on nothing needs to be escaped
	for i := 0; i < len(text); {
		c := text[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		if c >= utf8.RuneSelf && (r != utf8.RuneError || n > 1) {
			i += n
			continue
		}
		b = append(b, text[plain:i]...)
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			const hex = "0123456789abcdef"
			b = append(b, `\u00`...)
			b = append(b, hex[c>>4], hex[c&15])
		default:
			b = append(b, "\ufffd"...)
		}
		i += n
		plain = i
	}
	return append(append(b, text[plain:]...), '"')
}

// Clip cuts a text to so many bytes at most, marking where, and cuts no
// character into two.
func Clip(text string, limit int) string {
	const mark = "…"
	if len(text) <= limit {
		return text
	}
	n := limit - len(mark)
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + mark
}

type traceRow struct {
	ID         string    `json:"i"`
	Door       string    `json:"d"`
	Peer       string    `json:"p"`
	Helo       string    `json:"h"`
	User       string    `json:"u"`
	TLS        string    `json:"s"`
	From       string    `json:"f"`
	MessageID  string    `json:"m"`
	Return     string    `json:"b"`
	EnvelopeID string    `json:"v"`
	RequireTLS bool      `json:"q"`
	Size       int64     `json:"n"`
	To         []traceTo `json:"t"`
	More       int       `json:"x"`
}

type traceTo struct {
	Address  string         `json:"a"`
	Account  mail.AccountID `json:"c"`
	Email    mail.EmailID   `json:"e"`
	Outcome  string         `json:"o"`
	Reason   string         `json:"r"`
	Notify   string         `json:"y"`
	Original string         `json:"g"`
}

// Parse reads a row that Append made at this time.
func Parse(at time.Time, data []byte) (*store.Trace, error) {
	var row traceRow
	if err := json.Unmarshal(data, &row); err != nil {
		return nil, err
	}
	t := &store.Trace{ID: row.ID, Time: at, Door: row.Door, Peer: row.Peer, Helo: row.Helo,
		User: row.User, TLS: row.TLS, From: row.From, MessageID: row.MessageID,
		Return: row.Return, EnvelopeID: row.EnvelopeID, RequireTLS: row.RequireTLS, Size: row.Size,
		More: row.More}
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
