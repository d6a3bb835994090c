package proof

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	// What the program is built from is part of this test, so that a result
	// is not taken from the cache after a change of it.
	_ "postrider/internal/server"
)

// patience is how long anything may take that should be quick.
const patience = 60 * time.Second

// binaries is where the program is built, made at the first use.
var binaries string

func TestMain(m *testing.M) {
	code := m.Run()
	if binaries != "" {
		os.RemoveAll(binaries)
	}
	os.Exit(code)
}

// build builds the program once for all tests.
var build = sync.OnceValues(func() (string, error) {
	if p := os.Getenv("PROOF_PROGRAM"); p != "" {
		return p, nil
	}
	sources, err := filepath.Glob("../../cmd/postrider/*.go")
	for _, path := range sources {
		if _, err := os.Stat(path); err != nil { // as above: the cache takes note
			return "", err
		}
	}
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "proof-")
	if err != nil {
		return "", err
	}
	binaries = dir
	out := filepath.Join(dir, "postrider")
	if runtime.GOOS == "windows" {
		out += ".exe"
	}
	said, err := exec.Command("go", "build", "-o", out, "postrider/cmd/postrider").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, said)
	}
	return out, nil
})

// program is the path of the built program.
func program(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("the built program is not proved with -short")
	}
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// number is a count from the environment.
func number(t *testing.T, name string, usual int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s: want a number above 0", name, text)
	}
	return n
}

// chance makes the random numbers of a test, and logs how to have them again.
func chance(t *testing.T) *rand.Rand {
	t.Helper()
	seed := number(t, "PROOF_SEED", int(time.Now().UnixNano()%1_000_000)+1)
	t.Logf("PROOF_SEED=%d", seed)
	return rand.New(rand.NewPCG(uint64(seed), 0))
}

// say reports the counts of a test, to people and to whoever greps for them.
func say(t *testing.T, format string, args ...any) {
	t.Helper()
	line := fmt.Sprintf(format, args...)
	t.Log(line)
	if testing.Verbose() {
		fmt.Println("proof: " + line)
	}
}

// A server is a running program. Its parts are set by begin; the addresses
// may be used after ready.
type server struct {
	dir    string
	cmd    *exec.Cmd
	smtp   string
	pop    string
	stderr *bytes.Buffer // may be read after ended
	hello  chan error    // what came of waiting for the greeting
	ended  chan struct{}
	err    error // of the end
}

// A launch says how to start a server.
type launch struct {
	wrap []string // a command in front of the program's
	sets []string // settings, KEY=VALUE
}

// start starts a server on dir and waits until it is ready.
func start(t *testing.T, dir string, l launch) *server {
	t.Helper()
	s := begin(t, dir, l)
	if err := s.ready(); err != nil {
		s.kill()
		t.Fatalf("the server does not start: %v\n%s", err, s.stderr)
	}
	return s
}

// begin starts a server and does not wait.
func begin(t *testing.T, dir string, l launch) *server {
	t.Helper()
	args := append([]string{}, l.wrap...)
	args = append(args, program(t), "serve", "--json", "--data", dir)
	for _, set := range append([]string{"smtp.listen=127.0.0.1:0", "pop.listen=127.0.0.1:0",
		"submission.listen=", "submissions.listen=", "pops.listen="}, l.sets...) {
		args = append(args, "--set", set)
	}
	s := &server{dir: dir, cmd: exec.Command(args[0], args[1:]...), stderr: &bytes.Buffer{},
		hello: make(chan error, 1), ended: make(chan struct{})}
	s.cmd.Stderr = s.stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.hello <- s.greeting(out)
		io.Copy(io.Discard, out)
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	t.Cleanup(s.kill)
	return s
}

// greeting reads what serve prints when it is ready.
func (s *server) greeting(r io.Reader) error {
	var g struct {
		Listeners []struct{ Service, Address string }
	}
	if err := json.NewDecoder(r).Decode(&g); err != nil {
		return fmt.Errorf("the greeting: %w", err)
	}
	for _, l := range g.Listeners {
		switch l.Service {
		case "smtp":
			s.smtp = l.Address
		case "pop":
			s.pop = l.Address
		}
	}
	return nil
}

// ready waits until the server is ready.
func (s *server) ready() error {
	select {
	case err := <-s.hello:
		return err
	case <-time.After(patience):
		return errors.New("no greeting")
	}
}

// kill ends the server with SIGKILL, if it still runs.
func (s *server) kill() {
	s.cmd.Process.Kill()
	<-s.ended
}

// stop ends the server gracefully.
func (s *server) stop(t *testing.T) {
	t.Helper()
	if code, said := command(t, s.dir, "", "stop"); code != 0 {
		t.Fatalf("stop: exit status %d\n%s", code, said)
	}
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Fatal("the server does not stop")
	}
}

// command runs a command of the program on dir; said is all that it prints.
func command(t *testing.T, dir, stdin string, args ...string) (code int, said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(t), append([]string{"--data", dir}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return exit.ExitCode(), string(out)
	}
	if err != nil {
		t.Fatalf("postrider %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return 0, string(out)
}

// must runs a command that has to succeed.
func must(t *testing.T, dir, stdin string, args ...string) string {
	t.Helper()
	code, said := command(t, dir, stdin, args...)
	if code != 0 {
		t.Fatalf("postrider %s: exit status %d\n%s", strings.Join(args, " "), code, said)
	}
	return said
}

// sound says that check finds nothing.
func sound(t *testing.T, dir string) {
	t.Helper()
	if code, said := command(t, dir, "", "check"); code != 0 {
		t.Errorf("check: exit status %d\n%s", code, said)
	}
}

// password is that of all accounts.
const password = "correct horse battery"

// accounts makes n accounts in dir, where a server runs, and returns their
// addresses.
func accounts(t *testing.T, dir string, n int) []string {
	t.Helper()
	table := "UserName\tPassword\n"
	var list []string
	for i := range n {
		name := fmt.Sprintf("user%02d", i)
		table += name + "\t" + password + "\n"
		list = append(list, name+"@localhost")
	}
	must(t, dir, table, "account", "import", "-")
	return list
}

// divide gives a directory, on which no server runs, two places for volumes,
// which are so small that they are often full, and binds every other account
// to the second.
func divide(t *testing.T, dir string, boxes []string) {
	t.Helper()
	config := "[store]\nvolumes = [\"volumes\", \"volumes2\"]\nvolume_size = \"4M\"\n"
	err := os.WriteFile(filepath.Join(dir, "postrider.toml"), []byte(config), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(boxes); i += 2 {
		must(t, dir, "", "account", "set", boxes[i], "--volume", "1")
	}
}
