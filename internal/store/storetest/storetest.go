// Package storetest holds every implementation of store.Store to the same
// sentences.
package storetest

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// A Home is where one store lives: Open opens it, again after a Close, with
// what it held before.
type Home struct {
	Open func(t testing.TB) store.Store
}

// Run runs the whole suite. Each test gets a home of its own.
func Run(t *testing.T, home func(t *testing.T) Home) {
	for _, c := range []struct {
		name string
		test func(*T)
	}{
		{"domains", domains}, {"accounts", accounts}, {"all or nothing", allOrNothing},
		{"long lists", longLists},
		{"versions and credentials", credentials}, {"remove account", removeAccount},
		{"settings", settings}, {"deliver and read", deliverAndRead},
		{"large body", largeBody}, {"many recipients", manyRecipients},
		{"refusals", refusals}, {"quota", quota}, {"expunge", expunge}, {"UIDs never come back", uids},
		{"leases", leases}, {"fetched", fetched}, {"traces", traces}, {"events", events}, {"reopen", reopen},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := &T{T: t, home: home(t), ctx: context.Background()}
			x.Store = x.home.Open(t)
			defer x.finish()
			c.test(x)
		})
	}
}

// A T is a test with its store.
type T struct {
	*testing.T
	store.Store
	home Home
	ctx  context.Context
}

