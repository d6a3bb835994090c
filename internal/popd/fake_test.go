package popd

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"sync"
	"time"

	"postrider/internal/auth"
	"postrider/internal/blob"
	"postrider/internal/intake"
	"postrider/internal/mail"
	"postrider/internal/store"
)

// A fakeStore keeps one inbox an account in memory.
type fakeStore struct {
	mu       sync.Mutex
	now      func() time.Time
	accounts map[string]*store.Account // by key
	boxes    map[mail.AccountID]*fakeBox
	leases   map[string]fakeLease
	fails    map[string]error // by method
	calls    map[string]int
	fetched  map[mail.AccountID]mail.UID
	refused  func() // called when a lease is not to be had
}

type fakeBox struct {
	next    int64
	entries []store.Entry
	bodies  map[mail.EmailID][]byte
	sums    map[mail.EmailID]uint32 // of the bodies without what is the prefix
	gone    map[mail.EmailID]bool
}

type fakeLease struct {
	owner string
	until time.Time
}

func newFakeStore(now func() time.Time) *fakeStore {
	return &fakeStore{
		now:      now,
		accounts: map[string]*store.Account{},
		boxes:    map[mail.AccountID]*fakeBox{},
		leases:   map[string]fakeLease{},
		fails:    map[string]error{},
		calls:    map[string]int{},
		fetched:  map[mail.AccountID]mail.UID{},
	}
}

// called counts a call and gives the error that was asked for.
func (f *fakeStore) called(method string) error {
	f.calls[method]++
	return f.fails[method]
}

// count tells how often a method was called.
func (f *fakeStore) count(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[method]
}

func (f *fakeStore) add(address string) *store.Account {
	f.mu.Lock()
	defer f.mu.Unlock()
	local, domain, _ := strings.Cut(address, "@")
	a := &store.Account{
		ID:      mail.AccountID(len(f.accounts) + 1),
		Address: mail.Address{Local: local, Domain: domain},
		Enabled: true, Login: true, Version: 1,
	}
	f.accounts[a.Address.Key()] = a
	f.boxes[a.ID] = &fakeBox{
		bodies: map[mail.EmailID][]byte{}, sums: map[mail.EmailID]uint32{},
		gone: map[mail.EmailID]bool{},
	}
	return a
}

func (f *fakeStore) deliver(address, body string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.accounts[address]
	if a == nil {
		return fmt.Errorf("no account %s", address)
	}
	b := f.boxes[a.ID]
	b.next++
	id := mail.EmailID(1000 + b.next)
	var flags mail.Flags
	if strings.Contains(body, "Encoding: binary") {
		flags = mail.Binary
	}
	b.entries = append(b.entries, store.Entry{
		UID: mail.UID(b.next), Email: id, Size: int64(len(body)), Flags: flags,
	})
	b.bodies[id] = []byte(body)
	b.sums[id] = crc32.Checksum(b.bodies[id][min(len(body), 5):], castagnoli)
	return nil
}

// damage changes the last byte of a message.
func (f *fakeStore) damage(address string, uid mail.UID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	body := f.boxes[f.accounts[address].ID].bodies[mail.EmailID(1000+uid)]
	if len(body) == 0 {
		return fmt.Errorf("no message %d", uid)
	}
	body[len(body)-1] ^= 1
	return nil
}

func (f *fakeStore) Account(_ context.Context, a mail.Address) (*store.Account, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("account"); err != nil {
		return nil, err
	}
	if acc := f.accounts[a.Key()]; acc != nil {
		c := *acc
		return &c, nil
	}
	return nil, mail.Errorf(mail.NotFound, "no such account")
}

func (f *fakeStore) Entries(_ context.Context, a mail.AccountID, id mail.MailboxID,
	after mail.UID, limit int,
) ([]store.Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("entries"); err != nil || id != store.Inbox {
		return nil, err
	}
	all := f.boxes[a].entries
	from, _ := slices.BinarySearchFunc(all, after+1, func(e store.Entry, uid mail.UID) int {
		return int(e.UID) - int(uid)
	})
	return slices.Clone(all[from:min(from+limit, len(all))]), nil
}

