// Package mail is the vocabulary that every other package speaks: addresses,
// identifiers, flags, SMTP replies and kinds of failure. It imports the
// standard library only and holds no state.
package mail

import (
	"errors"
	"strconv"
	"strings"
)

// An AccountID names an account for ever; it is never used again.
type AccountID int64

// A MailboxID names a mailbox within its account for ever.
type MailboxID int64

// An EmailID names a message within an account for ever. It is drawn at
// delivery, rises with time, and is what POP3 shows as UIDL.
type EmailID int64

// A BlobID names the bytes of a message, shared by all who hold it.
type BlobID int64

// A UID numbers a message within a mailbox, rising, never used again
// (RFC 9051 section 2.3.1.1).
type UID uint32

// A ModSeq counts the changes of one account (RFC 7162 section 3.1).
type ModSeq int64

// String gives the form used in UIDL, logs and JSON: 13 characters of
// base 32, in an order that follows the number.
func (id EmailID) String() string {
	const digits = "0123456789abcdefghjkmnpqrstvwxyz"
	var b [13]byte
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = digits[id&31]
		id >>= 5
	}
	return string(b[:])
}

// Flags are the system flags and the registered keywords of a message.
// Other keywords are kept beside them as text.
type Flags uint32

// The flags of RFC 9051 section 2.3.2.
const (
	Seen Flags = 1 << iota
	Answered
	Flagged
	Deleted
	Draft
	Forwarded // $Forwarded
	MDNSent   // $MDNSent
	Junk      // $Junk
	NotJunk   // $NotJunk
	Phishing  // $Phishing
)

// Binary is a mark of ours among the flags, set at delivery and never shown:
// the message came as BODY=BINARYMIME and has parts that are no lines.
const Binary Flags = 1 << 31

// A Kind says what sort of failure an Error is, for those who must choose a
// reply, an exit status or a retry.
type Kind uint8

// The kinds of failure. Internal is that of every error that is not an *Error.
const (
	Internal    Kind = iota
	Invalid          // the input is wrong; the text says where and what would be right
	NotFound         // what was named does not exist
	Exists           // what was to be made is there already
	Conflict         // the state does not allow it
	Denied           // not allowed to this user
	OverQuota        // the account is full
	Full             // the disk or a memory limit is full; try again later
	Temporary        // try again later
	Locked           // in use by another session
	Unreachable      // the server or the lock could not be reached
	Damaged          // stored data is not what it should be
)

// An Error is a failure with a kind and a text for people. The text says
// what, where and what to do, and holds no secret.
type Error struct {
	Kind Kind
	Text string
	Err  error // the cause, for the log; may be nil
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Text
	}
	return e.Text + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf is a shorthand for an Error without a cause.
func Errorf(k Kind, text string) *Error { return &Error{Kind: k, Text: text} }

// KindOf tells the kind of the first *Error in err's chain, else Internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// A Reply is an SMTP reply (RFC 5321 section 4.2) with its enhanced status
// code (RFC 3463). It is an error, so that a stage of the hall can return it.
type Reply struct {
	Code     int    // 200 to 599
	Enhanced string // "5.1.1"; empty where RFC 2034 wants none
	Text     string // lines separated by \n, without CR
	Err      error  // the cause, for the log only; may be nil
}

// NewReply makes a reply.
func NewReply(code int, enhanced, text string) *Reply {
	return &Reply{Code: code, Enhanced: enhanced, Text: text}
}

func (r *Reply) Error() string {
	s := strconv.Itoa(r.Code)
	if r.Enhanced != "" {
		s += " " + r.Enhanced
	}
	return s + " " + strings.ReplaceAll(r.Text, "\n", " / ")
}

func (r *Reply) Unwrap() error { return r.Err }

// Temporary says whether the peer may try again.
func (r *Reply) Temporary() bool { return r.Code/100 == 4 }

// OK says whether the reply confirms.
func (r *Reply) OK() bool { return r.Code/100 == 2 }
