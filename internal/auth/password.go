package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// The kinds of stored credentials.
const (
	kindArgon2 = "argon2id"
	kindAPOP   = "apop"
	kindApp    = "app"
)

// MaxPasswordBytes is the most that a password may have.
const MaxPasswordBytes = 512

// What new passwords are hashed with: argon2id (RFC 9106).
const (
	argonMemoryKiB = 19 << 10
	argonPasses    = 2
	argonLanes     = 1
	argonSaltBytes = 16
	argonKeyBytes  = 32
)

// apopContext binds a sealed secret to its purpose. An account's id is not
// known yet when its first credentials are made.
var apopContext = []byte("apop")

// Openable are the credentials without those that were sealed with another
// key. The slice that was given stays as it is.
func Openable(all []store.Credential, key Sealer) []store.Credential {
	return slices.DeleteFunc(slices.Clone(all), func(c store.Credential) bool {
		if c.Kind != kindAPOP {
			return false
		}
		_, err := key.Open(c.Data, apopContext)
		return err != nil
	})
}

const (
	// workers is how many passwords are hashed at a time. Each takes 19 MiB
	// and a processor for some 30 ms.
	workers = 2
	// maxQueue is how many logins wait for a worker; the last of them waits
	// some two seconds.
	maxQueue = 128
)

// A workshop is where passwords are hashed. Logins queue for its places; new
// credentials, which an import makes by the thousand, take one place at most.
type workshop struct {
	places  chan struct{}
	bulk    chan struct{}
	waiting atomic.Int64
	closed  <-chan struct{} // ends the waiting of logins; nil: nothing does
}

func newWorkshop() *workshop {
	return &workshop{places: make(chan struct{}, workers), bulk: make(chan struct{}, 1)}
}

// enter takes a place for a login; leave gives it back. It fails with
// ErrTemporary when too many wait, ctx ends or the workshop is closed.
func (w *workshop) enter(ctx context.Context) error {
	select {
	case w.places <- struct{}{}:
		return nil
	default:
	}
	defer w.waiting.Add(-1)
	if w.waiting.Add(1) > maxQueue {
		return ErrTemporary
	}
	select {
	case w.places <- struct{}{}:
		return nil
	case <-ctx.Done():
	case <-w.closed:
	}
	return ErrTemporary
}

func (w *workshop) leave() { <-w.places }

// enterBulk takes a place for work that nobody waits for by the second.
func (w *workshop) enterBulk(ctx context.Context) error {
	select {
	case w.bulk <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case w.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		<-w.bulk
		return ctx.Err()
	}
}

func (w *workshop) leaveBulk() { <-w.places; <-w.bulk }

// verify says whether the password is the account's or one of its programs',
// and whose, and keeps it in memory. A user who does not exist costs as much
// as a wrong password.
func (l *login) verify(ctx context.Context, password string) (app string, ok bool, err error) {
	if password == "" || len(password) > MaxPasswordBytes {
		return "", false, nil // says nothing about the account
	}
	password = prepare(password)
	var digest [sha256.Size]byte
	if l.account != nil {
		digest = l.auth.known.digest(l.account, password)
		if app, ok = l.remembered(&digest); ok {
			return app, true, nil
		}
	}
	creds, err := l.credentials(ctx)
	if err != nil {
		return "", false, err
	}
	if app, ok = matchApp(creds, password); !ok {
		if err := l.place(ctx); err != nil {
			return "", false, err
		}
		defer l.auth.work.leave()
		// Another session may have brought the same password meanwhile.
		if app, ok = l.remembered(&digest); ok {
			return app, true, nil
		}
		if ok, err = l.auth.matchArgon(creds, password); err != nil || !ok {
			return "", false, err
		}
	}
	l.auth.known.remember(l.account, &digest, app, l.auth.cfg.Now(), l.policy.Remember)
	return app, true, nil
}

func (l *login) remembered(digest *[sha256.Size]byte) (app string, ok bool) {
	if l.account == nil {
		return "", false
	}
	return l.auth.known.check(l.account, digest, l.auth.cfg.Now(), l.policy.Remember)
}

