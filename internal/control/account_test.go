package control

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postrider/internal/mail"
)

func ptr[T any](v T) *T { return &v }

func TestAccountAdd(t *testing.T) {
	tests := []struct {
		name, address string
		want          string // stored address; empty for an error
		kind          mail.Kind
	}{
		{"whole address", "alice@example.org", "alice@example.org", 0},
		{"bare name", "alice", "alice@example.org", 0},
		{"any case", "Alice@Example.ORG", "alice@example.org", 0},
		{"final point", "alice@example.org.", "alice@example.org", 0},
		{"other domain", "alice@example.net", "", mail.NotFound},
		{"no domain", "alice@", "", mail.Invalid},
		{"no name", "@example.org", "", mail.Invalid},
		{"IP address", "alice@192.0.2.1", "", mail.Invalid},
		{"reserved", "Null@example.org", "", mail.Invalid},
		{"reserved bare", "blacklisted", "", mail.Invalid},
		{"list", "L-friends", "", mail.Invalid},
		{"unknown", "Unknown", "unknown@example.org", 0},
		{"there already", "bob", "", mail.Exists},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, false)
			f.add(t, "bob@example.org")
			q := AccountAddRequest{Address: tt.address, Password: "secret"}
			r, err := AccountAdd.Call(context.Background(), f, q, nil)
			if tt.want == "" {
				wantKind(t, "add", err, tt.kind)
				return
			}
			if err != nil || r.Address != tt.want || r.Password != "" {
				t.Errorf("got %+v, %v; want address %s without password", r, err, tt.want)
			}
			if got := f.secrets(t, tt.want); got != "argon2id=secret" {
				t.Errorf("got credentials %q", got)
			}
		})
	}
}

func TestAccountAddMakesPassword(t *testing.T) {
	f := newFixture(t, false)
	r, err := AccountAdd.Call(context.Background(), f, AccountAddRequest{Address: "alice"}, nil)
	if err != nil || len(r.Password) < 16 {
		t.Fatalf("got %+v, %v; want a password", r, err)
	}
	if got := f.secrets(t, "alice"); got != "argon2id="+r.Password {
		t.Errorf("stored %q, told %q", got, r.Password)
	}
}

func TestAccountDefaultQuota(t *testing.T) {
	ctx, f := context.Background(), newFixture(t, false)
	q := one("quota.default", "10M")
	if _, err := SettingsSet.Call(ctx, f, q, nil); err != nil {
		t.Fatal(err)
	}
	f.add(t, "alice")
	own := AccountAddRequest{Address: "bob", Password: "x",
		AccountChange: AccountChange{QuotaBytes: ptr(int64(0))}}
	if _, err := AccountAdd.Call(ctx, f, own, nil); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]int64{"alice": 10 << 20, "bob": 0} {
		r, err := AccountShow.Call(ctx, f, AddressRequest{address}, nil)
		if err != nil || r.QuotaBytes != want {
			t.Errorf("%s: got quota %d, %v; want %d", address, r.QuotaBytes, err, want)
		}
	}
}

func TestAccountSetRaisesVersion(t *testing.T) {
	tests := []struct {
		name   string
		change AccountChange
		rises  bool
	}{
		{"name", AccountChange{FullName: ptr("Alice")}, false},
		{"quota", AccountChange{QuotaBytes: ptr(int64(5))}, false},
		{"disabled", AccountChange{Enabled: ptr(false)}, true},
		{"no login", AccountChange{Login: ptr(false)}, true},
		{"same login", AccountChange{Login: ptr(true)}, false},
		{"APOP", AccountChange{APOP: ptr("required")}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, f := context.Background(), newFixture(t, false)
			f.add(t, "alice")
			q := AccountSetRequest{Address: "alice", AccountChange: tt.change}
			if _, err := AccountSet.Call(ctx, f, q, nil); err != nil {
				t.Fatal(err)
			}
			a, err := f.account(ctx, "alice")
			if err != nil {
				t.Fatal(err)
			}
			if got := a.Version > 1; got != tt.rises {
				t.Errorf("version %d, want it raised: %v", a.Version, tt.rises)
			}
			if got := f.secrets(t, "alice"); got != "argon2id=secret" {
				t.Errorf("credentials became %q", got)
			}
		})
	}
}

