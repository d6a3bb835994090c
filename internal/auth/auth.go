// Package auth says who somebody is: passwords, SASL mechanisms, APOP and app
// passwords, for every service alike. It remembers verified passwords for
// some minutes as keyed digests, and slows down those who guess.
//
// # What is stored
//
// A password is brought into one form (SASLprep) and kept as store.Credential
// values, by Kind:
//
//	argon2id       $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH, the PHC form
//	scram-sha-256  SCRAM-SHA-256$ROUNDS:SALT$STOREDKEY:SERVERKEY
//	scram-sha-1    the same, only where the policy wants it
//	apop           the password itself, sealed, only for accounts with APOP
//	app            SHA-256 of a random app password, without hyphens
//
// # What nobody learns
//
// A user who does not exist, is disabled or has no password is answered like
// one whose password was wrong, after the same work and the same delay, and
// gets a SCRAM salt as constant as a real one. The log tells the reasons.
//
// # Guessing
//
// Wrong passwords are counted for an account at an address, for an address
// and for an account. The first for an account at an address is answered at
// once, the second in a row after a second, the next ones after 2, 4, 8…; for
// an address over all accounts, and for an account over all addresses, this
// begins with the 21st. Until then no further attempt on the account from that
// address is looked at; the owner, coming from elsewhere, notices nothing. At
// exempt addresses, behind which there may be a web mailer with all its users,
// only the account counts, there and over all addresses.
//
// Few may wait at a time: the others hear ErrTooMany at once, and so does who
// would have to wait for longer than the longest delay.
package auth

import (
	"crypto/tls"
	"net/netip"

	"postrider/internal/mail"
)

// An Identity is somebody who has proved who they are.
type Identity struct {
	Account mail.AccountID
	Address mail.Address
	Method  string // "PLAIN", "SCRAM-SHA-256", "USER", "APOP"…, for logs and Received
	App     string // name of the app password used, or empty
	Version int64  // the account's version then; a higher one ends the session
}

// A Channel is where a login comes from; it decides which ways are allowed.
type Channel struct {
	Service string // "smtp", "submission", "pop"
	Session string // the connection's id, for the log
	Remote  netip.Addr
	Local   netip.Addr
	TLS     *tls.ConnectionState // nil without TLS
}

// The failures that a door must tell apart. Their texts are fit for the peer.
var (
	ErrCredentials = mail.Errorf(mail.Denied, "wrong user name or password")
	ErrPlaintext   = mail.Errorf(mail.Invalid, "this login needs TLS")
	ErrTemporary   = mail.Errorf(mail.Temporary, "temporary authentication failure, try again later")
	ErrTooMany     = mail.Errorf(mail.Temporary, "too many failed logins, try again later")
	ErrMechanism   = mail.Errorf(mail.NotFound, "authentication mechanism not available")
	ErrCancelled   = mail.Errorf(mail.Invalid, "authentication cancelled")
	ErrSyntax      = mail.Errorf(mail.Invalid, "cannot decode the response")
	// ErrNeedsAPOP is an ErrPlaintext, of an account that requires APOP.
	ErrNeedsAPOP = &mail.Error{Kind: mail.Invalid, Err: ErrPlaintext,
		Text: "this account needs APOP, or TLS for its password"}
)

// An Exchange is one run of a SASL mechanism, on the server's side
// (RFC 4422). Responses and challenges are without base 64.
type Exchange interface {
	// Next takes the client's response (nil: no initial response was given)
	// and returns the next challenge, or the identity when it is proved. A
	// mechanism with data in its last message (SCRAM) returns it as a
	// challenge, and the identity at the empty response that follows.
	Next(response []byte) (challenge []byte, id *Identity, err error)
}
