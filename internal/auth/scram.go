package auth

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"postrider/internal/mail"
)

// A scramFamily is SCRAM with one hash function.
type scramFamily struct {
	name string // of the mechanism without channel binding
	kind string // of the stored credential
	hash func() hash.Hash
	size int // of the hash, in bytes
}

var (
	sha256Family = &scramFamily{mechSHA256, "scram-sha-256", sha256.New, sha256.Size}
	sha1Family   = &scramFamily{mechSHA1, "scram-sha-1", sha1.New, sha1.Size}
)

const (
	minScramRounds = 20000
	scramSaltBytes = 16
	maxScramRounds = 10_000_000
	// maxNonce limits the client's part of the nonce.
	maxNonce = 256
)

// scramKeys are what the server knows of a password (RFC 5802 section 3).
type scramKeys struct {
	rounds         int
	salt           []byte
	stored, server []byte
}

func newScramKeys(f *scramFamily, password string, rounds int) (*scramKeys, error) {
	rounds = min(max(rounds, minScramRounds), maxScramRounds)
	return deriveScramKeys(f, password, randomBytes(scramSaltBytes), rounds)
}

func deriveScramKeys(
	f *scramFamily, password string, salt []byte, rounds int,
) (*scramKeys, error) {
	salted, err := pbkdf2.Key(f.hash, password, salt, rounds, f.size)
	if err != nil {
		return nil, fmt.Errorf("deriving keys for %s: %w", f.name, err)
	}
	client := f.mac(salted, "Client Key")
	h := f.hash()
	h.Write(client)
	return &scramKeys{
		rounds: rounds,
		salt:   salt,
		stored: h.Sum(nil),
		server: f.mac(salted, "Server Key"),
	}, nil
}