func (f *fakeStore) Emails(_ context.Context, a mail.AccountID, ids []mail.EmailID,
	_ bool,
) ([]*store.Email, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("emails"); err != nil {
		return nil, err
	}
	rows := make([]*store.Email, len(ids))
	for i, id := range ids {
		if body, ok := f.boxes[a].bodies[id]; ok && !f.boxes[a].gone[id] {
			n := min(len(body), 5) // of the prefix
			rows[i] = &store.Email{
				ID: id, Prefix: body[:n], Size: int64(len(body)),
				Location: blob.Location{
					Volume: int64(a), Offset: int64(id), Size: int64(len(body) - n),
					Sum: f.boxes[a].sums[id],
				},
			}
		}
	}
	return rows, nil
}

func (f *fakeStore) OpenEmail(e *store.Email) (store.MessageReader, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("open"); err != nil {
		return nil, err
	}
	body := f.boxes[mail.AccountID(e.Location.Volume)].bodies[e.ID]
	return &fakeReader{Reader: bytes.NewReader(body), err: f.fails["read"]}, nil
}

// A fakeReader fails with err, if any, after the first piece.
type fakeReader struct {
	*bytes.Reader
	err error
}

func (r *fakeReader) ReadAt(p []byte, at int64) (int, error) {
	if r.err != nil && at+int64(len(p)) >= r.Size() {
		return 0, r.err
	}
	return r.Reader.ReadAt(p, at)
}

func (r *fakeReader) Close() error { return nil }

func (f *fakeStore) Expunge(_ context.Context, a mail.AccountID, _ mail.MailboxID,
	uids []mail.UID,
) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("expunge"); err != nil {
		return err
	}
	b := f.boxes[a]
	b.entries = slices.DeleteFunc(b.entries, func(e store.Entry) bool {
		gone := slices.Contains(uids, e.UID)
		if gone {
			b.gone[e.Email] = true // those that have the row may read on
		}
		return gone
	})
	return nil
}

func (f *fakeStore) Acquire(_ context.Context, name, owner string, until time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("acquire"); err != nil {
		return err
	}
	l := f.leases[name]
	if l.owner != "" && l.owner != owner && f.now().Before(l.until) {
		if f.refused != nil {
			f.refused()
		}
		return mail.Errorf(mail.Locked, "in use by another session")
	}
	f.leases[name] = fakeLease{owner, until}
	return nil
}

func (f *fakeStore) Release(_ context.Context, name, owner string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.leases[name].owner == owner {
		delete(f.leases, name)
	}
	return f.called("release")
}

func (f *fakeStore) Fetched(_ context.Context, a mail.AccountID) (mail.UID, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fetched[a], f.called("fetched")
}

func (f *fakeStore) NoteFetched(a mail.AccountID, uid mail.UID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fetched[a] = max(f.fetched[a], uid)
}

// A fakeAuth knows passwords, and says of each channel what it is told to.
type fakeAuth struct {
	store     *fakeStore
	passwords map[string]string // by address
	clear     bool              // clear text is allowed without TLS
	err       error             // of every login
}

func (f *fakeAuth) Plaintext(c *auth.Channel) bool { return f.clear || c.TLS != nil }

func (f *fakeAuth) identity(user, method string, good func(password string) bool) (
	*auth.Identity, error,
) {
	if f.err != nil {
		return nil, f.err
	}
	password, known := f.passwords[user]
	if !known || !good(password) {
		return nil, auth.ErrCredentials
	}
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	a := f.store.accounts[user]
	return &auth.Identity{
		Account: a.ID, Address: a.Address, Method: method, Version: a.Version,
	}, nil
}

func (f *fakeAuth) Password(_ context.Context, _ *auth.Channel, user, password string) (
	*auth.Identity, error,
) {
	return f.identity(user, "USER", func(p string) bool { return p == password })
}