func (a *Authenticator) matchArgon(creds []store.Credential, password string) (bool, error) {
	for i := range creds {
		if creds[i].Kind != kindArgon2 {
			continue
		}
		h, err := parseArgon(string(creds[i].Data))
		if err != nil {
			return false, err
		}
		return hmac.Equal(h.compute(password), h.key), nil
	}
	// Nobody, or an account without a password: take the time nevertheless.
	a.nobody.compute(password)
	return false, nil
}

// An argonHash is a password's hash with what it was made with.
type argonHash struct {
	memoryKiB, passes uint32
	lanes             uint8
	salt, key         []byte
}

func newArgon(password string) *argonHash {
	h := &argonHash{
		memoryKiB: argonMemoryKiB,
		passes:    argonPasses,
		lanes:     argonLanes,
		salt:      randomBytes(argonSaltBytes),
		key:       make([]byte, argonKeyBytes),
	}
	h.key = h.compute(password)
	return h
}

func (h *argonHash) compute(password string) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.passes, h.memoryKiB, h.lanes,
		uint32(len(h.key)))
}

// String gives the PHC form: $argon2id$v=19$m=19456,t=2,p=1$salt$key.
func (h *argonHash) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version,
		h.memoryKiB, h.passes, h.lanes, b64.EncodeToString(h.salt), b64.EncodeToString(h.key))
}

// The most that a stored hash may ask for, so that a damaged or hostile one
// cannot take all memory.
const (
	maxArgonMemoryKiB = 256 << 10
	maxArgonPasses    = 16
	maxArgonLanes     = 8
	maxArgonBytes     = 64
)

func parseArgon(s string) (*argonHash, error) {
	damaged := mail.Errorf(mail.Damaged, "a stored argon2id hash cannot be read")
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" ||
		parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return nil, damaged
	}
	var h argonHash
	_, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memoryKiB, &h.passes, &h.lanes)
	if err != nil || h.memoryKiB < 8 || h.memoryKiB > maxArgonMemoryKiB ||
		h.passes < 1 || h.passes > maxArgonPasses || h.lanes < 1 || h.lanes > maxArgonLanes {
		return nil, damaged
	}
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.DecodeString(parts[4])
	h.key, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(h.salt) < 8 || len(h.salt) > maxArgonBytes ||
		len(h.key) < 16 || len(h.key) > maxArgonBytes {
		return nil, damaged
	}
	return &h, nil
}

// CredentialOptions say what is kept besides the password's hash.
type CredentialOptions struct {
	APOP store.APOPMode // other than off: the secret in recoverable form
}

// MakeCredentials hashes a new password in all the forms that the policy
// wants. It takes some 40 ms of a processor, so it belongs before a
// transaction. It fails with kind Invalid for a password that is empty, has
// more than MaxPasswordBytes, control characters or bad UTF-8.
func (a *Authenticator) MakeCredentials(
	ctx context.Context, password string, o CredentialOptions,
) ([]store.Credential, error) {
	if err := CheckPassword(password); err != nil {
		return nil, err
	}
	now := a.cfg.Now()
	var creds []store.Credential
	add := func(kind string, data []byte) {
		creds = append(creds, store.Credential{Kind: kind, Data: data, Created: now})
	}
	if o.APOP != store.APOPOff {
		if a.cfg.Seal == nil {
			return nil, mail.Errorf(mail.Conflict, "APOP needs the key that encrypts secrets")
		}
		// RFC 1939 section 7: the digest is over the secret's own bytes.
		add(kindAPOP, a.cfg.Seal.Seal([]byte(password), apopContext))
	}
	if err := a.work.enterBulk(ctx); err != nil {
		return nil, err
	}
	defer a.work.leaveBulk()
	prepared := prepare(password)
	add(kindArgon2, []byte(newArgon(prepared).String()))
	families := []*scramFamily{sha256Family}
	policy := a.cfg.Policy()
	if policy.SCRAMSHA1 {
		families = append(families, sha1Family)
	}
	for _, f := range families {
		keys, err := newScramKeys(f, prepared, policy.SCRAMRounds)
		if err != nil {
			return nil, err
		}
		add(f.kind, []byte(keys.encode(f)))
	}
	return creds, nil
}

