// Package store says what Postrider keeps besides the bytes of messages:
// domains, accounts and their credentials, settings, mailboxes, message rows,
// leases and traces; and what happens to them. Package sqlstore is the
// implementation; storetest the suite that holds every one to it.
//
// What a method that writes confirms is on disk when it returns, except
// where its comment says otherwise. All methods may be called concurrently.
package store

import (
	"context"
	"io"
	"time"

	"postrider/internal/blob"
	"postrider/internal/mail"
)

// A Domain is one that this server serves.
type Domain struct {
	Name    string // lower case, ASCII form
	Main    bool   // a login name without a domain means this one
	Created time.Time
}

// An Account is one user's row. Its mail lies in mailboxes.
type Account struct {
	ID       mail.AccountID
	Address  mail.Address // lower case, unique
	FullName string
	Enabled  bool  // receives mail and may log in
	Login    bool  // may log in
	Quota    int64 // bytes; 0 is no limit
	APOP     APOPMode
	Volume   int    // which volume directory new bodies go to; 0 is the default
	Version  int64  // rises with every change of credentials or of the right to log in
	Notify   string // SIMS NotifyMode and address: "none", "last-ip" or "ip:ADDR"
	Created  time.Time
	Changed  time.Time
}

// APOPMode says whether a recoverable secret is kept for an account.
type APOPMode uint8

// The modes of APOP: off keeps no recoverable secret; required also refuses
// clear-text logins without TLS, in every protocol.
const (
	APOPOff APOPMode = iota
	APOPAllowed
	APOPRequired
)

// A Credential is one way to prove an identity. Data is never logged.
type Credential struct {
	Kind    string // "argon2id", "scram-sha-256", "scram-sha-1", "apop", "app"
	Name    string // of an app password, unique in its account; else empty
	Data    []byte // in the form that package auth gives it
	Created time.Time
}

// Usage is what an account's mail takes.
type Usage struct {
	Messages int64
	Bytes    int64
	ModSeq   mail.ModSeq
}

// An AccountWrite is one change in a WriteAccounts call. Account.ID is 0 for
// a new one. Credentials replace all of the account's when Replace is set.
type AccountWrite struct {
	Account     Account
	Credentials []Credential
	Replace     bool
	Remove      bool // with its mail
}

// Inbox is the mailbox that every account has from the start.
const Inbox mail.MailboxID = 1

// A Mailbox is a mailbox with its counters.
type Mailbox struct {
	Account     mail.AccountID
	ID          mail.MailboxID
	Name        string
	UIDValidity uint32
	UIDNext     mail.UID
	ModSeq      mail.ModSeq // highest of its entries
	Messages    int64
	Unseen      int64
	Bytes       int64
}

// An Entry is a message in a mailbox, with what a POP3 listing needs.
type Entry struct {
	UID    mail.UID
	Email  mail.EmailID
	Flags  mail.Flags
	ModSeq mail.ModSeq
	Saved  time.Time
	Size   int64 // bytes of prefix and body
}

// An Email is a message's row. Its bytes are Prefix followed by the body.
type Email struct {
	ID       mail.EmailID
	Blob     mail.BlobID
	Location blob.Location
	Prefix   []byte
	Thread   int64
	Received time.Time
	Size     int64 // bytes of prefix and body
	Format   int   // version of Parsed
	Parsed   []byte
}

// A Delivery is one message for one or more mailboxes of this server.
type Delivery struct {
	Body     blob.Draft // finished; the caller discards it afterwards
	Received time.Time
	Sent     time.Time // of the Date field; zero if none
	Thread   int64     // thread key from the message, see package message
	Format   int
	Parsed   []byte
	Targets  []Target
	Hold     time.Time // deliver then and not before; zero is at once
	Trace    *Trace    // written with the delivery; may be nil
}

// A Target is one mailbox of a delivery.
type Target struct {
	Account mail.AccountID
	Mailbox mail.MailboxID // 0 is Inbox
	Flags   mail.Flags
	Prefix  []byte // 16 kB at most
	// Grace takes the message even if it makes the account exceed its
	// quota: the recipient was accepted, and others are delivered too.
	Grace bool
}

// A Result is what became of a Target.
type Result struct {
	Email mail.EmailID
	UID   mail.UID // 0 while the message is safe but not yet in the mailbox
	Err   error    // of kind NotFound, Denied (disabled), OverQuota; nil when delivered
}

// MaxPrefix is the most that may stand before a body, in bytes.
const MaxPrefix = 16 << 10

// A Trace is the story of one message in one compact row. It is for people
// and bounded: long texts are cut short, and of many recipients some are only
// counted. What must be kept as it is (NOTIFY, ORCPT and ENVID of a message
// that goes on to another server) has to be kept apart from it.
type Trace struct {
	ID         string // the id of the Received line, or the session's
	Time       time.Time
	Door       string // "smtp", "submission", "lmtp", "pop"
	Peer       string // address of the client
	Helo       string
	User       string // who was logged in
	TLS        string // version and cipher, or empty
	From       string
	MessageID  string
	Return     string // RET of RFC 3461: "FULL", "HDRS" or empty
	EnvelopeID string // ENVID of RFC 3461
	RequireTLS bool   // RFC 8689
	Size       int64
	Recipients []TraceRecipient
	More       int // recipients who are not spelt out
}

