package intake

import (
	"strings"
	"time"

	"postrider/internal/message"
)

// maxHelo cuts what a stranger says of itself in the Received line.
const maxHelo = 255

// stamp appends the fields that all prefixes of a message share (RFC 5321
// section 4.4). A submission without From, Date or Message-ID gets them (RFC
// 6409 section 8); the message itself is never changed.
func (t *transaction) stamp(b []byte, m *message.Message, now time.Time) []byte {
	b = append(b, "Received: from "...)
	b = append(b, clip(t.v.Helo)...)
	if a := t.v.Remote; a.IsValid() {
		b = append(b, " (["...)
		if a.Addr().Unmap().Is6() {
			b = append(b, "IPv6:"...)
		}
		b = a.Addr().Unmap().AppendTo(b)
		b = append(b, "])"...)
	}
	if t.v.User != nil {
		b = append(b, "\r\n\t(authenticated as "...)
		b = append(b, t.v.User.Address.String()...)
		b = append(b, ')')
	}
	host := t.h.cfg.Hostname()
	b = append(b, "\r\n\tby "...)
	b = append(b, host...)
	b = append(b, " with "...)
	b = append(b, t.v.With...)
	b = append(b, " id "...)
	b = append(b, t.id...)
	if facts := tlsFacts(t.v.TLS); facts != "" {
		b = append(b, "\r\n\t("...)
		b = append(b, facts...)
		b = append(b, ')')
	}
	if len(t.recipients) == 1 { // others must not learn of each other
		b = append(b, "\r\n\tfor <"...)
		b = append(b, t.recipients[0].to...)
		b = append(b, '>')
	}
	b = append(b, ";\r\n\t"...)
	b = now.AppendFormat(b, time.RFC1123Z)
	b = append(b, "\r\n"...)
	if t.v.User != nil {
		b = t.complete(b, m, host, now)
	}
	return b
}

func (t *transaction) complete(b []byte, m *message.Message, host string, now time.Time) []byte {
	if !m.Header.Has("From") {
		b = append(b, "From: "...)
		b = append(b, t.v.User.Address.String()...)
		b = append(b, "\r\n"...)
	}
	if !m.Header.Has("Date") {
		b = append(b, "Date: "...)
		b = now.AppendFormat(b, time.RFC1123Z)
		b = append(b, "\r\n"...)
	}
	if !m.Header.Has("Message-ID") {
		b = append(b, "Message-ID: <"+t.id+"@"+host+">\r\n"...)
	}
	return b
}

// prefix is what one recipient's copy begins with.
func (t *transaction) prefix(r *recipient, shared []byte) []byte {
	const path, to = "Return-Path: <", "Delivered-To: "
	address := r.account.Address.String()
	b := make([]byte, 0, len(path)+len(t.from)+3+len(to)+len(address)+2+len(shared))
	b = append(b, path...)
	b = append(b, t.from...)
	b = append(b, ">\r\n"...)
	b = append(b, to...)
	b = append(b, address...)
	b = append(b, "\r\n"...)
	return append(b, shared...)
}

// clip makes a stranger's word fit for a header field: printable ASCII that
// neither ends nor begins a comment.
func clip(s string) string {
	if s == "" {
		return "unknown"
	}
	if len(s) > maxHelo {
		s = s[:maxHelo]
	}
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune("()<>;\\\"", r) {
			return '?'
		}
		return r
	}, s)
}
