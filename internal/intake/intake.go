// Package intake is the hall: the four stages that every message passes,
// whatever door it came by. Open tells who is there, From the return path,
// Rcpt each recipient, Data streams the message and makes it durable. No door
// has ideas of its own about relaying, aliases, limits or spam.
package intake

import (
	"crypto/tls"
	"net/netip"

	"postrider/internal/auth"
	"postrider/internal/mail"
)

// A Visitor is who is at a door. The door fills it in; the hall judges it.
// Its fields may change between transactions (EHLO, STARTTLS, AUTH).
type Visitor struct {
	Door    string // "smtp", "submission", "lmtp" or "pop"
	Session string // the connection's id, for the log
	Remote  netip.AddrPort
	Local   netip.AddrPort
	Helo    string
	TLS     *tls.ConnectionState // nil without TLS
	User    *auth.Identity       // nil for a stranger
	With    string               // protocol of the Received line (RFC 3848): "ESMTPSA", "LMTP"…
}

// A Receipt tells what became of a message that Commit took.
type Receipt struct {
	ID string // of the Received line and the trace
	// Recipients holds a reply for each accepted recipient, in order. LMTP
	// shows them; the other doors confirm when Commit returns no error.
	Recipients []*mail.Reply
}
