package engine

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postrider/internal/auth"
	"postrider/internal/control"
	"postrider/internal/datadir"
	"postrider/internal/mail"
	"postrider/internal/settings"
	"postrider/internal/store"
)

func newDir(t *testing.T) *datadir.Dir {
	t.Helper()
	dir, _, err := datadir.Make(filepath.Join(t.TempDir(), "d"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func openDir(t *testing.T, cfg Config) *Engine {
	t.Helper()
	cfg.Quiet = true
	e, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// firstRun makes the domain localhost with its postmaster.
func firstRun(t *testing.T, e *Engine) {
	t.Helper()
	a := auth.New(e.Auth())
	defer a.Close()
	if _, err := e.Control(a, nil, nil).FirstRun(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// What one engine has sealed and stored, the next one reads.
func TestReopen(t *testing.T) {
	ctx, dir := context.Background(), newDir(t)
	e := openDir(t, Config{Dir: dir})
	firstRun(t, e)
	sealed := e.Key.Seal([]byte("secret"), []byte("test"))
	if _, err := e.Settings.Set(ctx, "smtp.errors", "7"); err != nil {
		t.Fatal(err)
	}
	salts := string(e.Auth().Secret)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = openDir(t, Config{Dir: dir})
	defer e.Close()
	if plain, err := e.Key.Open(sealed, []byte("test")); err != nil || string(plain) != "secret" {
		t.Errorf("the secret: got %q, %v", plain, err)
	}
	if got := e.Settings.Current().Int(settings.SMTPErrors); got != 7 {
		t.Errorf("the setting: got %d, want 7", got)
	}
	if got := string(e.Auth().Secret); got != salts || len(got) == 0 {
		t.Error("the salts of unknown users have changed")
	}
	if len(e.Problems) > 0 || len(e.Warnings) > 0 {
		t.Errorf("got %v, %v", e.Problems, e.Warnings)
	}
}

func TestSettingsFile(t *testing.T) {
	dir := newDir(t)
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	other := filepath.Join(t.TempDir(), "other.toml")
	write(dir.Config(), "[smtp]\nerrors = 11\n")
	write(other, "[smtp]\nerrors = 12\n")
	tests := []struct {
		name string
		cfg  Config
		want int
		file string
	}{
		{"in the directory", Config{Dir: dir}, 11, dir.Config()},
		{"named", Config{Dir: dir, File: other}, 12, other},
		{"flag", Config{Dir: dir, Set: []string{"smtp.errors=13"}}, 13, dir.Config()},
	}
	for _, tt := range tests {
		reg, file, err := Settings(tt.cfg)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := reg.Current().Int(settings.SMTPErrors); got != tt.want || file != tt.file {
			t.Errorf("%s: got %d from %s, want %d from %s", tt.name, got, file, tt.want, tt.file)
		}
	}
	_, _, err := Settings(Config{Dir: dir, File: other + ".not"})
	if mail.KindOf(err) != mail.Invalid {
		t.Errorf("named and missing: got %v, want kind Invalid", err)
	}
	write(other, "[smtp]\nerrors = many\n")
	if _, err := Open(context.Background(), Config{Dir: dir, File: other}); err == nil ||
		!strings.Contains(err.Error(), "other.toml:2") {
		t.Errorf("wrong file: got %v, want one that names the line", err)
	}
	if _, err := os.Stat(dir.Database()); err == nil {
		t.Error("the database was made although the settings are wrong")
	}
}

// A database that was lost is told at every start, and the empty one that a
// start had begun is not put aside as an old one.
func TestLostDatabase(t *testing.T) {
	ctx, dir := context.Background(), newDir(t)
	e := openDir(t, Config{Dir: dir})
	firstRun(t, e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dir.Database()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := Open(ctx, Config{Dir: dir, Quiet: true}); mail.KindOf(err) != mail.Damaged {
			t.Fatalf("got %v, want Damaged", err)
		}
	}
	e = openDir(t, Config{Dir: dir, Repair: true})
	defer e.Close()
	if got := told(e.Problems); strings.Contains(got, "aside") || !strings.Contains(got, "rebuilt") {
		t.Errorf("got %s, want a rebuilding without an old database", got)
	}
}

// A database that is no database is rebuilt, but only when asked.
func TestRepair(t *testing.T) {
	ctx, dir := context.Background(), newDir(t)
	e := openDir(t, Config{Dir: dir})
	firstRun(t, e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	garbage := []byte(strings.Repeat("this is no database\n", 1000))
	if err := os.WriteFile(dir.Database(), garbage, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(ctx, Config{Dir: dir, Quiet: true})
	if mail.KindOf(err) != mail.Damaged || !strings.Contains(err.Error(), "check --repair") {
		t.Fatalf("garbage: got %v, want Damaged with what to do", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Open(canceled, Config{Dir: dir, Quiet: true, Repair: true}); err == nil {
		t.Error("got no error from a canceled context")
	}
	if left, _ := os.ReadFile(dir.Database()); string(left) != string(garbage) {
		t.Error("the database was touched though its damage was not the reason")
	}
	e = openDir(t, Config{Dir: dir, Repair: true})
	defer e.Close()
	var repaired []string
	for _, p := range e.Problems {
		repaired = append(repaired, p.What)
	}
	if !strings.Contains(strings.Join(repaired, "\n"), "rebuilt") {
		t.Errorf("got %q, want word of the rebuilding", repaired)
	}
	c := control.New(control.Config{Store: e.Store, Settings: e.Settings, Problems: e.Problems})
	r, err := control.Check.Call(ctx, c, control.CheckRequest{}, store.Progress(nil))
	if err != nil || r.Damaged != 0 || len(r.Problems) == 0 {
		t.Errorf("check: got %+v, %v; want what was mended", r, err)
	}
	q := control.AddressRequest{Address: "postmaster"}
	if _, err := control.AccountShow.Call(ctx, c, q, nil); err != nil {
		t.Errorf("the account is lost: %v", err)
	}
}
