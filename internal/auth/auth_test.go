package auth

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// A fakeStore keeps accounts in a map.
type fakeStore struct {
	mu       sync.Mutex
	main     string
	accounts map[string]*store.Account
	creds    map[mail.AccountID][]store.Credential
	reads    int   // of credentials
	err      error // of Account
}

func (s *fakeStore) Account(_ context.Context, a mail.Address) (*store.Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	if acct := s.accounts[a.Key()]; acct != nil {
		return acct, nil
	}
	return nil, mail.Errorf(mail.NotFound, "no such account")
}

func (s *fakeStore) Credentials(
	_ context.Context, id mail.AccountID,
) ([]store.Credential, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	return s.creds[id], nil
}

func (s *fakeStore) MainDomain(context.Context) (string, error) { return s.main, nil }

// change replaces an account's row, as a write to the store does.
func (s *fakeStore) change(address string, f func(*store.Account)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	acct := *s.accounts[address]
	f(&acct)
	s.accounts[address] = &acct
}

// plainSealer stands in for the real encryption.
type plainSealer struct{}

func (plainSealer) Seal(plain, context []byte) []byte {
	return slices.Concat(context, []byte("sealed:"), plain)
}

func (plainSealer) Open(sealed, context []byte) ([]byte, error) {
	plain, ok := bytes.CutPrefix(sealed, slices.Concat(context, []byte("sealed:")))
	if !ok {
		return nil, errors.New("not sealed like this")
	}
	return plain, nil
}

var (
	here    = netip.MustParseAddr("127.0.0.1")
	faraway = netip.MustParseAddr("192.0.2.7")
)

const (
	rightPassword = "rosebud é"
	appName       = "phone"
)

// testCredentials are made once, because hashing is slow.
var testCredentials = sync.OnceValues(func() ([]store.Credential, error) {
	a := New(Config{Seal: plainSealer{}, Policy: func() Policy { return Policy{SCRAMSHA1: true} }})
	return a.MakeCredentials(context.Background(), rightPassword,
		CredentialOptions{APOP: store.APOPAllowed})
})

// newTest makes an authenticator that knows alice (APOP allowed, with an app
// password), bob (disabled), carol (no login), dave (APOP required) and eve
// (no password), all but eve with the same password.
func newTest(t testing.TB, change func(*Config)) (*Authenticator, *fakeStore, string) {
	t.Helper()
	s := &fakeStore{
		main:     "example.org",
		accounts: map[string]*store.Account{},
		creds:    map[mail.AccountID][]store.Credential{},
	}
	cfg := Config{
		Store:  s,
		Seal:   plainSealer{},
		Secret: []byte("a constant secret"),
		Policy: func() Policy {
			p := DefaultPolicy()
			p.SCRAMSHA1 = true
			return p
		},
	}
	if change != nil {
		change(&cfg)
	}
	a := New(cfg)
	t.Cleanup(a.Close)
	creds, err := testCredentials()
	if err != nil {
		t.Fatal(err)
	}
	app, plain, err := a.MakeAppPassword(appName)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"alice", "bob", "carol", "dave", "eve"} {
		acct := &store.Account{
			ID:      mail.AccountID(i + 1),
			Address: mail.Address{Local: name, Domain: "example.org"},
			Enabled: name != "bob",
			Login:   name != "carol",
			Version: 1,
		}
		switch name {
		case "alice":
			acct.APOP = store.APOPAllowed
			s.creds[acct.ID] = append([]store.Credential{app}, creds...)
		case "dave":
			acct.APOP = store.APOPRequired
			s.creds[acct.ID] = creds
		case "eve":
		default:
			s.creds[acct.ID] = creds
		}
		s.accounts[acct.Address.Key()] = acct
	}
	return a, s, plain
}