func (f *fakeAuth) APOP(_ context.Context, _ *auth.Channel, user, stamp, digest string) (
	*auth.Identity, error,
) {
	return f.identity(user, "APOP", func(p string) bool {
		sum := md5.Sum([]byte(stamp + p))
		return hex.EncodeToString(sum[:]) == digest
	})
}

func (f *fakeAuth) Mechanisms(c *auth.Channel) []string {
	if f.Plaintext(c) {
		return []string{"X-PROVE", "PLAIN"}
	}
	return []string{"X-PROVE"}
}

func (f *fakeAuth) Start(c *auth.Channel, mechanism string) (auth.Exchange, error) {
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		if !f.Plaintext(c) {
			return nil, auth.ErrPlaintext
		}
		return plainExchange{f}, nil
	case "X-PROVE":
		return &proveExchange{auth: f}, nil
	}
	return nil, auth.ErrMechanism
}

type plainExchange struct{ auth *fakeAuth }

func (e plainExchange) Next(response []byte) ([]byte, *auth.Identity, error) {
	if response == nil {
		return nil, nil, nil
	}
	parts := strings.Split(string(response), "\x00")
	if len(parts) != 3 {
		return nil, nil, auth.ErrSyntax
	}
	id, err := e.auth.identity(parts[1], "PLAIN", func(p string) bool { return p == parts[2] })
	return nil, id, err
}

// A proveExchange asks for user and password and shows, as SCRAM does, a last
// message before the identity.
type proveExchange struct {
	auth *fakeAuth
	step int
	user string
	id   *auth.Identity
}

func (e *proveExchange) Next(response []byte) ([]byte, *auth.Identity, error) {
	e.step++
	switch e.step {
	case 1:
		if len(response) > 0 {
			return nil, nil, auth.ErrSyntax
		}
		return []byte("who?"), nil, nil
	case 2:
		e.user = string(response)
		return []byte("prove!"), nil, nil
	case 3:
		var err error
		e.id, err = e.auth.identity(e.user, "X-PROVE", func(p string) bool {
			return p == string(response)
		})
		return []byte("proof of the server"), nil, err
	}
	return nil, e.id, nil
}

// A fakeComposer delivers to the accounts that the To fields name.
type fakeComposer struct {
	store   *fakeStore
	err     error
	limit   int
	aborted chan struct{}
}

func (f *fakeComposer) Compose(_ context.Context, v *intake.Visitor) (intake.Composition, error) {
	if f.err != nil {
		return nil, f.err
	}
	return &fakeComposition{composer: f, visitor: v}, nil
}

type fakeComposition struct {
	composer *fakeComposer
	visitor  *intake.Visitor
	text     strings.Builder
	err      error
	done     bool
}

func (c *fakeComposition) Write(p []byte) (int, error) {
	if c.composer.limit > 0 && c.text.Len()+len(p) > c.composer.limit {
		c.err = mail.NewReply(552, "5.3.4", "message too large")
		return 0, c.err
	}
	return c.text.Write(p)
}

func (c *fakeComposition) Commit(context.Context) (*intake.Receipt, error) {
	if c.err != nil {
		return nil, c.err
	}
	if c.visitor.With != "POP3" || c.visitor.Door != "pop" || c.visitor.Session == "" {
		return nil, errors.New("bad visitor")
	}
	c.done = true
	_, value, _ := bytes.Cut(field([]byte(c.text.String()), []byte("To")), []byte(":"))
	to := string(bytes.TrimSpace(value))
	body := "Return-Path: <" + c.visitor.User.Address.String() + ">\r\n" + c.text.String()
	if c.composer.store.deliver(to, body) != nil {
		return nil, mail.NewReply(550, "5.1.1", "<"+to+"> is unknown here")
	}
	return &intake.Receipt{ID: "1"}, nil
}

func (c *fakeComposition) Yield() {}

func (c *fakeComposition) Abort() {
	if !c.done && c.composer.aborted != nil {
		c.composer.aborted <- struct{}{}
	}
}
