package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postrider/internal/certs"
	"postrider/internal/cli"
	"postrider/internal/datadir"
	"postrider/internal/mail"
	"postrider/internal/terminal"
)

func TestExitStatus(t *testing.T) {
	tests := []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("something else"), 1},
		{&cli.UsageError{Text: "wrong"}, 2},
		{mail.Errorf(mail.NotFound, ""), 3},
		{mail.Errorf(mail.Exists, ""), 4},
		{mail.Errorf(mail.Unreachable, ""), 5},
		{mail.Errorf(mail.Locked, ""), 5},
		{mail.Errorf(mail.Damaged, ""), 6},
		{mail.Errorf(mail.Invalid, ""), 1},
		{mail.Errorf(mail.Conflict, ""), 1},
		{mail.Errorf(mail.Full, ""), 1},
		{&mail.Error{Kind: mail.Exists, Err: mail.Errorf(mail.NotFound, "")}, 4},
	}
	for _, tt := range tests {
		if got := exitStatus(tt.err); got != tt.want {
			t.Errorf("%v: got %d, want %d", tt.err, got, tt.want)
		}
	}
}

// The table of commands is whole: names differ, flags exist, and the help and
// the completion know every command.
func TestCommands(t *testing.T) {
	p := new(call).newProgram()
	seen := map[string]bool{}
	for _, cmd := range p.Commands {
		if seen[cmd.Name] {
			t.Errorf("%q is there twice", cmd.Name)
		}
		seen[cmd.Name] = true
		words := strings.Fields(cmd.Name)
		if len(words) > cli.MaxWords {
			t.Errorf("%q has more than %d words", cmd.Name, cli.MaxWords)
		}
		for _, name := range cmd.Flags {
			if p.Flags.Lookup(name) == nil {
				t.Errorf("%s: there is no flag --%s", cmd.Name, name)
			}
		}
		for name := range cmd.About {
			if !slices.Contains(slices.Concat(cmd.Flags, p.Everywhere), name) {
				t.Errorf("%s: --%s is explained and is none of its flags", cmd.Name, name)
			}
		}
		var out, errs bytes.Buffer
		ctx := context.Background()
		if status := run(ctx, append(words, "--help"), nil, &out, &errs); status != 0 {
			t.Errorf("%s --help: exit status %d, %s", cmd.Name, status, &errs)
		}
		head := "postrider " + cmd.Name
		if cmd.Name == "help" {
			head = "Postrider is"
		}
		if !strings.HasPrefix(out.String(), head) || len(cmd.Short) == 0 ||
			cmd.Run == nil && cmd.Name != "help" {
			t.Errorf("%s --help: got %q", cmd.Name, out.String())
		}
		out.Reset()
		run(ctx, append([]string{"__complete"}, words...), nil, &out, &errs)
		if !slices.Contains(strings.Fields(out.String()), words[len(words)-1]) {
			t.Errorf("%s is not completed: got %q", cmd.Name, out.String())
		}
	}
}

// A flag that several commands share is explained as it works in each.
func TestSharedFlags(t *testing.T) {
	for command, want := range map[string]string{
		"log":            `--all +every record`,
		"config export":  `--all +also settings that have their default\n`,
		"account list":   `--domain NAME +only accounts in this domain\n`,
		"account export": `--domain NAME +only accounts in this domain\n`,
		"account import": `--domain NAME +where names without a domain belong`,
		"setup":          `--generate +make a password for postmaster`,
		"account add":    `--generate +make a password and print it\n`,
	} {
		var out bytes.Buffer
		run(t.Context(), append([]string{"help"}, strings.Fields(command)...), nil, &out, &out)
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("%s: want %s in\n%s", command, want, &out)
		}
	}
}

