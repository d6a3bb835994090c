package auth

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"postrider/internal/journal"
	"postrider/internal/mail"
	"postrider/internal/store"
)

// The reasons that the log gives for a refused login; the peer hears of none.
const (
	reasonUnknown   = "unknown user"
	reasonPassword  = "wrong password"
	reasonDigest    = "wrong digest"
	reasonProof     = "wrong proof"
	reasonDisabled  = "account disabled"
	reasonNoLogin   = "login not allowed for the account"
	reasonClearText = "clear text without TLS"
	reasonNoAPOP    = "APOP not allowed for the account"
	reasonAuthzid   = "asks to act for another user"
	reasonBinding   = "channel binding does not match"
	reasonDowngrade = "client was told of no channel binding"
	reasonTooMany   = "too many failures"
)

// maxUserBytes limits a user name: 64 of local part, @ and 255 of domain
// (RFC 5321 section 4.5.3.1).
const maxUserBytes = 320

// Password verifies a user name and password that came in clear text (USER
// and PASS, poppassd, a form). It fails with ErrPlaintext, ErrNeedsAPOP,
// ErrCredentials, ErrTemporary or ErrTooMany; a wrong password is answered
// after a delay.
func (a *Authenticator) Password(
	ctx context.Context, c *Channel, user, password string,
) (*Identity, error) {
	return a.password(ctx, c, "USER", user, password)
}

func (a *Authenticator) password(
	ctx context.Context, c *Channel, method, user, password string,
) (*Identity, error) {
	if !a.Plaintext(c) {
		a.logRefusal(ctx, c, method, user, reasonClearText)
		return nil, ErrPlaintext
	}
	var l login
	if err := a.begin(ctx, &l, c, method, user); err != nil {
		return nil, err
	}
	app, ok, err := l.verify(ctx, password)
	if err != nil {
		return nil, l.trouble(ctx, "verifying a password", err)
	}
	if !ok {
		return nil, l.fail(ctx, reasonPassword)
	}
	// T2: an account that requires APOP takes no clear text without TLS. It
	// is said to the owner of the password only.
	if l.account.APOP == store.APOPRequired && c.TLS == nil {
		a.logRefusal(ctx, c, method, user, reasonClearText)
		return nil, ErrNeedsAPOP
	}
	return l.succeed(ctx, app)
}

// APOP verifies a digest of the greeting's timestamp and the shared secret,
// RFC 1939 section 7. Digest is hexadecimal. It fails as Password does.
func (a *Authenticator) APOP(
	ctx context.Context, c *Channel, user, timestamp, digest string,
) (*Identity, error) {
	var l login
	if err := a.begin(ctx, &l, c, "APOP", user); err != nil {
		return nil, err
	}
	secret, err := l.apopSecret(ctx)
	if err != nil {
		return nil, l.trouble(ctx, "reading the APOP secret", err)
	}
	sum := md5.Sum(append([]byte(timestamp), secret...))
	got, err := hex.DecodeString(digest)
	if equal := err == nil && hmac.Equal(got, sum[:]); secret == nil {
		return nil, l.fail(ctx, reasonNoAPOP)
	} else if !equal {
		return nil, l.fail(ctx, reasonDigest)
	}
	return l.succeed(ctx, "")
}

// apopSecret gives the account's secret, or nil when it has none.
func (l *login) apopSecret(ctx context.Context) ([]byte, error) {
	creds, err := l.credentials(ctx)
	if err != nil || l.account == nil || l.account.APOP == store.APOPOff || l.auth.cfg.Seal == nil {
		return nil, err
	}
	for i := range creds {
		if creds[i].Kind == kindAPOP {
			return l.auth.cfg.Seal.Open(creds[i].Data, apopContext)
		}
	}
	return nil, nil
}

// A login is one attempt, from the user name to the verdict.
type login struct {
	auth    *Authenticator
	channel *Channel
	method  string
	user    string       // as given
	address mail.Address // as understood; zero if it cannot be an account's
	account *store.Account
	policy  Policy
	keys    guardKeys
	by      time.Time // when the answer is to be given at the latest
}

// begin looks the user up and waits for penalties that still run. A user that
// does not exist goes on with a nil account, and must cost the same.
func (a *Authenticator) begin(
	ctx context.Context, l *login, c *Channel, method, user string,
) error {
	*l = login{auth: a, channel: c, method: method, user: user, policy: a.cfg.Policy()}
	var err error
	if l.address, err = a.resolve(ctx, user); err != nil {
		return l.trouble(ctx, "reading the main domain", err)
	}
	if !l.address.IsZero() {
		l.account, err = a.cfg.Store.Account(ctx, l.address)
		if err != nil && mail.KindOf(err) != mail.NotFound {
			return l.trouble(ctx, "looking an account up", err)
		}
		if err != nil {
			l.account = nil
		}
	}
	remote := c.Remote.Unmap()
	exempt := slices.ContainsFunc(l.policy.Exempt, func(p netip.Prefix) bool {
		return p.Contains(remote)
	})
	l.keys = a.guard.keys(remote, exempt, l.address, user)
	l.start()
	return l.serve(ctx)
}