// CheckPassword says why a new password cannot be taken; the error has kind
// Invalid.
func CheckPassword(password string) error {
	switch {
	case password == "":
		return mail.Errorf(mail.Invalid, "the password is empty")
	case len(password) > MaxPasswordBytes:
		return mail.Errorf(mail.Invalid,
			fmt.Sprintf("the password is longer than %d bytes", MaxPasswordBytes))
	case !utf8.ValidString(password):
		return mail.Errorf(mail.Invalid, "the password is not valid UTF-8")
	case !printable(password):
		return mail.Errorf(mail.Invalid, "the password has control characters")
	case prepare(password) == "":
		return mail.Errorf(mail.Invalid, "the password has no visible characters")
	}
	return nil
}

// printable says whether s is UTF-8 without control characters.
func printable(s string) bool {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return false
			}
		}
		if r < ' ' || r > '~' && unicode.IsControl(r) {
			return false
		}
	}
	return true
}

// The form of the passwords that we draw: groups of letters that are not
// easily taken for one another. 20 of 24 are 91 bits.
const (
	randomLetters = "abcdefghijkmnpqrstuvwxyz"
	randomGroups  = 5
	randomGroup   = 4
)

// RandomPassword draws a password of 91 bits, such as "kqrt-hbzm-wxya-fpnd-cuse".
func RandomPassword() string {
	b := make([]byte, 0, randomGroups*(randomGroup+1))
	for len(b) < randomGroups*(randomGroup+1)-1 {
		if len(b)%(randomGroup+1) == randomGroup {
			b = append(b, '-')
			continue
		}
		// A byte above the last multiple of 24 is thrown away, so that all
		// letters are equally likely.
		n := int(randomBytes(1)[0])
		if n < math.MaxUint8/len(randomLetters)*len(randomLetters) {
			b = append(b, randomLetters[n%len(randomLetters)])
		}
	}
	return string(b)
}

// MakeAppPassword draws a password for one program or device, to be shown
// once. The name is its owner's and says which; the error has kind Invalid.
// App passwords work wherever a password is sent as it is, not with SCRAM or
// APOP.
func (a *Authenticator) MakeAppPassword(name string) (store.Credential, string, error) {
	if strings.TrimSpace(name) == "" || len(name) > maxAppName || !printable(name) {
		return store.Credential{}, "", mail.Errorf(mail.Invalid, fmt.Sprintf(
			"the name of an app password has 1 to %d bytes and no control characters", maxAppName))
	}
	plain := RandomPassword()
	return store.Credential{
		Kind:    kindApp,
		Name:    name,
		Data:    hashApp(plain),
		Created: a.cfg.Now(),
	}, plain, nil
}

// maxAppName limits the name of an app password, in bytes.
const maxAppName = 64

// hashApp needs neither salt nor slowness: nobody guesses 91 bits. Hyphens
// and blanks are for the eye, and a telephone may write a capital first.
func hashApp(password string) []byte {
	b := make([]byte, 0, 64)
	b = append(b, "postrider app password\x00"...)
	for i := range len(password) {
		switch c := password[i]; {
		case c == '-' || c == ' ':
		case 'A' <= c && c <= 'Z':
			b = append(b, c-'A'+'a')
		default:
			b = append(b, c)
		}
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

func matchApp(creds []store.Credential, password string) (name string, ok bool) {
	var sum []byte
	for i := range creds {
		if creds[i].Kind != kindApp {
			continue
		}
		if sum == nil {
			sum = hashApp(password)
		}
		if hmac.Equal(sum, creds[i].Data) {
			return creds[i].Name, true
		}
	}
	return "", false
}
