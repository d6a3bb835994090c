package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"postrider/internal/mail"
	"postrider/internal/store"
)

func domains(t *T) {
	t.ok(t.AddDomain(t.ctx, store.Domain{Name: "a.example"}))
	t.ok(t.AddDomain(t.ctx, store.Domain{Name: "b.example"}))
	t.kind(t.AddDomain(t.ctx, store.Domain{Name: "a.example"}), mail.Exists)
	main, err := t.MainDomain(t.ctx)
	if main != "a.example" || err != nil {
		t.Errorf("main domain: got %q, %v; want the first", main, err)
	}
	t.ok(t.SetMainDomain(t.ctx, "b.example"))
	t.kind(t.SetMainDomain(t.ctx, "c.example"), mail.NotFound)
	if main, _ := t.MainDomain(t.ctx); main != "b.example" {
		t.Errorf("main domain: got %q, want b.example", main)
	}
	for name, want := range map[string]bool{"a.example": true, "A.Example": true, "c.example": false} {
		if got, err := t.IsLocal(t.ctx, name); got != want || err != nil {
			t.Errorf("IsLocal(%s): got %v, %v", name, got, err)
		}
	}
	t.ok(t.RemoveDomain(t.ctx, "a.example"))
	t.kind(t.RemoveDomain(t.ctx, "a.example"), mail.NotFound)
	if ok, _ := t.IsLocal(t.ctx, "a.example"); ok {
		t.Error("a removed domain is still local")
	}
	t.add("u")
	t.kind(t.RemoveDomain(t.ctx, "example.org"), mail.Conflict)
}

func accounts(t *T) {
	t.kind(t.WriteAccounts(t.ctx, []store.AccountWrite{{Account: user("early")}}), mail.NotFound)
	u := t.add("ann", "bob")
	if u[0].ID == u[1].ID || u[0].ID == 0 {
		t.Errorf("account numbers: %d, %d", u[0].ID, u[1].ID)
	}
	t.kind(t.WriteAccounts(t.ctx, []store.AccountWrite{{Account: user("ANN")}}), mail.Exists)
	if a, err := t.Account(t.ctx, mail.Address{Local: "Ann", Domain: "EXAMPLE.org"}); err != nil ||
		a.ID != u[0].ID {
		t.Errorf("look-up in another case: %v, %v", a, err)
	}
	_, err := t.Account(t.ctx, Address("nobody"))
	t.kind(err, mail.NotFound)
	changed := *u[0]
	changed.FullName, changed.Quota, changed.Enabled = "Ann Example", 1000, false
	changed.APOP, changed.Notify, changed.Volume = store.APOPRequired, "last-ip", 0
	t.ok(t.WriteAccounts(t.ctx, []store.AccountWrite{{Account: changed}}))
	got, err := t.Account(t.ctx, Address("ann"))
	t.ok(err)
	if got.FullName != "Ann Example" || got.Quota != 1000 || got.Enabled || got.APOP != store.APOPRequired {
		t.Errorf("changed account: got %+v", got)
	}
	list, err := t.Accounts(t.ctx, "", "", 10)
	t.ok(err)
	if len(list) != 2 || list[0].Address != Address("ann") || list[1].Address != Address("bob") {
		t.Errorf("list: got %v", list)
	}
	list, err = t.Accounts(t.ctx, "example.org", "ann@example.org", 10)
	t.ok(err)
	if len(list) != 1 {
		t.Errorf("list after ann: got %v", list)
	}
}

func allOrNothing(t *T) {
	t.add("ann")
	err := t.WriteAccounts(t.ctx, []store.AccountWrite{
		{Account: user("new1")}, {Account: user("ann")}, {Account: user("new2")}})
	t.kind(err, mail.Exists)
	if err != nil && !strings.Contains(err.Error(), "ann@example.org") {
		t.Errorf("error %q does not name the account", err)
	}
	_, err = t.Account(t.ctx, Address("new1"))
	t.kind(err, mail.NotFound)
}

