package intake

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postrider/internal/auth"
	"postrider/internal/blob"
	"postrider/internal/blob/volume"
	"postrider/internal/journal"
	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/sqlstore"
)

// A fixture is a hall over a real store, with these accounts:
//
//	alice, bob, carol, postmaster @example.org
//	disabled@example.org          receives nothing
//	small@example.org             with a quota of 1000 bytes
//	erin@xn--bcher-kva.example    of a domain in UTF-8
type fixture struct {
	*Hall
	store  *sqlstore.Store
	log    *bytes.Buffer
	close  func() string // closes the journal and gives what it holds
	limits Limits
}

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.FixedZone("", 3600))

func newFixture(t testing.TB) *fixture { return newFixtureOver(t, nil) }

// newFixtureOver lets a test put something between the hall and the store.
func newFixtureOver(t testing.TB, over func(*sqlstore.Store) Store) *fixture {
	t.Helper()
	dir := t.TempDir()
	blobs, err := volume.Open(volume.Config{Dirs: []string{filepath.Join(dir, "v0"),
		filepath.Join(dir, "v1")}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{Blobs: blobs,
		Path: filepath.Join(dir, "postrider.db"), Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkAndClose(t, s) })
	f := &fixture{store: s, log: new(bytes.Buffer)}
	f.fill(t)
	f.openJournal(t)
	var db Store = s
	if over != nil {
		db = over(s)
	}
	f.limits = Limits{Size: 200 << 10, Recipients: 5, Hops: 3}
	f.Hall = New(Config{Store: db, Hostname: func() string { return "mx.example.org" },
		Limits: func() Limits { return f.limits }, Own: func(a netip.Addr) bool {
			return a == netip.MustParseAddr("198.51.100.7") || a == netip.MustParseAddr("2001:db8::7")
		}, Now: func() time.Time { return noon },
		Log: f.Hall.cfg.Log})
	return f
}

func checkAndClose(t testing.TB, s *sqlstore.Store) {
	problems, err := s.Check(context.Background(), false, nil)
	if err != nil || len(problems) > 0 {
		t.Errorf("the store is damaged: %v %v", problems, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func (f *fixture) openJournal(t testing.TB) {
	t.Helper()
	out := &locked{w: f.log}
	j, err := journal.New(journal.Config{Format: "text", Level: 3, Stderr: out})
	if err != nil {
		t.Fatal(err)
	}
	f.Hall = &Hall{cfg: Config{Log: j.For("intake")}}
	f.close = sync.OnceValue(func() string {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		return f.log.String()
	})
	t.Cleanup(func() { f.close() })
}

type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (f *fixture) fill(t testing.TB) {
	t.Helper()
	for _, d := range []store.Domain{{Name: "example.org", Main: true}, {Name: "example.com"},
		{Name: "xn--bcher-kva.example"}} {
		if err := f.store.AddDomain(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	account := func(local, domain string) store.Account {
		return store.Account{Address: mail.Address{Local: local, Domain: domain},
			Enabled: true, Login: true}
	}
	disabled, small := account("disabled", "example.org"), account("small", "example.org")
	disabled.Enabled, small.Quota = false, 1000
	far := account("far", "example.org")
	far.Volume = 1
	f.write(t, account("alice", "example.org"), account("bob", "example.org"),
		account("carol", "example.org"), account("postmaster", "example.org"),
		account("erin", "xn--bcher-kva.example"), disabled, small, far)
}

func (f *fixture) write(t testing.TB, accounts ...store.Account) {
	t.Helper()
	var w []store.AccountWrite
	for _, a := range accounts {
		w = append(w, store.AccountWrite{Account: a})
	}
	if err := f.store.WriteAccounts(t.Context(), w); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) account(t testing.TB, address string) *store.Account {
	t.Helper()
	a, err := f.store.Account(t.Context(), addr(address))
	if err != nil {
		t.Fatal(address, err)
	}
	return a
}

// mails gives the messages of an account, prefix and body.
func (f *fixture) mails(t testing.TB, address string) []string {
	t.Helper()
	a := f.account(t, address)
	entries, err := f.store.Entries(t.Context(), a.ID, store.Inbox, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		emails, err := f.store.Emails(t.Context(), a.ID, []mail.EmailID{e.Email}, false)
		if err != nil {
			t.Fatal(err)
		}
		r, err := f.store.OpenEmail(emails[0])
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		list = append(list, string(b))
	}
	return list
}

// traces gives what the store tells of messages, newest first.
func (f *fixture) traces(t testing.TB) []store.Trace {
	t.Helper()
	list, err := f.store.Traces(t.Context(), store.TraceQuery{})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// user is a visitor who has logged in.
func (f *fixture) user(t testing.TB, address string) *Visitor {
	t.Helper()
	a := f.account(t, address)
	v := stranger()
	v.Door, v.With = "submission", "ESMTPA"
	v.User = &auth.Identity{Account: a.ID, Address: a.Address, Method: "PLAIN", Version: a.Version}
	return v
}

func stranger() *Visitor {
	return &Visitor{Door: "smtp", Session: "s-1", Helo: "client.example.net", With: "ESMTP",
		Remote: netip.MustParseAddrPort("203.0.113.9:4711"),
		Local:  netip.MustParseAddrPort("192.0.2.1:25")}
}

// addr splits at the last @; "" is the null path.
func addr(s string) mail.Address {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return mail.Address{Local: s}
	}
	return mail.Address{Local: s[:at], Domain: s[at+1:]}
}

// said is how an answer of the hall reads.
func said(err error) string {
	if err == nil {
		return "ok"
	}
	if r, ok := errors.AsType[*mail.Reply](err); ok {
		return r.Error()
	}
	return "no reply: " + err.Error()
}

// send goes through a whole transaction and gives the first refusal.
func (f *fixture) send(t testing.TB, v *Visitor, from, body string, to ...string) (
	*Receipt, error) {
	t.Helper()
	ctx := t.Context()
	tx, err := f.From(ctx, v, addr(from), mail.MailParams{})
	if err != nil {
		return nil, err
	}
	defer tx.Abort()
	for _, a := range to {
		if err := tx.Rcpt(ctx, addr(a), mail.RcptParams{}); err != nil {
			return nil, err
		}
	}
	if err := tx.Open(ctx); err != nil {
		return nil, err
	}
	io.WriteString(tx, body) // Commit tells the error
	return tx.Commit(ctx)
}

const letter = "From: Alice <alice@example.org>\r\nTo: bob@example.org\r\nSubject: hi\r\n" +
	"Date: Wed, 4 Mar 2026 11:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\nHello.\r\n"

// A trap is a store some of whose calls fail.
type trap struct {
	*sqlstore.Store
	account, local, main, usage, draft, deliver, lost error
	results                                           func([]store.Result) []store.Result
	delivered                                         *store.Delivery
	blobs                                             blob.Store
}

func (s *trap) Account(ctx context.Context, a mail.Address) (*store.Account, error) {
	if s.account != nil {
		return nil, s.account
	}
	return s.Store.Account(ctx, a)
}

func (s *trap) IsLocal(ctx context.Context, d string) (bool, error) {
	if s.local != nil {
		return false, s.local
	}
	return s.Store.IsLocal(ctx, d)
}

func (s *trap) MainDomain(ctx context.Context) (string, error) {
	if s.main != nil {
		return "", s.main
	}
	return s.Store.MainDomain(ctx)
}

func (s *trap) Usage(ctx context.Context, id mail.AccountID) (store.Usage, error) {
	if s.usage != nil {
		return store.Usage{}, s.usage
	}
	return s.Store.Usage(ctx, id)
}

func (s *trap) Deliver(ctx context.Context, d *store.Delivery) ([]store.Result, error) {
	s.delivered = d
	if s.deliver != nil {
		return nil, s.deliver
	}
	r, err := s.Store.Deliver(ctx, d)
	if s.lost != nil {
		return nil, s.lost
	}
	if s.results != nil {
		r = s.results(r)
	}
	return r, err
}

func (s *trap) Blobs() blob.Store {
	if s.draft != nil || s.blobs != nil {
		return noDrafts{s.Store.Blobs(), s}
	}
	return s.Store.Blobs()
}

// noDrafts gives no draft, or one that fails.
type noDrafts struct {
	blob.Store
	trap *trap
}

func (b noDrafts) NewDraft(ctx context.Context, group int) (blob.Draft, error) {
	if b.trap.draft != nil {
		return nil, b.trap.draft
	}
	return b.trap.blobs.NewDraft(ctx, group)
}

func newTrapped(t testing.TB) (*fixture, *trap) {
	s := &trap{}
	f := newFixtureOver(t, func(real *sqlstore.Store) Store { s.Store = real; return s })
	return f, s
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (f *fixture) remove(t testing.TB, a *store.Account) {
	t.Helper()
	w := []store.AccountWrite{{Account: *a, Remove: true}}
	if err := f.store.WriteAccounts(t.Context(), w); err != nil {
		t.Fatal(err)
	}
}
