package mail

import "time"

// MailParams are the parameters of MAIL FROM.
type MailParams struct {
	Size       int64     // RFC 1870; 0 when not given
	Body       BodyType  // RFC 6152, RFC 3030
	UTF8       bool      // RFC 6531
	RequireTLS bool      // RFC 8689
	Auth       string    // RFC 4954 section 5, decoded; "" when not given, "<>" when unknown
	Return     string    // RFC 3461 section 4.3: "FULL", "HDRS" or ""
	EnvelopeID string    // RFC 3461 section 4.4, decoded
	HoldUntil  time.Time // RFC 4865; zero when not given
}

// BodyType is the value of BODY=.
type BodyType uint8

// The values of BODY=.
const (
	Body7Bit BodyType = iota
	Body8BitMIME
	BodyBinaryMIME
)

// RcptParams are the parameters of RCPT TO.
type RcptParams struct {
	Notify   string // RFC 3461 section 4.1: "NEVER" or a list of SUCCESS, FAILURE, DELAY; upper case
	Original string // ORCPT, "rfc822;user@example.org", decoded
}