func TestAccountSetRefuses(t *testing.T) {
	ctx, f := context.Background(), newFixture(t, false)
	f.add(t, "alice")
	for name, change := range map[string]AccountChange{
		"quota":  {QuotaBytes: ptr(int64(-1))},
		"apop":   {APOP: ptr("sometimes")},
		"notify": {Notify: ptr("example.org")},
		"name":   {FullName: ptr("a\tb")},
		"volume": {Volume: ptr(1)},
	} {
		_, err := AccountSet.Call(ctx, f, AccountSetRequest{"alice", change}, nil)
		wantKind(t, name, err, mail.Invalid)
	}
	_, err := AccountSet.Call(ctx, f, AccountSetRequest{Address: "nobody"}, nil)
	wantKind(t, "nobody", err, mail.NotFound)
}

func TestAPOPSecretComesAndGoes(t *testing.T) {
	ctx, f := context.Background(), newFixture(t, false)
	f.add(t, "alice")
	set := func(mode string) string {
		t.Helper()
		r, err := AccountSet.Call(ctx, f, AccountSetRequest{"alice", AccountChange{APOP: &mode}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r.Note
	}
	if note := set("allowed"); !strings.Contains(note, "password") {
		t.Errorf("got note %q, want one about the password", note)
	}
	q := AccountPasswordRequest{Address: "alice", Password: "next"}
	if _, err := AccountPassword.Call(ctx, f, q, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := f.secrets(t, "alice"), "apop=next argon2id=next"; got != want {
		t.Errorf("after the password: got %q, want %q", got, want)
	}
	if note := set("required"); note != "" {
		t.Errorf("got note %q, want none", note)
	}
	set("off")
	if got, want := f.secrets(t, "alice"), "argon2id=next"; got != want {
		t.Errorf("after off: got %q, want %q", got, want)
	}
}

func TestAppPasswords(t *testing.T) {
	ctx, f := context.Background(), newFixture(t, false)
	f.add(t, "alice")
	phone := AppPasswordRequest{"alice", "phone"}
	r, err := AppPasswordAdd.Call(ctx, f, phone, nil)
	if err != nil || r.Password != "app-phone" {
		t.Fatalf("got %+v, %v", r, err)
	}
	_, err = AppPasswordAdd.Call(ctx, f, phone, nil)
	wantKind(t, "twice", err, mail.Exists)
	if _, err := AppPasswordAdd.Call(ctx, f, AppPasswordRequest{"alice", "pad"}, nil); err != nil {
		t.Fatal(err)
	}
	p, err := AccountPassword.Call(ctx, f, AccountPasswordRequest{"alice", "new"}, nil)
	if err != nil || !strings.Contains(p.Note, "2 app passwords") {
		t.Errorf("got %+v, %v; want a note about app passwords", p, err)
	}
	if _, err := AppPasswordRemove.Call(ctx, f, phone, nil); err != nil {
		t.Fatal(err)
	}
	_, err = AppPasswordRemove.Call(ctx, f, phone, nil)
	wantKind(t, "removed twice", err, mail.NotFound)
	if got, want := f.secrets(t, "alice"), "apppad= argon2id=new"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	list, err := AppPasswordList.Call(ctx, f, AddressRequest{"alice"}, nil)
	if err != nil || len(list.AppPasswords) != 1 || list.AppPasswords[0].Name != "pad" {
		t.Errorf("got %+v, %v; want pad", list, err)
	}
}

func TestAccountRemove(t *testing.T) {
	ctx, f := context.Background(), newFixture(t, false)
	f.add(t, "alice")
	r, err := AccountRemove.Call(ctx, f, AddressRequest{"alice"}, nil)
	if err != nil || r.Messages != 3 {
		t.Errorf("got %+v, %v; want 3 messages", r, err)
	}
	_, err = AccountRemove.Call(ctx, f, AddressRequest{"alice"}, nil)
	wantKind(t, "twice", err, mail.NotFound)
}

func TestAccountListPages(t *testing.T) {
	ctx, f := context.Background(), newFixture(t, false)
	for i := range 7 {
		f.add(t, fmt.Sprintf("user%d", i))
	}
	var got []string
	q := AccountListRequest{Limit: 3}
	for {
		r, err := AccountList.Call(ctx, f, q, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range r.Accounts {
			got = append(got, a.Address[:5])
		}
		if !r.More {
			break
		}
		q.After = r.Accounts[len(r.Accounts)-1].Address
	}
	want := []string{"user0", "user1", "user2", "user3", "user4", "user5", "user6"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	_, err := AccountList.Call(ctx, f, AccountListRequest{Domain: "example.net"}, nil)
	wantKind(t, "other domain", err, mail.NotFound)
}

func TestFirstRun(t *testing.T) {
	ctx, f := context.Background(), newFixture(t, false)
	if r, err := f.FirstRun(ctx); r != nil || err != nil {
		t.Errorf("with a domain: got %v, %v; want nothing", r, err)
	}
	f.rows.domains = nil
	f.rows.fail = errDisk
	if _, err := f.FirstRun(ctx); err == nil {
		t.Error("got no error from a failing store")
	}
	f.rows.fail = nil
	r, err := f.FirstRun(ctx)
	if err != nil || r == nil || r.Address != "postmaster@localhost" || r.Password == "" {
		t.Errorf("after a failed first run: got %+v, %v; want postmaster@localhost", r, err)
	}
}

func TestDomains(t *testing.T) {
	ctx, f := context.Background(), newFixture(t, false)
	add := func(name string, main bool) error {
		_, err := DomainAdd.Call(ctx, f, DomainRequest{Name: name, Main: main}, nil)
		return err
	}
	for name, want := range map[string]mail.Kind{
		"": mail.Invalid, "a..b": mail.Invalid, "-a.example": mail.Invalid, "a b": mail.Invalid,
		"192.0.2.1": mail.Invalid, strings.Repeat("a", 64) + ".example": mail.Invalid,
		"xn--a.example": mail.Invalid, "xn--": mail.Invalid, "Example.ORG.": mail.Exists,
	} {
		wantKind(t, "add "+name, add(name, false), want)
	}
	for _, name := range []string{"bücher.example", "example.net"} {
		if err := add(name, name == "example.net"); err != nil {
			t.Errorf("add %s: %v", name, err)
		}
	}
	r, err := DomainList.Call(ctx, f, None{}, nil)
	var got []string
	for _, d := range r.Domains {
		got = append(got, fmt.Sprint(d.Name, d.Main))
	}
	want := []string{"example.nettrue", "example.orgfalse", "xn--bcher-kva.examplefalse"}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v (-want +got)\n%s", err, d)
	}
	_, err = DomainRemove.Call(ctx, f, DomainRequest{Name: "example.net"}, nil)
	wantKind(t, "remove the main domain", err, mail.Conflict)
	if _, err := DomainMain.Call(ctx, f, DomainRequest{Name: "example.org"}, nil); err != nil {
		t.Error(err)
	}
	if _, err := DomainRemove.Call(ctx, f, DomainRequest{Name: "example.net"}, nil); err != nil {
		t.Error(err)
	}
	_, err = DomainRemove.Call(ctx, f, DomainRequest{Name: "example.net"}, nil)
	wantKind(t, "remove twice", err, mail.NotFound)
}

func TestShort(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		strings.Repeat("x", maxShown):   strings.Repeat("x", maxShown),
		strings.Repeat("x", maxShown+1): strings.Repeat("x", maxShown) + "…",
		strings.Repeat("x", 99) + "é":   strings.Repeat("x", 99) + "…",
		strings.Repeat("\xff", 200):     strings.Repeat("\xff", maxShown) + "…",
		strings.Repeat("\x80", 200):     strings.Repeat("\x80", maxShown-4) + "…",
	} {
		if got := Short(text); got != want {
			t.Errorf("%.20q: got %q, want %q", text, got, want)
		}
	}
}
