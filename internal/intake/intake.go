// Package intake is the hall: the four stages that every message passes,
// whatever door it came by. Open tells who is there, From the return path,
// Rcpt each recipient, Data streams the message and makes it durable. No door
// has ideas of its own about relaying, aliases, limits or spam.
package intake

import (
	"context"
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

// A Receiver is the hall as the doors see it. Errors of all its methods are
// *mail.Reply values, fit to be shown to the peer.
type Receiver interface {
	// From begins a transaction with its return path; the zero Address is
	// the null one. The visitor is copied.
	From(ctx context.Context, v *Visitor, from mail.Address, p mail.MailParams) (Transaction, error)
	// Compose begins a message whose envelope stands in its own header: the
	// recipients in To, Cc and Bcc, the sender being the visitor's user.
	Compose(ctx context.Context, v *Visitor) (Composition, error)
}

// A Transaction is one message on its way in, used by one goroutine.
type Transaction interface {
	// Rcpt adds a recipient, or says why not.
	Rcpt(ctx context.Context, to mail.Address, p mail.RcptParams) error
	// Open makes ready for the message; called once, before 354 or the
	// first chunk. It may wait for memory, for half a minute at most.
	Open(ctx context.Context) error
	// Write takes the next bytes of the message as they will be stored:
	// CRLF line ends, no dot-stuffing. After an error the door goes on
	// reading what the peer sends, may stop writing, and still calls Commit.
	Write(p []byte) (int, error)
	// Yield is for a door that waits for its peer within the message: the
	// memory that this holds may go to others who wait for some.
	Yield()
	// Commit judges, routes and stores. When it returns without error,
	// the message is durable and a 250 may be said.
	Commit(ctx context.Context) (*Receipt, error)
	// Refuse gives up with a refusal that is the door's own, as of wrong line
	// ends or of a size that is known before the end. It is recorded and
	// traced like one of the hall's. After Refuse, Commit or Abort it does
	// nothing.
	Refuse(ctx context.Context, r *mail.Reply)
	// Abort gives up; it may be called at any time, also after Commit.
	Abort()
}

// A Composition is a message whose recipients are read from its header.
type Composition interface {
	Write(p []byte) (int, error)
	Yield() // as of a Transaction
	// Commit refuses the message as a whole if any recipient is refused;
	// the reply names that recipient. Bcc fields are removed.
	Commit(ctx context.Context) (*Receipt, error)
	Abort()
}
