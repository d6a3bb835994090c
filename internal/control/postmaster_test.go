package control

import (
	"strings"
	"testing"

	"postrider/internal/mail"
)

// TestLastPostmaster proves that the last account for the postmaster's mail
// stays, whichever way it is to go.
func TestLastPostmaster(t *testing.T) {
	remove := func(f *fixture, a string) error {
		_, err := AccountRemove.Call(t.Context(), f, AddressRequest{Address: a}, nil)
		return err
	}
	disable := func(f *fixture, a string) error {
		q := AccountSetRequest{Address: a, AccountChange: AccountChange{Enabled: ptr(false)}}
		_, err := AccountSet.Call(t.Context(), f, q, nil)
		return err
	}
	load := func(f *fixture, table string) error {
		q := AccountImportRequest{Content: strings.ReplaceAll(table, " ", "\t")}
		_, err := AccountImport.Call(t.Context(), f, q, nil)
		return err
	}
	const last, other = "postmaster@example.org", "postmaster@other.example"
	for name, take := range map[string]func(f *fixture, a string) error{
		"remove": remove, "disable": disable,
		"import": func(f *fixture, a string) error {
			return load(f, "UserName AccountEnabled\nalice@example.org false\n"+a+" false\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, false)
			if _, err := DomainAdd.Call(t.Context(), f, DomainRequest{Name: "other.example"}, nil); err != nil {
				t.Fatal(err)
			}
			f.add(t, "alice@example.org")
			f.add(t, last)
			err := take(f, last)
			wantKind(t, name, err, mail.Conflict)
			if err != nil && !strings.HasPrefix(err.Error(), last+" is the last account") {
				t.Errorf("got %v", err)
			}
			f.add(t, other)
			if err := take(f, last); err != nil {
				t.Errorf("with another one: got %v", err)
			}
			wantKind(t, "the other one", take(f, other), mail.Conflict)
			if err := remove(f, "alice@example.org"); err != nil {
				t.Errorf("somebody else: got %v", err)
			}
			if name == "disable" { // it is not the last, since it receives nothing
				if err := remove(f, last); err != nil {
					t.Errorf("a disabled one: got %v", err)
				}
			}
		})
	}
	f := newFixture(t, false)
	f.add(t, last)
	if err := load(f, "UserName AccountEnabled\n"+last+" true\n"); err != nil {
		t.Errorf("an import that keeps it: got %v", err)
	}
}
