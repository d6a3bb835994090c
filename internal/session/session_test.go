package session

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postrider/internal/control"
	"postrider/internal/datadir"
	"postrider/internal/mail"
	"postrider/internal/server"
)

// place makes a data directory, and the options to work on it.
func place(t *testing.T) (*datadir.Dir, Options) {
	t.Helper()
	dir, _, err := datadir.Make(filepath.Join(t.TempDir(), "d"))
	if err != nil {
		t.Fatal(err)
	}
	return dir, Options{Search: datadir.Search{Flag: dir.Path()}, Patience: 10 * time.Second}
}

// addDomain is an operation that changes something.
func addDomain(t *testing.T, via control.Caller, name string) {
	t.Helper()
	q := control.DomainRequest{Name: name}
	if _, err := control.DomainAdd.Call(t.Context(), via, q, nil); err != nil {
		t.Errorf("add %s: %v", name, err)
	}
}

// logged reads all log files of a directory.
func logged(t *testing.T, dir *datadir.Dir) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir.Path(), "log", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(text))
	}
	return strings.Join(all, "")
}

func TestDirect(t *testing.T) {
	dir, o := place(t)
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Lock(); mail.KindOf(err) != mail.Locked {
		t.Errorf("the lock of a session is free: %v", err)
	}
	if _, err := control.DomainList.Call(t.Context(), s, control.None{}, nil); err != nil {
		t.Error(err)
	}
	if err := s.WriteLog(t.Context()); err != nil || logged(t, dir) != "" {
		t.Errorf("what changes nothing is logged: %q, %v", logged(t, dir), err)
	}
	addDomain(t, s, "example.org")
	if err := s.WriteLog(t.Context()); err != nil {
		t.Error(err)
	}
	if got := logged(t, dir); strings.Count(got, "domain.add subject=example.org") != 1 ||
		!strings.Contains(got, `by="command line"`) {
		t.Errorf("got the log %q", got)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	lock, err := dir.Lock()
	if err != nil {
		t.Fatalf("the lock is not given back: %v", err)
	}
	lock.Release()
}

// Only files are written: other targets belong to the server.
func TestLogTarget(t *testing.T) {
	dir, o := place(t)
	o.Config = filepath.Join(t.TempDir(), "settings.toml")
	if err := os.WriteFile(o.Config, []byte("[log]\ntarget = \"stderr\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	addDomain(t, s, "example.org")
	if err := s.WriteLog(t.Context()); err != nil || logged(t, dir) != "" {
		t.Errorf("got the log %q, %v", logged(t, dir), err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A directory that cannot be opened keeps no lock.
func TestDirectFails(t *testing.T) {
	dir, o := place(t)
	o.Config = filepath.Join(dir.Path(), "missing.toml")
	if s, err := Open(t.Context(), o); err == nil {
		t.Fatalf("got the session %v", s)
	}
	lock, err := dir.Lock()
	if err != nil {
		t.Fatalf("the lock is not given back: %v", err)
	}
	lock.Release()
}

func TestThroughServer(t *testing.T) {
	dir, o := place(t)
	lock, err := dir.Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	s, err := server.New(t.Context(), server.Options{Dir: dir, Stderr: t.Output(), Sets: []string{
		"smtp.listen=", "submission.listen=", "submissions.listen=", "pop.listen=127.0.0.1:0",
		"pops.listen="}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	session, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	addDomain(t, session, "example.org")
	if err := session.WriteLog(t.Context()); err != nil {
		t.Error(err)
	}
	if err := session.Close(); err != nil {
		t.Error(err)
	}
	if _, err := dir.Lock(); mail.KindOf(err) != mail.Locked {
		t.Errorf("the session took the server's lock: %v", err)
	}
	refusedToken(t, dir, o)
	found, client, err := Server(t.Context(), o)
	if err != nil || client == nil || found.Path() != dir.Path() {
		t.Errorf("got %v, %v, %v", found, client, err)
	}
}

// refusedToken takes the control token away for a moment, and changes it:
// both are told at once, and not taken for a server that does not answer.
func refusedToken(t *testing.T, dir *datadir.Dir, o Options) {
	t.Helper()
	path := filepath.Join(dir.Path(), "control.token")
	right, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	o.Waiting = func() { t.Error("it was waited for the server") }
	for _, tt := range []struct{ name, token, want string }{
		{"missing", "", "cannot read the control token"},
		{"damaged", "x", "damaged"},
		{"another", strings.Repeat("0", len(right)), "refuses the control token"},
	} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if tt.token != "" {
			if err := os.WriteFile(path, []byte(tt.token), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Open(t.Context(), o)
		if mail.KindOf(err) != mail.Denied || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("token %s: got %v, want Denied with %q", tt.name, err, tt.want)
		}
		if err := os.WriteFile(path, right, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoServer(t *testing.T) {
	dir, o := place(t)
	found, client, err := Server(t.Context(), o)
	if mail.KindOf(err) != mail.Unreachable || found == nil || client != nil {
		t.Errorf("got %v, %v, %v", found, client, err)
	}
	lock, err := dir.Lock()
	if err != nil {
		t.Fatalf("the lock is not given back: %v", err)
	}
	lock.Release()
}

func TestNoDirectory(t *testing.T) {
	o := Options{Search: datadir.Search{Flag: filepath.Join(t.TempDir(), "none")}}
	if s, err := Open(t.Context(), o); mail.KindOf(err) != mail.Unreachable {
		t.Errorf("Open: got %v, %v", s, err)
	}
	if dir, _, err := Server(t.Context(), o); mail.KindOf(err) != mail.Unreachable || dir != nil {
		t.Errorf("Server: got %v, %v", dir, err)
	}
}

// Who holds the lock and does not answer is waited for, and that is said once.
func TestPatience(t *testing.T) {
	dir, o := place(t)
	lock, err := dir.Lock()
	if err != nil {
		t.Fatal(err)
	}
	said := 0
	o.Waiting = func() { said++ }
	o.Patience = 3 * tryEvery
	_, err = Open(t.Context(), o)
	if mail.KindOf(err) != mail.Unreachable || !strings.Contains(err.Error(), "after 150ms") ||
		said != 1 {
		t.Errorf("got %v, said %d times", err, said)
	}

	// Whoever does not want to wait need not.
	ctx, cancel := context.WithCancel(t.Context())
	o.Patience, o.Waiting = time.Hour, cancel
	if _, err := Open(ctx, o); err != context.Canceled {
		t.Errorf("interrupted: got %v", err)
	}

	// One that ends leaves the work to the session.
	o.Waiting = func() { lock.Release() }
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