// longLists are all or nothing, too, and mail comes in meanwhile.
func longLists(t *T) {
	const n = 1000
	u := t.add("ann", "bob")
	good := []store.AccountWrite{{Account: *u[1], Remove: true}, {Account: user("bob")}}
	for i := range n {
		good = append(good, store.AccountWrite{Account: user(fmt.Sprint("new", i))})
	}
	stranger, unknown := user("x"), *u[0]
	stranger.Address.Domain, unknown.ID = "other.example", 99
	for name, bad := range map[string]struct {
		kind  mail.Kind
		write store.AccountWrite
	}{
		"there already":    {mail.Exists, store.AccountWrite{Account: user("Ann")}},
		"twice in it":      {mail.Exists, store.AccountWrite{Account: user("new7")}},
		"no such domain":   {mail.NotFound, store.AccountWrite{Account: stranger}},
		"no such account":  {mail.NotFound, store.AccountWrite{Account: unknown}},
		"no such to go":    {mail.NotFound, store.AccountWrite{Account: unknown, Remove: true}},
		"gone already":     {mail.NotFound, store.AccountWrite{Account: *u[1]}},
		"gone, once more":  {mail.NotFound, store.AccountWrite{Account: *u[1], Remove: true}},
		"back, once more":  {mail.Exists, store.AccountWrite{Account: user("bob")}},
		"a nameless local": {mail.Invalid, store.AccountWrite{Account: user("\xff")}},
		"credential twice": {mail.Invalid, store.AccountWrite{Account: user("y"), Replace: true,
			Credentials: []store.Credential{{Kind: "app", Data: []byte{1}}, {Kind: "app", Data: []byte{2}}}}},
	} {
		err := t.WriteAccounts(t.ctx, append(slices.Clone(good), bad.write))
		t.kind(err, bad.kind)
		if want := "account " + bad.write.Account.Address.String(); err != nil &&
			!strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: error %q does not begin with %q", name, err, want)
		}
	}
	if list, err := t.Accounts(t.ctx, "", "", 10); err != nil || len(list) != 2 {
		t.Errorf("after the bad lists: got %v, %v; want the accounts as they were", list, err)
	}
	done := make(chan error)
	go func() { done <- t.WriteAccounts(t.ctx, good) }()
	var want []string
	for waiting := true; waiting; {
		select {
		case err := <-done:
			t.ok(err)
			waiting = false
		default:
			t.deliver("meanwhile", u[0])
			want = append(want, "meanwhile")
		}
	}
	t.inbox(u[0], want...)
	last := u[1].ID
	for _, w := range good[1:] {
		a, err := t.Account(t.ctx, w.Account.Address)
		t.ok(err)
		if a.ID <= last {
			t.Fatalf("%s has number %d, the one before it %d", a.Address, a.ID, last)
		}
		last = a.ID
	}
}

func credentials(t *T) {
	a := t.add("ann")[0]
	w := store.AccountWrite{Account: *a, Replace: true, Credentials: []store.Credential{
		{Kind: "argon2id", Data: []byte{1, 2, 0, 3}}, {Kind: "app", Name: "phone", Data: []byte("x")}}}
	w.Account.Version++
	t.ok(t.WriteAccounts(t.ctx, []store.AccountWrite{w}))
	got, err := t.Credentials(t.ctx, a.ID)
	t.ok(err)
	if len(got) != 2 || got[0].Name != "phone" || !bytes.Equal(got[1].Data, []byte{1, 2, 0, 3}) {
		t.Errorf("credentials: got %v", got)
	}
	if b, _ := t.Account(t.ctx, Address("ann")); b.Version != a.Version+1 {
		t.Errorf("version: got %d, want %d", b.Version, a.Version+1)
	}
	w.Replace, w.Credentials = false, nil
	t.ok(t.WriteAccounts(t.ctx, []store.AccountWrite{w}))
	if got, _ := t.Credentials(t.ctx, a.ID); len(got) != 2 {
		t.Errorf("credentials without Replace: got %v", got)
	}
}

func removeAccount(t *T) {
	u := t.add("ann", "bob")
	t.deliver("both\r\n", u...)
	t.ok(t.WriteAccounts(t.ctx, []store.AccountWrite{{Account: *u[0], Remove: true}}))
	t.kind(t.WriteAccounts(t.ctx, []store.AccountWrite{{Account: *u[0], Remove: true}}), mail.NotFound)
	_, err := t.Account(t.ctx, Address("ann"))
	t.kind(err, mail.NotFound)
	r, err := Deliver(t.Store, "late\r\n", store.Target{Account: u[0].ID})
	t.ok(err)
	t.kind(r[0].Err, mail.NotFound)
	t.inbox(u[1], "both\r\n")
	again := t.add("ann")[0]
	if again.ID == u[0].ID {
		t.Error("an account number came back")
	}
	t.inbox(again)
}