// A TraceRecipient is one recipient's outcome.
type TraceRecipient struct {
	Address string
	Account mail.AccountID
	Email   mail.EmailID
	Outcome string // "delivered", "accepted" (not there yet), "refused", "deferred"
	Reason  string
	// Notify and Original are NOTIFY and ORCPT of RFC 3461.
	Notify   string
	Original string
}

// A TraceQuery selects traces, newest first.
type TraceQuery struct {
	ID      string // of the trace or of an email
	Address string // sender or recipient
	Since   time.Time
	Limit   int // 0 means 100
}

// An Event tells that an account's mail has changed and the change is
// durable. Events of one account come in the order of their ModSeq; a slow
// listener sees several as one.
type Event struct {
	Account mail.AccountID
	ModSeq  mail.ModSeq
}

// A Problem is one thing that Check found wrong.
type Problem struct {
	What     string // one plain sentence
	Where    string // account, mailbox, volume, offset
	Repaired bool
}

// Progress is told how far long work has come; total 0 means unknown.
type Progress func(what string, done, total int64)

// A Store keeps all rows.
type Store interface {
	// Domains. A domain with accounts is not removed (Conflict).
	Domains(ctx context.Context) ([]Domain, error)
	AddDomain(ctx context.Context, d Domain) error
	RemoveDomain(ctx context.Context, name string) error
	SetMainDomain(ctx context.Context, name string) error

	// Account finds an account by its address, in any case. It is cached
	// and cheap enough for every RCPT. NotFound if there is none.
	Account(ctx context.Context, a mail.Address) (*Account, error)
	// IsLocal says whether the domain is served here.
	IsLocal(ctx context.Context, domain string) (bool, error)
	// MainDomain is the domain of a bare login name.
	MainDomain(ctx context.Context) (string, error)
	// Accounts lists accounts by address, limit at most, after the given one.
	Accounts(ctx context.Context, domain, after string, limit int) ([]Account, error)
	// Credentials of an account.
	Credentials(ctx context.Context, id mail.AccountID) ([]Credential, error)
	// WriteAccounts makes, changes and removes accounts: all or nothing. A
	// long list becomes visible bit by bit once it is decided; until it is,
	// ctx can stop it. Meanwhile other changes of accounts and the removal of
	// a domain are refused (Locked).
	WriteAccounts(ctx context.Context, w []AccountWrite) error
	Usage(ctx context.Context, id mail.AccountID) (Usage, error)

	// Settings stored in the database, and their change: a nil value resets.
	Settings(ctx context.Context) (map[string]string, error)
	WriteSettings(ctx context.Context, changes map[string]*string) error

	// Deliver puts a message into mailboxes, each target alone. The error
	// tells that nothing was delivered at all, with kind Full or Temporary.
	// A held message, and the targets of a very long list if something fails
	// in between, are delivered later, once, and count as taken.
	Deliver(ctx context.Context, d *Delivery) ([]Result, error)

	Mailbox(ctx context.Context, a mail.AccountID, id mail.MailboxID) (*Mailbox, error)
	// Entries lists a mailbox by UID, limit at most, those above after.
	Entries(ctx context.Context, a mail.AccountID, id mail.MailboxID, after mail.UID,
		limit int) ([]Entry, error)
	// Emails reads the rows of some messages, in the order given; one that
	// is gone is nil. Without parsed the Parsed field stays empty.
	Emails(ctx context.Context, a mail.AccountID, ids []mail.EmailID, parsed bool) ([]*Email, error)
	// OpenEmail gives the bytes of a message: prefix, then body.
	OpenEmail(e *Email) (MessageReader, error)
	// Expunge removes entries; UIDs that are gone already are passed over.
	Expunge(ctx context.Context, a mail.AccountID, id mail.MailboxID, uids []mail.UID) error

	// Fetched is the highest UID of the Inbox that POP3 has handed out (LAST
	// of RFC 1460). NoteFetched raises it; it is not promised and rides on
	// a later commit, but is seen at once.
	Fetched(ctx context.Context, a mail.AccountID) (mail.UID, error)
	NoteFetched(a mail.AccountID, uid mail.UID)

	// Acquire takes the lease of a name for owner until then, or tells who
	// has it (Locked). A lease need not survive a crash of the machine.
	Acquire(ctx context.Context, name, owner string, until time.Time) error
	Release(ctx context.Context, name, owner string) error

	// WriteTrace records the story of a message that was not delivered
	// here. It is not promised: it rides on a later commit.
	WriteTrace(t *Trace)
	Traces(ctx context.Context, q TraceQuery) ([]Trace, error)

	// Subscribe hears of an account's changes until cancel is called.
	Subscribe(a mail.AccountID) (events <-chan Event, cancel func())

	// Blobs is where bodies are drafted.
	Blobs() blob.Store

	// Check proves the invariants; repair mends what can be mended.
	Check(ctx context.Context, repair bool, p Progress) ([]Problem, error)
	Close() error
}

// A MessageReader reads prefix and body as one. WriteTo is the fast way.
type MessageReader interface {
	io.ReaderAt
	io.Closer
	Size() int64
}