func TestPassword(t *testing.T) {
	a, _, app := newTest(t, nil)
	local := &Channel{Service: "pop", Remote: here}
	remote := &Channel{Service: "pop", Remote: faraway}
	secure := &Channel{Service: "pop", Remote: faraway, TLS: serverState(t, 0)}
	for _, test := range []struct {
		name, user, password string
		channel              *Channel
		want                 error
		app                  string
	}{
		{"whole address", "alice@example.org", rightPassword, local, nil, ""},
		{"other case", "ALICE@Example.ORG", rightPassword, local, nil, ""},
		{"bare name", "alice", rightPassword, local, nil, ""},
		{"decomposed accent", "alice", "rosebud e\u0301", local, nil, ""},
		{"over TLS", "alice", rightPassword, secure, nil, ""},
		{"app password", "alice", app, local, nil, appName},
		{"app password, without hyphens", "alice", removeHyphens(app), local, nil, appName},
		{"app password of another", "bob", app, local, ErrCredentials, ""},
		{"wrong", "alice", "rosebud", local, ErrCredentials, ""},
		{"empty", "alice", "", local, ErrCredentials, ""},
		{"with NUL", "alice", rightPassword + "\x00", local, ErrCredentials, ""},
		{"unknown", "mallory", rightPassword, local, ErrCredentials, ""},
		{"unknown domain", "alice@example.net", rightPassword, local, ErrCredentials, ""},
		{"no name", "", rightPassword, local, ErrCredentials, ""},
		{"percent is no at", "alice%example.org", rightPassword, local, ErrCredentials, ""},
		{"no domain", "alice@", rightPassword, local, ErrCredentials, ""},
		{"no local part", "@example.org", rightPassword, local, ErrCredentials, ""},
		{"disabled", "bob", rightPassword, local, ErrCredentials, ""},
		{"no login", "carol", rightPassword, local, ErrCredentials, ""},
		{"no password", "eve", rightPassword, local, ErrCredentials, ""},
		{"clear text from afar", "alice", rightPassword, remote, ErrPlaintext, ""},
		{"APOP required", "dave", rightPassword, local, ErrNeedsAPOP, ""},
		{"APOP required, as others see it", "dave", rightPassword, local, ErrPlaintext, ""},
		{"APOP required, wrong", "dave", "x", local, ErrCredentials, ""},
		{"APOP required, TLS", "dave", rightPassword, secure, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			a.guard = newGuard() // no delays here
			id, err := a.Password(t.Context(), test.channel, test.user, test.password)
			if !errors.Is(err, test.want) || (err == nil) != (id != nil) {
				t.Fatalf("got %v, %v, want error %v", id, err, test.want)
			}
			if err == nil && (id.App != test.app || id.Method != "USER" || id.Version != 1) {
				t.Errorf("got identity %+v, want app %q", id, test.app)
			}
		})
	}
}

func removeHyphens(s string) string {
	b := []byte{}
	for i := range len(s) {
		if s[i] != '-' {
			b = append(b, s[i])
		}
	}
	return string(b)
}

func TestClearTextPolicy(t *testing.T) {
	for _, test := range []struct {
		policy       ClearText
		remote, want bool // at this machine, from afar
	}{
		{"", false, false},
		{ClearTextLoopback, true, false},
		{ClearTextNever, false, false},
		{ClearTextAlways, true, true},
		{"rubbish", false, false},
	} {
		t.Run(string(test.policy), func(t *testing.T) {
			a := New(Config{Policy: func() Policy { return Policy{ClearText: test.policy} }})
			if got := a.Plaintext(&Channel{Remote: here}); got != test.remote {
				t.Errorf("loopback: got %v, want %v", got, test.remote)
			}
			mapped := netip.MustParseAddr("::ffff:127.0.0.1")
			if got := a.Plaintext(&Channel{Remote: mapped}); got != test.remote {
				t.Errorf("mapped loopback: got %v, want %v", got, test.remote)
			}
			if got := a.Plaintext(&Channel{}); got != test.remote {
				t.Errorf("Unix socket: got %v, want %v", got, test.remote)
			}
			if got := a.Plaintext(&Channel{Remote: faraway}); got != test.want {
				t.Errorf("from afar: got %v, want %v", got, test.want)
			}
			if !a.Plaintext(&Channel{Remote: faraway, TLS: serverState(t, 0)}) {
				t.Error("over TLS: got false")
			}
		})
	}
}