func (f *scramFamily) mac(key []byte, text string) []byte {
	m := hmac.New(f.hash, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// encode gives the form NAME$rounds:salt$StoredKey:ServerKey that other
// programs use too.
func (k *scramKeys) encode(f *scramFamily) string {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s$%d:%s$%s:%s", f.name, k.rounds, b64(k.salt), b64(k.stored),
		b64(k.server))
}

func parseScramKeys(f *scramFamily, s string) (*scramKeys, error) {
	damaged := mail.Errorf(mail.Damaged, "stored keys for "+f.name+" cannot be read")
	parts := strings.Split(s, "$")
	if len(parts) != 3 || parts[0] != f.name {
		return nil, damaged
	}
	rounds, salt, ok1 := strings.Cut(parts[1], ":")
	stored, server, ok2 := strings.Cut(parts[2], ":")
	if !ok1 || !ok2 {
		return nil, damaged
	}
	var k scramKeys
	var errs [4]error
	k.rounds, errs[0] = strconv.Atoi(rounds)
	k.salt, errs[1] = base64.StdEncoding.DecodeString(salt)
	k.stored, errs[2] = base64.StdEncoding.DecodeString(stored)
	k.server, errs[3] = base64.StdEncoding.DecodeString(server)
	for _, err := range errs {
		if err != nil {
			return nil, damaged
		}
	}
	if k.rounds < 1 || k.rounds > maxScramRounds || len(k.salt) == 0 ||
		len(k.stored) != f.size || len(k.server) != f.size {
		return nil, damaged
	}
	return &k, nil
}

// A scramExchange is a run of SCRAM (RFC 5802, RFC 7677).
type scramExchange struct {
	auth    *Authenticator
	channel Channel
	family  *scramFamily
	plus    bool
	next    func(*scramExchange, context.Context, []byte) ([]byte, *Identity, error)

	login login
	keys  *scramKeys // of the user, or made up
	real  bool       // keys are the user's
	gs2   string     // the gs2-header
	cbind []byte     // the channel binding data that the client must show
	first string     // client-first-message-bare "," server-first-message
	nonce string
	id    *Identity
}

func newScram(a *Authenticator, c *Channel, f *scramFamily, plus bool) *scramExchange {
	return &scramExchange{
		auth: a, channel: *c, family: f, plus: plus, next: (*scramExchange).clientFirst,
	}
}

func (x *scramExchange) method() string {
	if x.plus {
		return x.family.name + "-PLUS"
	}
	return x.family.name
}

// Next takes client-first, client-final, and the empty response after the
// server's last message.
func (x *scramExchange) Next(response []byte) ([]byte, *Identity, error) {
	if x.next == nil || len(response) > maxResponse {
		x.next = nil
		return nil, nil, ErrSyntax
	}
	if response == nil && x.gs2 == "" {
		return []byte{}, nil, nil // the client speaks first
	}
	ctx, cancel := x.auth.stepContext()
	defer cancel()
	challenge, id, err := x.next(x, ctx, response)
	if err != nil || id != nil {
		x.next = nil
	}
	return challenge, id, err
}

// clientFirst answers gs2-header client-first-message-bare.
func (x *scramExchange) clientFirst(
	ctx context.Context, response []byte,
) ([]byte, *Identity, error) {
	m, ok := parseClientFirst(string(response))
	if !ok {
		return nil, nil, ErrSyntax
	}
	if reason := x.checkBinding(m); reason != "" {
		x.auth.logRefusal(ctx, &x.channel, x.method(), m.user, reason)
		return nil, nil, ErrCredentials
	}
	if !x.auth.sameUser(ctx, m.authzid, m.user) {
		x.auth.logRefusal(ctx, &x.channel, x.method(), m.user, reasonAuthzid)
		return nil, nil, ErrCredentials
	}
	if err := x.auth.begin(ctx, &x.login, &x.channel, x.method(), m.user); err != nil {
		return nil, nil, err
	}
	if err := x.loadKeys(ctx); err != nil {
		return nil, nil, x.login.trouble(ctx, "reading SCRAM keys", err)
	}
	x.gs2 = m.gs2
	x.nonce = m.nonce + x.auth.nonce()
	challenge := "r=" + x.nonce + ",s=" + base64.StdEncoding.EncodeToString(x.keys.salt) +
		",i=" + strconv.Itoa(x.keys.rounds)
	x.first = m.bare + "," + challenge
	x.next = (*scramExchange).clientFinal
	return []byte(challenge), nil, nil
}

// RFC 5802 section 6: p asks for channel binding, which needs a -PLUS
// mechanism and a type that we have; n is for clients without; y says that
// the client knows it but heard of no -PLUS here. If we did announce one,
// somebody in between took it out.
func (x *scramExchange) checkBinding(m *clientFirst) (reason string) {
	switch {
	case m.flag == 'p' && x.plus:
		x.cbind = x.auth.bindingData(&x.channel, m.binding)
		if x.cbind == nil {
			return reasonBinding
		}
	case m.flag == 'p' || x.plus:
		return reasonBinding
	case m.flag == 'y' && x.auth.canBind(&x.channel):
		return reasonDowngrade
	}
	return ""
}

// loadKeys reads the user's keys. Who has none gets made-up ones that stay
// the same, so that nobody learns from the salt whether he exists.
func (x *scramExchange) loadKeys(ctx context.Context) error {
	creds, err := x.login.credentials(ctx)
	if err != nil {
		return err
	}
	for i := range creds {
		if creds[i].Kind == x.family.kind {
			x.real = true
			x.keys, err = parseScramKeys(x.family, string(creds[i].Data))
			return err
		}
	}
	name := x.login.user
	if !x.login.address.IsZero() {
		name = x.login.address.Key()
	}
	m := hmac.New(sha256.New, x.auth.cfg.Secret)
	m.Write([]byte("salt of " + x.family.name + "\x00" + name))
	x.keys = &scramKeys{
		rounds: max(x.login.policy.SCRAMRounds, minScramRounds),
		salt:   m.Sum(nil)[:scramSaltBytes],
		stored: make([]byte, x.family.size),
		server: make([]byte, x.family.size),
	}
	return nil
}

// clientFinal verifies the proof and gives the server's signature.
func (x *scramExchange) clientFinal(
	ctx context.Context, response []byte,
) ([]byte, *Identity, error) {
	m, ok := parseClientFinal(string(response))
	if !ok || len(m.proof) != x.family.size {
		return nil, nil, ErrSyntax
	}
	// Guesses prepared side by side are served one after the other.
	x.login.start()
	if err := x.login.serve(ctx); err != nil {
		return nil, nil, err
	}
	// RFC 5802 section 5.1: the nonce must be ours, the whole of it.
	if !hmac.Equal([]byte(m.nonce), []byte(x.nonce)) {
		return nil, nil, x.login.fail(ctx, reasonProof)
	}
	// RFC 5802 section 6: what was bound is gs2-header and binding data.
	if !hmac.Equal(m.binding, append([]byte(x.gs2), x.cbind...)) {
		return nil, nil, x.login.fail(ctx, reasonBinding)
	}
	// RFC 5802 section 3.
	message := x.first + "," + m.withoutProof
	signature := x.family.mac(x.keys.stored, message)
	for i := range signature {
		signature[i] ^= m.proof[i] // now the client's key
	}
	h := x.family.hash()
	h.Write(signature)
	if !hmac.Equal(h.Sum(nil), x.keys.stored) || !x.real {
		return nil, nil, x.login.fail(ctx, reasonProof)
	}
	id, err := x.login.succeed(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	x.id = id
	x.next = (*scramExchange).last
	final := "v=" + base64.StdEncoding.EncodeToString(x.family.mac(x.keys.server, message))
	return []byte(final), nil, nil
}

// last takes the empty response to the server's signature.
func (x *scramExchange) last(_ context.Context, response []byte) ([]byte, *Identity, error) {
	if len(response) > 0 {
		return nil, nil, ErrSyntax
	}
	return nil, x.id, nil
}