// finish proves the invariants and closes the store.
func (t *T) finish() {
	Clean(t.T, t.Store)
	if err := t.Store.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// Clean fails the test if Check finds anything.
func Clean(t testing.TB, s store.Store) {
	t.Helper()
	problems, err := s.Check(context.Background(), false, nil)
	if err != nil {
		t.Errorf("check: %v", err)
	}
	for _, p := range problems {
		t.Errorf("check: %s: %s", p.Where, p.What)
	}
}

// again closes the store and opens it anew.
func (t *T) again() {
	t.Helper()
	if err := t.Store.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	t.Store = t.home.Open(t.T)
}

func (t *T) ok(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (t *T) kind(err error, want mail.Kind) {
	t.Helper()
	if err == nil || mail.KindOf(err) != want {
		t.Errorf("got error %v, want kind %d", err, want)
	}
}

// Address makes an address at example.org.
func Address(local string) mail.Address { return mail.Address{Local: local, Domain: "example.org"} }

func user(local string) store.Account {
	return store.Account{Address: Address(local), Enabled: true, Login: true}
}

// add makes the domain example.org and these accounts.
func (t *T) add(locals ...string) []*store.Account {
	t.Helper()
	if ok, _ := t.IsLocal(t.ctx, "example.org"); !ok {
		t.ok(t.AddDomain(t.ctx, store.Domain{Name: "example.org"}))
	}
	var all []*store.Account
	for _, l := range locals {
		t.ok(t.WriteAccounts(t.ctx, []store.AccountWrite{{Account: user(l)}}))
		a, err := t.Account(t.ctx, Address(l))
		t.ok(err)
		all = append(all, a)
	}
	return all
}

// Deliver delivers a body to Inboxes.
func Deliver(s store.Store, body string, to ...store.Target) ([]store.Result, error) {
	ctx := context.Background()
	d, err := s.Blobs().NewDraft(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer d.Discard()
	if _, err := io.WriteString(d, body); err != nil {
		return nil, err
	}
	if err := d.Finish(ctx); err != nil {
		return nil, err
	}
	return s.Deliver(ctx, &store.Delivery{Body: d, Received: time.Now(), Format: 1,
		Parsed: []byte("parsed"), Thread: 7, Targets: to})
}

func (t *T) deliver(body string, to ...*store.Account) []store.Result {
	t.Helper()
	var targets []store.Target
	for _, a := range to {
		targets = append(targets, store.Target{Account: a.ID, Prefix: prefix(a)})
	}
	r, err := Deliver(t.Store, body, targets...)
	t.ok(err)
	for i := range r {
		t.ok(r[i].Err)
	}
	return r
}

func prefix(a *store.Account) []byte {
	return []byte("Delivered-To: " + a.Address.String() + "\r\n")
}

// Read gives the bytes of all messages of an account's Inbox, by UID.
func Read(s store.Store, id mail.AccountID) ([]string, error) {
	ctx := context.Background()
	var all []string
	after := mail.UID(0)
	for {
		page, err := s.Entries(ctx, id, store.Inbox, after, 100)
		if err != nil || len(page) == 0 {
			return all, err
		}
		for _, e := range page {
			after = e.UID
			text, err := read(s, id, e)
			if err != nil {
				return nil, err
			}
			all = append(all, text)
		}
	}
}

func read(s store.Store, id mail.AccountID, e store.Entry) (string, error) {
	rows, err := s.Emails(context.Background(), id, []mail.EmailID{e.Email}, false)
	if err != nil {
		return "", err
	}
	if rows[0] == nil {
		return "", fmt.Errorf("email %s has no row", e.Email)
	}
	r, err := s.OpenEmail(rows[0])
	if err != nil {
		return "", err
	}
	defer r.Close()
	b := new(strings.Builder)
	_, err = io.Copy(b, io.NewSectionReader(r, 0, r.Size()))
	if err == nil && int64(b.Len()) != e.Size {
		err = fmt.Errorf("email %s: %d bytes, its row says %d", e.Email, b.Len(), e.Size)
	}
	return b.String(), err
}

func (t *T) inbox(a *store.Account, want ...string) {
	t.Helper()
	got, err := Read(t.Store, a.ID)
	t.ok(err)
	for i := range want {
		want[i] = string(prefix(a)) + want[i]
	}
	if !slices.Equal(got, want) {
		t.Errorf("inbox of %s: got %q, want %q", a.Address, got, want)
	}
}

func settings(t *T) {
	one, two := "1", "two"
	t.ok(t.WriteSettings(t.ctx, map[string]*string{"a": &one, "b": &two}))
	t.ok(t.WriteSettings(t.ctx, map[string]*string{"a": &two, "b": nil, "c": nil}))
	got, err := t.Settings(t.ctx)
	t.ok(err)
	if len(got) != 1 || got["a"] != "two" {
		t.Errorf("settings: got %v", got)
	}
}

func deliverAndRead(t *T) {
	u := t.add("ann", "bob")
	r := t.deliver("one\r\n", u...)
	if r[0].UID != 1 || r[1].UID != 1 || r[0].Email == r[1].Email {
		t.Errorf("results: got %+v", r)
	}
	t.deliver("two\r\n", u[0])
	t.inbox(u[0], "one\r\n", "two\r\n")
	t.inbox(u[1], "one\r\n")
	box, err := t.Mailbox(t.ctx, u[0].ID, store.Inbox)
	t.ok(err)
	if box.Messages != 2 || box.Unseen != 2 || box.UIDNext != 3 || box.Name != "INBOX" ||
		box.UIDValidity == 0 {
		t.Errorf("mailbox: got %+v", box)
	}
	rows, err := t.Emails(t.ctx, u[0].ID, []mail.EmailID{r[0].Email, 12345, r[1].Email}, true)
	t.ok(err)
	if rows[0] == nil || string(rows[0].Parsed) != "parsed" || rows[0].Thread != 7 {
		t.Errorf("email: got %+v", rows[0])
	}
	if rows[1] != nil || rows[2] != nil {
		t.Errorf("emails that are not this account's: got %v, %v", rows[1], rows[2])
	}
	_, err = t.Mailbox(t.ctx, u[0].ID, 99)
	t.kind(err, mail.NotFound)
}

func largeBody(t *T) {
	u := t.add("ann", "bob")
	body := strings.Repeat("0123456789abcde\n", 1<<16)
	t.deliver(body, u...)
	t.deliver("small\r\n", u[0])
	t.inbox(u[0], body, "small\r\n")
	t.again()
	t.inbox(u[1], body)
}

func manyRecipients(t *T) {
	var targets []store.Target
	t.add()
	var writes []store.AccountWrite
	for i := range 300 {
		writes = append(writes, store.AccountWrite{Account: user(fmt.Sprint("u", i))})
	}
	t.ok(t.WriteAccounts(t.ctx, writes))
	for i := range 300 {
		a, err := t.Account(t.ctx, Address(fmt.Sprint("u", i)))
		t.ok(err)
		targets = append(targets, store.Target{Account: a.ID})
	}
	r, err := Deliver(t.Store, "all\r\n", targets...)
	t.ok(err)
	seen := map[mail.EmailID]bool{}
	for i := range r {
		t.ok(r[i].Err)
		seen[r[i].Email] = true
		got, err := Read(t.Store, targets[i].Account)
		if err != nil || len(got) != 1 || got[0] != "all\r\n" {
			t.Fatalf("recipient %d: got %q, %v", i, got, err)
		}
	}
	if len(seen) != 300 {
		t.Errorf("%d different email ids for 300 recipients", len(seen))
	}
}

func refusals(t *T) {
	u := t.add("ann", "bob")
	off := *u[1]
	off.Enabled = false
	t.ok(t.WriteAccounts(t.ctx, []store.AccountWrite{{Account: off}}))
	r, err := Deliver(t.Store, "x\r\n", store.Target{Account: u[1].ID}, store.Target{Account: 999},
		store.Target{Account: u[0].ID, Mailbox: 99},
		store.Target{Account: u[0].ID, Prefix: make([]byte, store.MaxPrefix+1)},
		store.Target{Account: u[0].ID, Prefix: prefix(u[0])})
	t.ok(err)
	for i, want := range []mail.Kind{mail.Denied, mail.NotFound, mail.NotFound, mail.Invalid} {
		t.kind(r[i].Err, want)
	}
	t.ok(r[4].Err)
	t.inbox(u[0], "x\r\n")
}

func quota(t *T) {
	a := t.add("ann")[0]
	small := *a
	small.Quota = 100
	t.ok(t.WriteAccounts(t.ctx, []store.AccountWrite{{Account: small}}))
	body := strings.Repeat("x", 60)
	r, err := Deliver(t.Store, body, store.Target{Account: a.ID})
	t.ok(err)
	t.ok(r[0].Err)
	r, err = Deliver(t.Store, body, store.Target{Account: a.ID})
	t.ok(err)
	t.kind(r[0].Err, mail.OverQuota)
	r, err = Deliver(t.Store, body, store.Target{Account: a.ID, Grace: true})
	t.ok(err)
	t.ok(r[0].Err)
	t.ok(t.Expunge(t.ctx, a.ID, store.Inbox, []mail.UID{1, 2}))
	r, err = Deliver(t.Store, body, store.Target{Account: a.ID})
	t.ok(err)
	t.ok(r[0].Err)
	if u, err := t.Usage(t.ctx, a.ID); err != nil || u.Messages != 1 || u.Bytes != 60 {
		t.Errorf("usage: got %+v, %v", u, err)
	}
}

func expunge(t *T) {
	a := t.add("ann")[0]
	for i := range 5 {
		t.deliver(fmt.Sprint(i), a)
	}
	t.ok(t.Expunge(t.ctx, a.ID, store.Inbox, []mail.UID{2, 4, 4, 77}))
	t.inbox(a, "0", "2", "4")
	t.ok(t.Expunge(t.ctx, a.ID, store.Inbox, []mail.UID{2}))
	box, err := t.Mailbox(t.ctx, a.ID, store.Inbox)
	t.ok(err)
	if box.Messages != 3 || box.UIDNext != 6 {
		t.Errorf("mailbox: got %+v", box)
	}
	t.kind(t.Expunge(t.ctx, 999, store.Inbox, []mail.UID{1}), mail.NotFound)
}

func uids(t *T) {
	a := t.add("ann")[0]
	t.deliver("1", a)
	t.deliver("2", a)
	t.ok(t.Expunge(t.ctx, a.ID, store.Inbox, []mail.UID{1, 2}))
	t.again()
	if r := t.deliver("3", a); r[0].UID != 3 {
		t.Errorf("UID after expunge and restart: got %d, want 3", r[0].UID)
	}
}

func leases(t *T) {
	later := time.Now().Add(time.Hour)
	t.ok(t.Acquire(t.ctx, "pop/1", "s1", later))
	t.kind(t.Acquire(t.ctx, "pop/1", "s2", later), mail.Locked)
	t.ok(t.Acquire(t.ctx, "pop/2", "s2", later))
	t.ok(t.Acquire(t.ctx, "pop/1", "s1", later)) // renewed
	t.ok(t.Release(t.ctx, "pop/1", "s2"))        // not its owner: nothing happens
	t.kind(t.Acquire(t.ctx, "pop/1", "s2", later), mail.Locked)
	t.ok(t.Release(t.ctx, "pop/1", "s1"))
	t.ok(t.Acquire(t.ctx, "pop/1", "s2", time.Now().Add(-time.Second)))
	t.ok(t.Acquire(t.ctx, "pop/1", "s3", later)) // s2's has expired
}

func fetched(t *T) {
	a := t.add("ann")[0]
	want := func(uid mail.UID) {
		t.Helper()
		if got, err := t.Fetched(t.ctx, a.ID); got != uid || err != nil {
			t.Errorf("fetched: got %d, %v; want %d", got, err, uid)
		}
	}
	want(0)
	t.NoteFetched(a.ID, 5)
	t.NoteFetched(a.ID, 3)
	want(5)
	t.again()
	want(5)
	t.deliver("x", a) // must not take it back
	want(5)
	_, err := t.Fetched(t.ctx, 999)
	t.kind(err, mail.NotFound)
}

func traces(t *T) {
	a := t.add("ann")[0]
	d, err := t.Blobs().NewDraft(t.ctx, 0)
	t.ok(err)
	defer d.Discard()
	t.ok(d.Finish(t.ctx))
	r, err := t.Deliver(t.ctx, &store.Delivery{Body: d, Received: time.Now(),
		Targets: []store.Target{{Account: a.ID}}, Trace: &store.Trace{ID: "t1", Time: time.Now(),
			Door: "smtp", From: "x@y.example", EnvelopeID: "e1", Return: "HDRS", RequireTLS: true,
			Recipients: []store.TraceRecipient{
				{Address: "Ann@example.org", Account: a.ID, Notify: "NEVER", Original: "rfc822;a@b"},
				{Address: "nobody@example.org", Outcome: "refused", Reason: "no such user"}}}})
	t.ok(err)
	t.WriteTrace(&store.Trace{ID: "t2", Time: time.Now(), From: "z@y.example"})
	for _, c := range []struct {
		q    store.TraceQuery
		want string
	}{
		{store.TraceQuery{ID: "t1"}, "t1"}, {store.TraceQuery{ID: r[0].Email.String()}, "t1"},
		{store.TraceQuery{Address: "ann@example.org"}, "t1"},
		{store.TraceQuery{Address: "z@y.example"}, "t2"}, {store.TraceQuery{ID: "none"}, ""},
		{store.TraceQuery{}, "t2 t1"}, {store.TraceQuery{Limit: 1}, "t2"},
	} {
		found, err := t.Traces(t.ctx, c.q)
		t.ok(err)
		var ids []string
		for _, f := range found {
			ids = append(ids, f.ID)
		}
		if got := strings.Join(ids, " "); got != c.want {
			t.Errorf("traces %+v: got %q, want %q", c.q, got, c.want)
		}
	}
	for range 3 { // of mail to very many
		t.WriteTrace(&store.Trace{ID: "t3", Time: time.Now(), Helo: strings.Repeat("x", 1<<20)})
	}
	found, err := t.Traces(t.ctx, store.TraceQuery{ID: "t3"})
	t.ok(err)
	if len(found) != 3 {
		t.Errorf("%d large traces, want 3", len(found))
	}
	found, err = t.Traces(t.ctx, store.TraceQuery{ID: "t1"})
	t.ok(err)
	if f := found[0]; f.EnvelopeID != "e1" || f.Return != "HDRS" || !f.RequireTLS ||
		f.Recipients[0].Notify != "NEVER" || f.Recipients[0].Original != "rfc822;a@b" {
		t.Errorf("parameters: got %+v", f)
	}
	if to := found[0].Recipients; to[0].Outcome != "delivered" || to[0].Email != r[0].Email ||
		to[1].Reason != "no such user" {
		t.Errorf("recipients: got %+v", to)
	}
}

func events(t *T) {
	u := t.add("ann", "bob")
	ch, cancel := t.Subscribe(u[0].ID)
	t.deliver("1", u[1])
	for i := range 3 {
		t.deliver(fmt.Sprint(i), u[0])
	}
	usage, err := t.Usage(t.ctx, u[0].ID)
	t.ok(err)
	select {
	case e := <-ch: // three changes, seen as one
		if e.Account != u[0].ID || e.ModSeq != usage.ModSeq {
			t.Errorf("event: got %+v, want modseq %d", e, usage.ModSeq)
		}
	default:
		t.Error("no event")
	}
	cancel()
	cancel()
	if _, open := <-ch; open {
		t.Error("an event after cancel")
	}
}

func reopen(t *T) {
	u := t.add("ann", "bob")
	t.deliver("one", u...)
	t.again()
	t.inbox(u[0], "one")
	if main, _ := t.MainDomain(t.ctx); main != "example.org" {
		t.Errorf("main domain: got %q", main)
	}
	r := t.deliver("two", u[0])
	if r[0].UID != 2 {
		t.Errorf("UID after restart: got %d, want 2", r[0].UID)
	}
}