// RFC 1939 section 7 has this example.
func TestAPOP(t *testing.T) {
	a, s, _ := newTest(t, nil)
	const timestamp = "<1896.697170952@dbc.mtview.ca.us>"
	const digest = "c4c9334bac560ecc979e58001b3e22fb"
	creds, err := a.MakeCredentials(t.Context(), "tanstaaf",
		CredentialOptions{APOP: store.APOPRequired})
	if err != nil {
		t.Fatal(err)
	}
	for id := range mail.AccountID(5) {
		s.creds[id+1] = creds
	}
	for _, test := range []struct {
		name, user, timestamp, digest string
		want                          error
	}{
		{"RFC 1939", "alice", timestamp, digest, nil},
		{"required", "dave", timestamp, digest, nil},
		{"other timestamp", "alice", "<1@x>", digest, ErrCredentials},
		{"no hexadecimal", "alice", timestamp, "z" + digest[1:], ErrCredentials},
		{"empty", "alice", timestamp, "", ErrCredentials},
		{"APOP off", "eve", timestamp, digest, ErrCredentials},
		{"disabled", "bob", timestamp, digest, ErrCredentials},
		{"unknown", "mallory", timestamp, digest, ErrCredentials},
		{"of an empty secret", "mallory", "<1@x>", "8f3c9e29d5e3ad0a9e8fdc3de5b5ac50",
			ErrCredentials},
	} {
		t.Run(test.name, func(t *testing.T) {
			a.guard = newGuard()
			c := &Channel{Service: "pop", Remote: faraway}
			id, err := a.APOP(t.Context(), c, test.user, test.timestamp, test.digest)
			if !errors.Is(err, test.want) || (err == nil) != (id != nil) {
				t.Fatalf("got %v, %v, want error %v", id, err, test.want)
			}
			if id != nil && id.Method != "APOP" {
				t.Errorf("got method %q", id.Method)
			}
		})
	}
}

func TestStoreTrouble(t *testing.T) {
	a, s, _ := newTest(t, nil)
	s.err = errors.New("disk on fire")
	_, err := a.Password(t.Context(), &Channel{Remote: here}, "alice", rightPassword)
	if !errors.Is(err, ErrTemporary) {
		t.Errorf("got %v, want %v", err, ErrTemporary)
	}
}

func TestVersionVoidsMemory(t *testing.T) {
	a, s, _ := newTest(t, nil)
	c := &Channel{Remote: here}
	login := func() error {
		_, err := a.Password(t.Context(), c, "alice", rightPassword)
		return err
	}
	if err := login(); err != nil {
		t.Fatal(err)
	}
	reads := s.reads
	if err := login(); err != nil || s.reads != reads {
		t.Fatalf("second login: got %v and %d reads, want the memory", err, s.reads-reads)
	}
	s.creds[1] = nil
	if err := login(); err != nil {
		t.Fatalf("same version: got %v, want the memory", err)
	}
	a.Forget(1)
	if err := login(); !errors.Is(err, ErrCredentials) {
		t.Fatalf("after Forget: got %v", err)
	}
	a, s, _ = newTest(t, nil)
	if err := login(); err != nil {
		t.Fatal(err)
	}
	s.creds[1] = nil
	s.change("alice@example.org", func(x *store.Account) { x.Version++ })
	if err := login(); !errors.Is(err, ErrCredentials) {
		t.Errorf("new version: got %v, want %v", err, ErrCredentials)
	}
	a, s, _ = newTest(t, nil)
	if err := login(); err != nil {
		t.Fatal(err)
	}
	s.change("alice@example.org", func(x *store.Account) { x.Enabled = false; x.Version++ })
	if err := login(); !errors.Is(err, ErrCredentials) {
		t.Errorf("disabled: got %v, want %v", err, ErrCredentials)
	}
}

func BenchmarkPasswordRemembered(b *testing.B) {
	a, _, _ := newTest(b, nil)
	c := &Channel{Remote: faraway, TLS: serverState(b, 0)}
	login := func() {
		_, err := a.Password(b.Context(), c, "alice@example.org", rightPassword)
		if err != nil {
			b.Fatal(err)
		}
	}
	login()
	b.ReportAllocs()
	for b.Loop() {
		login()
	}
}

func BenchmarkPasswordFirst(b *testing.B) {
	a, _, _ := newTest(b, nil)
	c := &Channel{Remote: here}
	b.ReportAllocs()
	for b.Loop() {
		a.Forget(1)
		_, err := a.Password(context.Background(), c, "alice@example.org", rightPassword)
		if err != nil {
			b.Fatal(err)
		}
	}
}
