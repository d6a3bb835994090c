package clients

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postrider/internal/trial"
)

// A console is what a program prints, to be watched while it runs.
type console struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(b)
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// await waits until the console shows a text, and gives all it shows.
func (c *console) await(t *testing.T, want string) string {
	t.Helper()
	for deadline := time.Now().Add(trial.Patience); ; time.Sleep(5 * time.Millisecond) {
		text := c.String()
		if strings.Contains(text, want) {
			return text
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q did not appear in\n%s", want, text)
		}
	}
}

// watch starts the program as a user does, in a working directory.
func watch(t *testing.T, dir string, args ...string) (*exec.Cmd, *console) {
	t.Helper()
	var c console
	cmd := exec.Command(trial.Program(t), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &c, &c
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return cmd, &c
}

// finish ends a program with a signal; it must end well.
func finish(t *testing.T, cmd *exec.Cmd, c io.Writer, signal os.Signal) {
	t.Helper()
	if err := cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%v", err, c)
	}
}

// A new user starts the server in an empty directory and pastes the lines
// that it prints into a shell: they send and read a message.
func TestFirstRun(t *testing.T) {
	trial.Need(t, "curl", "sh")
	dir := t.TempDir()
	args := append([]string{"serve"}, everyDoor...)
	cmd, screen := watch(t, dir, args...)
	text := screen.await(t, "Ctrl-C")
	var lines []string // those to paste
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "    ") {
			lines = append(lines, line)
		}
	}
	pasted := strings.Join(lines[1:], "") // the first is the password
	secret := strings.TrimSpace(lines[0])
	if !regexp.MustCompile(`^([a-z]{4}-){4}[a-z]{4}$`).MatchString(secret) {
		t.Errorf("the password is %q", secret)
	}
	if _, err := exec.LookPath("swaks"); err != nil {
		pasted = regexp.MustCompile(`(?m)^ *swaks .*\n`).ReplaceAllString(pasted, "")
	}
	r := trial.Command(t, "", "sh", "-e", "-c", pasted).Want(t, 0)
	for _, want := range []string{"Return-Path: <me@example.org>\r\n", "Subject: hello\r\n",
		"\r\n\r\nIt works.\r\n"} {
		if !strings.Contains(r.Stdout, want) {
			t.Errorf("%v\nlacks %q", r, want)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "postrider-data"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the data directory: %v, %v", info, err)
	}
	finish(t, cmd, screen, os.Interrupt)

	cmd, screen = watch(t, dir, args...)
	text = screen.await(t, "pops ")
	finish(t, cmd, screen, syscall.SIGTERM)
	if strings.Contains(text, "first run") || strings.Contains(screen.String(), secret) {
		t.Errorf("the second start says\n%s", text)
	}
	for _, name := range []string{"control.token", "secret.key", "postrider.db", "tls.pem"} {
		info, err := os.Stat(filepath.Join(dir, "postrider-data", name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(secret)) {
			t.Errorf("%s holds the password", path)
		}
		return err
	})
}

// A second server on the same directory is refused at once and harms nothing.
func TestServeTwice(t *testing.T) {
	s := serve(t)
	r := postrider(t, s.dir, "serve").Want(t, 5)
	if !strings.Contains(r.Stderr, "another Postrider works in") {
		t.Errorf("got %s", r.Stderr)
	}
	postrider(t, s.dir, "status").Want(t, 0)
}

// What the server cannot listen on it says, with the address.
func TestAddressInUse(t *testing.T) {
	s := serve(t)
	address := s.Address(t, "smtp")
	r := postrider(t, filepath.Join(t.TempDir(), "d"), "serve", "--set", "smtp.listen="+address)
	if r.Status != 1 || !strings.Contains(r.Stderr, address) {
		t.Errorf("got %v", r)
	}
}

// A data directory whose path is too long for a socket works like any other.
func TestLongPath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 3 {
		dir = filepath.Join(dir, strings.Repeat("x", 60))
	}
	s := serveIn(t, dir, everyDoor...)
	account := s.account(t, "alice")
	s.send(t, account, letter)
	s.wantMail(t, account, letter)
	says(t, dir, "status", "^pop +"+regexp.QuoteMeta(s.Address(t, "pop"))+",")
	// Where the socket lies is recorded, and removed with the server.
	place, err := os.ReadFile(filepath.Join(dir, "control.addr"))
	if err != nil {
		t.Fatal(err)
	}
	socket := strings.TrimPrefix(strings.TrimSpace(string(place)), "unix ")
	info, err := os.Stat(filepath.Dir(socket))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory of the socket: %v, %v", info, err)
	}
	postrider(t, dir, "stop").Want(t, 0)
	s.Wait(t)
	if _, err := os.Stat(socket); err == nil {
		t.Errorf("%s is left", socket)
	}
}

// With no data directory every command but serve and setup says so.
func TestNoDirectory(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	for _, args := range [][]string{{"status"}, {"account", "list"}, {"check"}, {"stop"}, {"log"},
		{"settings"}, {"domain", "list"}, {"trace", "a@localhost"}} {
		r := postrider(t, none, append(slices.Clone(args), "--json")...).Want(t, 5)
		if !strings.HasPrefix(r.Stderr, `{"error":"there is no data directory `) {
			t.Errorf("%v", r)
		}
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("a command made the data directory")
	}
	// A directory of somebody else is not taken over.
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "letter.txt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := postrider(t, other, "serve").Want(t, 1)
	if !strings.Contains(r.Stderr, "neither empty nor a data directory") {
		t.Errorf("%v", r)
	}
}
