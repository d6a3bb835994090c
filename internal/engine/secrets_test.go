package engine

import (
	"context"
	"os"
	"strings"
	"testing"

	"postrider/internal/auth"
	"postrider/internal/control"
	"postrider/internal/datadir"
	"postrider/internal/mail"
	"postrider/internal/settings"
	"postrider/internal/store"
)

// withSecrets is a directory with a sealed setting, an account with APOP and
// one without, closed again.
func withSecrets(t *testing.T) *datadir.Dir {
	t.Helper()
	ctx, dir := context.Background(), newDir(t)
	e := openDir(t, Config{Dir: dir})
	firstRun(t, e)
	if _, err := e.Settings.Set(ctx, "metrics.token", "sesame"); err != nil {
		t.Fatal(err)
	}
	a := auth.New(e.Auth())
	defer a.Close()
	add := func(local string, apop store.APOPMode) {
		t.Helper()
		row := store.Account{Address: mail.Address{Local: local, Domain: "localhost"}, Enabled: true,
			Login: true, APOP: apop}
		credentials, err := a.MakeCredentials(ctx, "open says me",
			auth.CredentialOptions{APOP: apop})
		if err == nil {
			err = e.Store.WriteAccounts(ctx, []store.AccountWrite{
				{Account: row, Credentials: credentials, Replace: true}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	add("ann", store.APOPAllowed)
	add("bob", store.APOPOff)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// check is the operation as a command calls it on an open directory.
func check(t *testing.T, e *Engine, repair bool) control.CheckReply {
	t.Helper()
	a := auth.New(e.Auth())
	defer a.Close()
	r, err := control.Check.Call(context.Background(), e.Control(a, nil, nil),
		control.CheckRequest{Repair: repair}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func told(problems []control.Problem) string {
	var b strings.Builder
	for _, p := range problems {
		b.WriteString(p.Where + ": " + p.What + "\n")
	}
	return b.String()
}

// A new key never takes the place of a lost one silently: the server would
// go on without the secrets, and say that all is well.
func TestLostKey(t *testing.T) {
	ctx, dir := context.Background(), withSecrets(t)
	if err := os.Remove(dir.SecretKeyFile()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second start must not find a key that the first made
		_, err := Open(ctx, Config{Dir: dir, Quiet: true})
		if mail.KindOf(err) != mail.Damaged || !strings.Contains(err.Error(), "check --repair") {
			t.Fatalf("got %v, want Damaged with what to do", err)
		}
	}
	e := openDir(t, Config{Dir: dir, Repair: true})
	r := check(t, e, true)
	for _, want := range []string{dir.SecretKeyFile() + ": the key of stored secrets is lost",
		"metrics.token: the setting could not be opened", "account ann@localhost: the password for APOP"} {
		if !strings.Contains(told(r.Problems), want) {
			t.Errorf("got %s, want %q in it", told(r.Problems), want)
		}
	}
	if r.Damaged != 0 || len(r.Problems) != 3 {
		t.Errorf("got %d still damaged of %d, want 0 of 3", r.Damaged, len(r.Problems))
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = openDir(t, Config{Dir: dir})
	defer e.Close()
	if r := check(t, e, false); len(r.Problems) > 0 || len(e.Warnings) > 0 {
		t.Errorf("after the repair: got %s%v", told(r.Problems), e.Warnings)
	}
}

// A key of another server opens nothing: every check says so, not only the
// first, and what is set anew is right again.
func TestOtherKey(t *testing.T) {
	ctx, dir := context.Background(), withSecrets(t)
	if err := os.WriteFile(dir.SecretKeyFile(), make([]byte, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	e := openDir(t, Config{Dir: dir})
	defer e.Close()
	if got := e.Settings.Sealed(); len(got) != 1 || got[0] != "metrics.token" {
		t.Errorf("got %v, want metrics.token", got)
	}
	for range 2 {
		if r := check(t, e, false); r.Damaged != 2 || len(r.Problems) != 2 {
			t.Errorf("got %s", told(r.Problems))
		}
	}
	if _, err := e.Settings.Set(ctx, "metrics.token", "again"); err != nil {
		t.Fatal(err)
	}
	if got := e.Settings.Sealed(); len(got) != 0 {
		t.Errorf("after it was set anew: got %v", got)
	}
	if got := e.Settings.Current().String(settings.MetricsToken); got != "again" {
		t.Errorf("got %q", got)
	}
	if r := check(t, e, true); r.Damaged != 0 || len(r.Problems) != 1 {
		t.Errorf("repair: got %s", told(r.Problems))
	}
}
