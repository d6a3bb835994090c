package proof

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postrider/internal/trial"
)

// TestRebuild deletes the database, has it made again, and compares mail,
// accounts, domains and settings with what was there.
func TestRebuild(t *testing.T) {
	g := newRun(t, 5)
	dir := g.dir
	s := start(t, dir, launch{})
	for _, args := range [][]string{
		{"domain", "add", "example.org"},
		{"settings", "set", "smtp.max_size", "20M"},
		{"settings", "set", "pop.login_delay", "none"},
		{"account", "set", g.boxes[0], "--full-name", "Ada Lovelace", "--quota", "500M"},
		{"account", "add", "ada@example.org", "--password-file", "-"},
		{"account", "disable", g.boxes[4]},
		{"account", "remove", g.boxes[3], "--yes"},
	} {
		must(t, dir, trial.Password+"\n", args...)
	}
	g.boxes = append(g.boxes[:3:3], "ada@example.org")
	g.send(t, s, 4, 40, sizes{medium: 10, large: 3})
	before := g.describe(t, s)
	s.stop(t)

	files, err := filepath.Glob(filepath.Join(dir, "postrider.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no database files: %v", err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	if s := begin(t, dir, launch{}); s.ready() == nil {
		t.Error("a database older than its volumes is served")
	}
	if r := trial.Postrider(t, dir, "", "check"); r.Status == 0 {
		t.Errorf("check finds nothing wrong without a database:\n%s", r)
	}
	said := must(t, dir, "", "check", "--repair")
	t.Logf("check --repair:\n%s", said)
	sound(t, dir)

	s = start(t, dir, launch{})
	if diff := cmp.Diff(before, g.describe(t, s)); diff != "" {
		t.Errorf("after the rebuild (-before +after):\n%s", diff)
	}
	g.inspect(t, s)
	g.send(t, s, 2, 5, sizes{}) // and it goes on
	g.inspect(t, s)
	s.stop(t)
	sound(t, dir)
	say(t, "rebuild: answered_250=%d in_mailboxes=%d", g.ledger.count.answered, g.ledger.places())
}

// describe is all that people see of a server, apart from the messages' text.
func (g *run) describe(t *testing.T, s *server) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, args := range [][]string{
		{"account", "export"}, {"domain", "list"}, {"settings", "smtp.max_size"},
		{"settings", "pop.login_delay"}, {"account", "list"},
	} {
		all[strings.Join(args, " ")] = must(t, s.dir, "", args...)
	}
	for _, box := range g.boxes {
		f, err := dialPOP(s.pop, box)
		if err != nil {
			t.Fatal(err)
		}
		uids, err := f.UIDL()
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Quit(); err != nil {
			t.Error(err)
		}
		f.Conn.Close()
		all["UIDL of "+box] = strings.Join(uids, "\n")
	}
	return all
}