// Every operation has its command.
func TestOperationsHaveCommands(t *testing.T) {
	table, err := os.ReadFile("../../internal/control/operation.go")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var source []byte
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, text...)
	}
	names := regexp.MustCompile(`(?m)^\t(\w+) += (?:quick|long)\(`).FindAllSubmatch(table, -1)
	if len(names) < 20 {
		t.Fatalf("found only %d operations", len(names))
	}
	for _, m := range names {
		name := string(m[1])
		// config default needs no server: the settings know it by themselves.
		used := regexp.MustCompile(`[ (]control\.` + name + `(\.Call\(|, )`)
		if name != "ConfigDefault" && !used.Match(source) {
			t.Errorf("no command calls control.%s", name)
		}
	}
}

// A server that holds the lock and does not answer is waited for, not for ever.
func TestServerDoesNotAnswer(t *testing.T) {
	dir, _, err := datadir.Make(filepath.Join(t.TempDir(), "d"))
	if err != nil {
		t.Fatal(err)
	}
	lock, err := dir.Lock()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	c := &call{Terminal: terminal.Terminal{Stdout: &out, Stderr: &errs},
		patience: 100 * time.Millisecond}
	args := []string{"account", "list", "--data", dir.Path()}
	if got := c.finish(c.run(context.Background(), args)); got != exitUnreachable {
		t.Errorf("got exit status %d, want %d", got, exitUnreachable)
	}
	if !strings.Contains(errs.String(), "is it still starting?") {
		t.Errorf("got %q", errs.String())
	}
	// One that ends meanwhile leaves the work to the command.
	time.AfterFunc(20*time.Millisecond, func() { lock.Release() })
	c.patience = 10 * time.Second
	if got := c.finish(c.run(context.Background(), args)); got != exitDone {
		t.Errorf("after its end: got exit status %d, %s", got, &errs)
	}
}

// What somebody has written is repeated only as far as a person can read it.
func TestLongInput(t *testing.T) {
	dir, _, err := datadir.Make(filepath.Join(t.TempDir(), "d"))
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 120_000)
	for _, line := range [][]string{
		{long}, {"account", long}, {"account", "show", long}, {"account", "show", long + "@localhost"},
		{"account", "show", "a@" + long}, {"account", "show", "a", long}, {"account", "add", long},
		{"account", "list", "--domain", long}, {"account", "list", "--" + long},
		{"account", "import", long}, {"account", "import", "f", "--format", long},
		{"account", "set", "a", "--quota", long}, {"account", "set", "a", "--apop", long},
		{"account", "app", "remove", "postmaster@localhost", long}, {"domain", "add", long},
		{"domain", "main", long}, {"settings", long}, {"settings", "set", "log.level", long},
		{"settings", "set", long, "1"}, {"settings", "reset", long}, {"trace", long},
		{"trace", "a@b", "--since", long}, {"trace", "a@b", "--limit", long}, {"log", "level", long},
		{"log", "--component", long}, {"serve", "--set", long}, {"serve", "--set", long + "=1"},
		{"setup", long}, {"setup", "example.org", "--host", long}, {"completion", long},
	} {
		var out, errs bytes.Buffer
		status := run(t.Context(), append(line, "--data", dir.Path()), nil, &out, &errs)
		if status == exitDone || errs.Len() > 600 || !strings.Contains(errs.String(), "postrider: ") {
			t.Errorf("%.60q: exit status %d, %d bytes: %.300s", line, status, errs.Len(), errs.String())
		}
	}
}

func TestCertificateRow(t *testing.T) {
	ends := time.Date(2026, 3, 1, 8, 0, 0, 0, time.Local)
	for _, tt := range []struct {
		in   certs.Info
		want string
	}{
		{certs.Info{Names: []string{"a.example", "b.example"}, Ends: ends, Days: 1},
			"a.example, ends in 1 day, at 2026-03-01 08:00:00"},
		{certs.Info{Names: []string{"a.example"}, SelfMade: true, Ends: ends, Days: 90},
			"a.example (made by the server itself), ends in 90 days, at 2026-03-01 08:00:00"},
		{certs.Info{File: "/etc/cert.pem", Ends: ends, Days: -1},
			"/etc/cert.pem, EXPIRED at 2026-03-01 08:00:00"},
	} {
		if got := certificate(&tt.in); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