// start begins the time for an answer: all its waiting together is no longer
// than the longest delay.
func (l *login) start() { l.by = l.auth.cfg.Now().Add(l.policy.MaxDelay) }

// serve waits until no penalty runs that the login must serve.
func (l *login) serve(ctx context.Context) error {
	err := l.auth.guard.enter(ctx, &l.keys, l.by, l.auth.cfg.Now)
	if errors.Is(err, ErrTooMany) {
		l.auth.logRefusal(ctx, l.channel, l.method, l.user, reasonTooMany)
	}
	return err
}

// place takes a place to hash a password. Many attempts at once do not help
// a guesser: those behind one that failed serve its penalty first.
func (l *login) place(ctx context.Context) error {
	a := l.auth
	for {
		if err := a.work.enter(ctx); err != nil {
			return err
		}
		if a.guard.left(&l.keys, a.cfg.Now()) <= 0 {
			return nil
		}
		a.work.leave()
		if err := l.serve(ctx); err != nil {
			return err
		}
	}
}

// credentials reads the account's; for an unknown user it asks for nobody's,
// so that both take their time.
func (l *login) credentials(ctx context.Context) ([]store.Credential, error) {
	if l.account != nil {
		return l.auth.cfg.Store.Credentials(ctx, l.account.ID)
	}
	_, err := l.auth.cfg.Store.Credentials(ctx, 0)
	if err != nil && mail.KindOf(err) == mail.NotFound {
		err = nil
	}
	return nil, err
}

// succeed makes the identity of a user who has proved his secret, if the
// account may log in at all.
func (l *login) succeed(ctx context.Context, app string) (*Identity, error) {
	switch {
	case l.account == nil:
		return nil, l.fail(ctx, reasonUnknown)
	case !l.account.Enabled:
		return nil, l.fail(ctx, reasonDisabled)
	case !l.account.Login:
		return nil, l.fail(ctx, reasonNoLogin)
	}
	l.auth.guard.forgive(&l.keys)
	return &Identity{
		Account: l.account.ID,
		Address: l.account.Address,
		Method:  l.method,
		App:     app,
		Version: l.account.Version,
	}, nil
}

// fail records a failure, waits the delay it has earned, and gives the error.
// Where the login has waited already and is answered sooner, the next attempt
// serves what is left.
func (l *login) fail(ctx context.Context, reason string) error {
	if l.account == nil {
		reason = reasonUnknown
	}
	a := l.auth
	a.logRefusal(ctx, l.channel, l.method, l.user, reason)
	now := a.cfg.Now()
	delay := a.guard.failed(&l.keys, &l.policy, now)
	if err := a.guard.wait(ctx, &l.keys, min(delay, l.by.Sub(now))); err != nil {
		return err
	}
	return ErrCredentials
}

// trouble is for failures that are not the user's.
func (l *login) trouble(ctx context.Context, doing string, err error) error {
	if errors.Is(err, ErrTooMany) || errors.Is(err, ErrTemporary) {
		return err
	}
	if ctx.Err() != nil {
		return ErrTemporary
	}
	l.auth.cfg.Log.LogAttrs(ctx, journal.Problem, "login not possible",
		slog.String("service", l.channel.Service),
		slog.String("session", l.channel.Session),
		slog.String("doing", doing),
		slog.Any("error", err))
	return ErrTemporary
}

// logRefusal writes the record that every refused login gets (T14). It tells
// the name as it was given, never the password.
func (a *Authenticator) logRefusal(
	ctx context.Context, c *Channel, method, user, reason string,
) {
	journal.Refused(ctx, a.cfg.Log, c.Remote, "login refused",
		slog.String("service", c.Service),
		slog.String("session", c.Session),
		slog.String("address", c.Remote.String()),
		slog.String("method", method),
		slog.String("user", cut(user, maxLoggedUser)),
		slog.String("reason", reason))
}

// maxLoggedUser is how many bytes of a given user name the log shows.
const maxLoggedUser = 100

// cut shortens s to n bytes at most, not within a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// resolve understands a user name: a whole address, or a local part of the
// main domain. The zero Address means that no account can be called so.
func (a *Authenticator) resolve(ctx context.Context, user string) (mail.Address, error) {
	user = prepare(user)
	if user == "" || len(user) > maxUserBytes || !printable(user) {
		return mail.Address{}, nil
	}
	at := strings.LastIndexByte(user, '@')
	if at < 0 {
		main, err := a.cfg.Store.MainDomain(ctx)
		if err != nil && mail.KindOf(err) != mail.NotFound {
			return mail.Address{}, err
		}
		if err != nil || main == "" {
			return mail.Address{}, nil
		}
		return mail.Address{Local: user, Domain: main}, nil
	}
	if at == 0 || at == len(user)-1 {
		return mail.Address{}, nil
	}
	domain := strings.ToLower(user[at+1:])
	if !isASCII(domain) {
		ascii, err := idna.Lookup.ToASCII(domain)
		if err != nil {
			return mail.Address{}, nil
		}
		domain = ascii
	}
	return mail.Address{Local: user[:at], Domain: domain}, nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
