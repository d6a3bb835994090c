package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postrider/internal/auth"
	"postrider/internal/journal"
	"postrider/internal/mail"
	"postrider/internal/settings"
	"postrider/internal/store"
)

// fakeStore keeps rows in memory.
type fakeStore struct {
	mu       sync.Mutex
	domains  []store.Domain
	accounts map[string]*store.Account
	creds    map[mail.AccountID][]store.Credential
	rows     map[string]string
	traces   []store.Trace
	problems []store.Problem
	next     mail.AccountID
	writes   int   // WriteAccounts calls
	fail     error // of the next write
}

func newFakeStore() *fakeStore {
	return &fakeStore{
		accounts: map[string]*store.Account{},
		creds:    map[mail.AccountID][]store.Credential{},
		rows:     map[string]string{},
	}
}

func (s *fakeStore) Domains(context.Context) ([]store.Domain, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.domains), nil
}

func (s *fakeStore) AddDomain(_ context.Context, d store.Domain) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.domains = append(s.domains, d)
	return nil
}

func (s *fakeStore) RemoveDomain(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.accounts {
		if strings.HasSuffix(key, "@"+name) {
			return mail.Errorf(mail.Conflict, "the domain has accounts")
		}
	}
	s.domains = slices.DeleteFunc(s.domains, func(d store.Domain) bool { return d.Name == name })
	return nil
}

func (s *fakeStore) SetMainDomain(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.domains {
		s.domains[i].Main = s.domains[i].Name == name
	}
	return nil
}

func (s *fakeStore) MainDomain(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.domains {
		if d.Main {
			return d.Name, nil
		}
	}
	return "", nil
}

func (s *fakeStore) IsLocal(_ context.Context, domain string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.domains,
		func(d store.Domain) bool { return d.Name == domain }), nil
}

func (s *fakeStore) Account(_ context.Context, a mail.Address) (*store.Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if row, ok := s.accounts[a.Key()]; ok {
		c := *row
		return &c, nil
	}
	return nil, mail.Errorf(mail.NotFound, "no such account")
}

func (s *fakeStore) Accounts(_ context.Context, domain, after string, limit int) (
	[]store.Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []store.Account
	for key, a := range s.accounts {
		if key > after && (domain == "" || a.Address.Domain == domain) {
			list = append(list, *a)
		}
	}
	slices.SortFunc(list, func(a, b store.Account) int {
		return cmp.Compare(a.Address.Key(), b.Address.Key())
	})
	return list[:min(limit, len(list))], nil
}

func (s *fakeStore) Credentials(_ context.Context, id mail.AccountID) ([]store.Credential, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.creds[id]), nil
}

func (s *fakeStore) WriteAccounts(_ context.Context, writes []store.AccountWrite) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.fail != nil {
		return s.fail
	}
	for _, w := range writes {
		a := w.Account
		if w.Remove {
			delete(s.accounts, a.Address.Key())
			delete(s.creds, a.ID)
			continue
		}
		if a.ID == 0 {
			s.next++
			a.ID, a.Version = s.next, 1
		}
		s.accounts[a.Address.Key()] = &a
		if w.Replace {
			s.creds[a.ID] = slices.Clone(w.Credentials)
		}
	}
	return nil
}

func (s *fakeStore) Usage(context.Context, mail.AccountID) (store.Usage, error) {
	return store.Usage{Messages: 3, Bytes: 4096}, nil
}

func (s *fakeStore) Traces(_ context.Context, q store.TraceQuery) ([]store.Trace, error) {
	list := slices.DeleteFunc(slices.Clone(s.traces), func(t store.Trace) bool {
		return q.ID != "" && t.ID != q.ID || q.Address != "" && t.From != q.Address &&
			!slices.ContainsFunc(t.Recipients, func(r store.TraceRecipient) bool {
				return r.Address == q.Address
			})
	})
	return list[:min(len(list), q.Limit)], nil
}

func (s *fakeStore) Check(_ context.Context, repair bool, p store.Progress) (
	[]store.Problem, error) {
	p("looking", 1, 2)
	p("looking", 2, 2)
	list := slices.Clone(s.problems)
	for i := range list {
		list[i].Repaired = repair
	}
	return list, nil
}

