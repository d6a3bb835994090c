package intake

import (
	"strings"
	"time"

	"postrider/internal/message"
)

// maxHelo cuts what a stranger says of itself in the Received line.
const maxHelo = 255

// A stamp is what all prefixes of one message share.
type stamp struct {
	from  string // the Return-Path field
	added []byte // Received, and what a submission lacked
}

// stamp writes the fields that go on top of a message (RFC 5321 section
// 4.4). A submission without Date or Message-ID gets them (RFC 6409 section
// 8); the message itself is never changed.
func (t *transaction) stamp(m *message.Message, now time.Time) *stamp {
	b := make([]byte, 0, 512)
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
		b = append(b, t.recipients[0].to.String()...)
		b = append(b, '>')
	}
	b = append(b, ";\r\n\t"...)
	b = now.AppendFormat(b, time.RFC1123Z)
	b = append(b, "\r\n"...)
	if t.v.User != nil {
		b = t.complete(b, m, host, now)
	}
	return &stamp{from: "Return-Path: <" + t.from.String() + ">\r\n", added: b}
}

func (t *transaction) complete(b []byte, m *message.Message, host string, now time.Time) []byte {
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

func (s *stamp) prefix(r *recipient) []byte {
	to := r.account.Address.String()
	b := make([]byte, 0, len(s.from)+len(to)+len(s.added)+18)
	b = append(b, s.from...)
	b = append(b, "Delivered-To: "...)
	b = append(b, to...)
	b = append(b, "\r\n"...)
	return append(b, s.added...)
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
