package auth

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/netip"
	"time"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// Store is what an Authenticator reads; every store.Store has it.
type Store interface {
	Account(ctx context.Context, a mail.Address) (*store.Account, error)
	Credentials(ctx context.Context, id mail.AccountID) ([]store.Credential, error)
	MainDomain(ctx context.Context) (string, error)
}

// A Sealer encrypts the secrets that APOP needs in recoverable form. Open
// fails for what was not made by Seal with the same key and context. It is
// what package seal has.
type Sealer interface {
	Seal(plain, context []byte) []byte
	Open(sealed, context []byte) ([]byte, error)
}

// ClearText says where a password may travel as it is.
type ClearText string

// The values of auth.plaintext. Over TLS clear text is always allowed.
const (
	ClearTextLoopback ClearText = "loopback" // without TLS from this machine only
	ClearTextNever    ClearText = "never"    // over TLS only
	ClearTextAlways   ClearText = "always"
)

// A Policy holds the settings that may change while the server runs.
type Policy struct {
	ClearText   ClearText
	SCRAMSHA1   bool           // keep SCRAM-SHA-1 keys and offer the mechanism
	NoBinding   bool           // offer no -PLUS mechanisms
	SCRAMRounds int            // of new keys; 20 000 at least
	Remember    time.Duration  // how long after its last use a password is known; 0 is not at all
	FirstDelay  time.Duration  // of the second wrong password in a row; it doubles; 0 is none
	MaxDelay    time.Duration  // where it stops growing; no answer waits longer
	Forgive     time.Duration  // how long after the last failure all are forgotten
	Exempt      []netip.Prefix // addresses not counted over all accounts
}

// DefaultPolicy is what the settings say when nobody has changed them.
func DefaultPolicy() Policy {
	return Policy{
		ClearText:   ClearTextLoopback,
		SCRAMRounds: minScramRounds,
		Remember:    10 * time.Minute,
		FirstDelay:  time.Second,
		MaxDelay:    30 * time.Second,
		Forgive:     15 * time.Minute,
		Exempt: []netip.Prefix{
			netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"),
		},
	}
}

// Config is what an Authenticator is made of. Store is needed; the rest has
// defaults.
type Config struct {
	Store Store
	// Policy is asked at every login; nil means DefaultPolicy.
	Policy func() Policy
	// Seal guards APOP secrets; without it APOP is not to be had.
	Seal Sealer
	// Secret makes the salts shown for unknown users. It should be the same
	// after a restart, so that such a salt stays as constant as a real one;
	// when empty, one is drawn.
	Secret []byte
	// Certificate gives the DER form of the certificate that the server has
	// shown to a client asking for this name, for the channel binding
	// tls-server-end-point. Without it that binding is not accepted.
	Certificate func(serverName string) []byte
	// Log gets a record of level Failure for each refused login, limited per
	// source if it is a journal's; nil discards.
	Log *slog.Logger
	Now func() time.Time // nil is time.Now
}

// An Authenticator verifies logins for all services. Its methods may be
// called concurrently.
type Authenticator struct {
	cfg    Config
	known  *memory
	guard  *guard
	work   *workshop
	nobody *argonHash      // computed for users without a password
	base   context.Context // of exchanges; ends with Close
	cancel context.CancelFunc
	nonce  func() string // random part of a SCRAM nonce
}

// New makes an Authenticator.
func New(cfg Config) *Authenticator {
	if cfg.Policy == nil {
		cfg.Policy = DefaultPolicy
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if len(cfg.Secret) == 0 {
		cfg.Secret = randomBytes(32)
	}
	a := &Authenticator{
		cfg:   cfg,
		known: newMemory(),
		guard: newGuard(),
		work:  newWorkshop(),
		nobody: &argonHash{
			memoryKiB: argonMemoryKiB, passes: argonPasses, lanes: argonLanes,
			salt: randomBytes(argonSaltBytes), key: randomBytes(argonKeyBytes),
		},
		nonce: rand.Text,
	}
	a.base, a.cancel = context.WithCancel(context.Background())
	a.guard.closed, a.work.closed = a.base.Done(), a.base.Done()
	return a
}

// Close ends the waiting of all logins, for the end of a delay or for others;
// they fail with ErrTemporary, as do those that come later and would have to
// wait. It is for a server that begins to stop.
func (a *Authenticator) Close() { a.cancel() }

// Forget drops what is remembered of an account's passwords. A change of the
// account's Version does the same by itself.
func (a *Authenticator) Forget(id mail.AccountID) { a.known.forget(id) }

// Plaintext says whether a password may be sent as it is on this channel.
func (a *Authenticator) Plaintext(c *Channel) bool {
	if c.TLS != nil {
		return true
	}
	switch a.cfg.Policy().ClearText {
	case ClearTextAlways:
		return true
	case ClearTextLoopback:
		// A Unix socket has no address, and is of this machine.
		return !c.Remote.IsValid() || c.Remote.Unmap().IsLoopback()
	default:
		return false
	}
}

// The names of the mechanisms.
const (
	mechPlain      = "PLAIN"
	mechLogin      = "LOGIN"
	mechSHA256     = "SCRAM-SHA-256"
	mechSHA256Plus = "SCRAM-SHA-256-PLUS"
	mechSHA1       = "SCRAM-SHA-1"
)

// Mechanisms lists the SASL mechanisms to announce on this channel, the
// strongest first.
func (a *Authenticator) Mechanisms(c *Channel) []string {
	list := make([]string, 0, 5)
	if a.canBind(c) {
		list = append(list, mechSHA256Plus)
	}
	list = append(list, mechSHA256)
	if a.cfg.Policy().SCRAMSHA1 {
		list = append(list, mechSHA1)
	}
	if a.Plaintext(c) {
		list = append(list, mechPlain, mechLogin)
	}
	return list
}

// Start begins an exchange of a mechanism, in any case of letters. It fails
// with ErrMechanism, or with ErrPlaintext where only TLS is missing. An
// exchange is used by one goroutine and needs no closing. Each of its steps
// takes a minute at most.
func (a *Authenticator) Start(c *Channel, mechanism string) (Exchange, error) {
	m := upperMechanism(mechanism)
	switch m {
	case mechPlain, mechLogin:
		if !a.Plaintext(c) {
			return nil, ErrPlaintext
		}
		if m == mechPlain {
			return &plainExchange{auth: a, channel: *c}, nil
		}
		return &loginExchange{auth: a, channel: *c}, nil
	case mechSHA256:
		return newScram(a, c, sha256Family, false), nil
	case mechSHA256Plus:
		if a.canBind(c) {
			return newScram(a, c, sha256Family, true), nil
		}
	case mechSHA1:
		if a.cfg.Policy().SCRAMSHA1 {
			return newScram(a, c, sha1Family, false), nil
		}
	}
	return nil, ErrMechanism
}

// RFC 4422 section 3.1: names of mechanisms are upper case, at most 20 long;
// clients write them as they like.
func upperMechanism(s string) string {
	if len(s) > 20 {
		return ""
	}
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}