func (s *fakeStore) Settings(context.Context) (map[string]string, error) { return s.rows, nil }

func (s *fakeStore) WriteSettings(_ context.Context, changes map[string]*string) error {
	for name, value := range changes {
		if value == nil {
			delete(s.rows, name)
		} else {
			s.rows[name] = *value
		}
	}
	return nil
}

// fakePasswords costs nothing and shows what was asked for.
type fakePasswords struct{ made int }

func (f *fakePasswords) MakeCredentials(_ context.Context, password string,
	o auth.CredentialOptions) ([]store.Credential, error) {
	if err := auth.CheckPassword(password); err != nil {
		return nil, err
	}
	f.made++
	creds := []store.Credential{{Kind: kindArgon2, Data: []byte(password)}}
	if o.APOP != store.APOPOff {
		creds = append(creds, store.Credential{Kind: kindAPOP, Data: []byte(password)})
	}
	return creds, nil
}

func (f *fakePasswords) MakeAppPassword(name string) (store.Credential, string, error) {
	return store.Credential{Kind: kindApp, Name: name}, "app-" + name, nil
}

// fakeHost is a running server.
type fakeHost struct {
	stopped bool
	level   string // the last that was set
}

func (h *fakeHost) LogLevels() []journal.ComponentLevel {
	return []journal.ComponentLevel{{Component: "pop", Level: 3}, {Component: "smtp", Level: 3}}
}

func (h *fakeHost) SetLogLevel(component string, level int, until time.Time) error {
	if level > 5 {
		return mail.Errorf(mail.Invalid, "want a level from 1 to 5")
	}
	h.level = fmt.Sprintf("%s %d %s", component, level, until.Format("2006-01-02 15:04"))
	return nil
}

func (h *fakeHost) Status(context.Context) (ServerStatus, error) {
	return ServerStatus{PID: 1, Listeners: []Listener{{Service: "smtp", Address: "[::1]:25"}}}, nil
}
func (h *fakeHost) Stop() { h.stopped = true }
func (h *fakeHost) Reload(context.Context) ([]string, error) {
	return []string{"smtp.listen needs a restart"}, nil
}

var testTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

type fixture struct {
	*Control
	rows *fakeStore
	pass *fakePasswords
	host *fakeHost
}

// newFixture has the domain example.org; with a host it is a running server.
func newFixture(t *testing.T, running bool) *fixture {
	t.Helper()
	f := &fixture{rows: newFakeStore(), pass: &fakePasswords{}, host: &fakeHost{}}
	f.rows.domains = []store.Domain{{Name: "example.org", Main: true}}
	reg := settings.New()
	if _, err := reg.Attach(context.Background(), f.rows, nil); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Store: f.rows, Passwords: f.pass, Settings: reg,
		Now: func() time.Time { return testTime }}
	if running {
		cfg.Host = f.host
	}
	f.Control = New(cfg)
	return f
}

// add makes accounts.
func (f *fixture) add(t *testing.T, addresses ...string) {
	t.Helper()
	for _, a := range addresses {
		q := AccountAddRequest{Address: a, Password: "secret"}
		if _, err := AccountAdd.Call(context.Background(), f, q, nil); err != nil {
			t.Fatalf("add %s: %v", a, err)
		}
	}
}

// secrets shows an account's credentials, sorted.
func (f *fixture) secrets(t *testing.T, address string) string {
	t.Helper()
	a, err := f.account(context.Background(), address)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, c := range f.rows.creds[a.ID] {
		list = append(list, fmt.Sprintf("%s%s=%s", c.Kind, c.Name, c.Data))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// wantKind checks the kind of an error.
func wantKind(t *testing.T, what string, err error, want mail.Kind) {
	t.Helper()
	if err == nil || mail.KindOf(err) != want {
		t.Errorf("%s: got error %v, want one of kind %s", what, err, kindNames[want])
	}
}

var errDisk = errors.New("disk on fire")
