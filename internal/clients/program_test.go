package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take that should be quick.
const patience = 60 * time.Second

// binaries is where the program is built, at the first use.
var binaries string

func TestMain(m *testing.M) {
	os.Unsetenv("POSTRIDER_DATA")
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
	out, err := executable("postrider")
	if err != nil {
		return "", err
	}
	said, err := exec.Command("go", "build", "-o", out, "postrider/cmd/postrider").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, said)
	}
	return out, nil
})

// workshop makes the directory for what is built.
var workshop = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "clients-")
	if err != nil {
		return "", err
	}
	binaries = dir
	return dir, os.Chmod(dir, 0o755) // other users start it too
})

// executable is where a program is to be built.
func executable(name string) (string, error) {
	dir, err := workshop()
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(dir, name), err
}

// program is the path of the built program.
func program(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("the built program is not started with -short")
	}
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// need skips the test unless a program is installed.
func need(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
}

// A result is what a command did.
type result struct {
	args   []string
	stdout string
	stderr string
	status int
}

func (r *result) String() string {
	return fmt.Sprintf("%s: exit status %d\n%s%s", strings.Join(r.args, " "), r.status, r.stdout,
		r.stderr)
}

// command runs a program with a standard input, which may be empty.
func command(t *testing.T, stdin string, args ...string) *result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	return outcome(t, cmd)
}

// outcome runs a command to its end.
func outcome(t *testing.T, cmd *exec.Cmd) *result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = patience
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, stderr.String())
	}
	return &result{cmd.Args, stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// want fails the test unless the command exited with status.
func (r *result) want(t *testing.T, status int) *result {
	t.Helper()
	if r.status != status {
		t.Fatalf("%v\nwant exit status %d", r, status)
	}
	return r
}

// postrider runs a command of the program on the data directory dir.
func postrider(t *testing.T, dir string, args ...string) *result {
	t.Helper()
	return postriderInput(t, dir, "", args...)
}

func postriderInput(t *testing.T, dir, stdin string, args ...string) *result {
	t.Helper()
	return command(t, stdin, append([]string{program(t), "--data", dir}, args...)...)
}

// A greeting is what "serve --json" prints when it is ready.
type greeting struct {
	DataDirectory string `json:"data_directory"`
	Listeners     []struct {
		Service string `json:"service"`
		Address string `json:"address"`
	} `json:"listeners"`
	Account  string `json:"account"`
	Password string `json:"password"`
}

// A server is a running program.
type server struct {
	greeting
	t      *testing.T
	dir    string
	cmd    *exec.Cmd
	ended  chan struct{}
	stderr *bytes.Buffer // to be read after the end
}

// everyDoor are the flags for all services on free ports.
var everyDoor = []string{
	"--set", "smtp.listen=127.0.0.1:0", "--set", "submission.listen=127.0.0.1:0",
	"--set", "submissions.listen=127.0.0.1:0", "--set", "lmtp.listen=127.0.0.1:0",
	"--set", "pop.listen=127.0.0.1:0", "--set", "pops.listen=127.0.0.1:0",
}

// serve starts a server with all doors and an empty data directory.
func serve(t *testing.T, sets ...string) *server {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "d")
	args := with(everyDoor, "--set",
		"lmtp.listen=127.0.0.1:0, unix:"+filepath.Join(dir, "lmtp.sock"))
	for _, s := range sets {
		args = append(args, "--set", s)
	}
	return serveIn(t, dir, args...)
}

// socket is the path of the Unix socket for LMTP.
func (s *server) socket() string { return filepath.Join(s.dir, "lmtp.sock") }

// serveIn starts a server on a data directory.
func serveIn(t *testing.T, dir string, args ...string) *server {
	t.Helper()
	cmd := exec.Command(program(t), append([]string{"serve", "--json", "--data", dir}, args...)...)
	return launch(t, dir, cmd)
}

// launch starts a command that is a server with --json, and waits until it is
// ready. The server ends with the test.
func launch(t *testing.T, dir string, cmd *exec.Cmd) *server {
	t.Helper()
	s := &server{t: t, dir: dir, cmd: cmd, ended: make(chan struct{}), stderr: &bytes.Buffer{}}
	cmd.Stderr = s.stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan error, 1)
	go func() {
		ready <- json.NewDecoder(stdout).Decode(&s.greeting)
		cmd.Wait()
		close(s.ended)
	}()
	t.Cleanup(s.stop)
	select {
	case err = <-ready:
	case <-time.After(patience):
		err = errors.New("it says nothing")
	}
	if err != nil {
		s.kill()
		t.Fatalf("the server does not start: %v\n%s", err, s.stderr)
	}
	return s
}

// stop ends the server gracefully and fails the test if it does not end well.
func (s *server) stop() {
	s.t.Helper()
	if s.gone() {
		return
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.kill()
		return
	}
	s.wait()
}

// wait waits for the end, which must be a good one.
func (s *server) wait() {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.kill()
		s.t.Error("the server does not stop")
	}
	if status := s.cmd.ProcessState.ExitCode(); status != 0 {
		s.t.Errorf("the server ended with status %d\n%s", status, s.stderr)
	}
}

func (s *server) kill() {
	s.cmd.Process.Kill()
	<-s.ended
}

func (s *server) gone() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// addresses are those of a service.
func (s *server) addresses(service string) []string {
	var list []string
	for _, l := range s.Listeners {
		if l.Service == service {
			list = append(list, l.Address)
		}
	}
	return list
}

// address is the one address of a service.
func (s *server) address(t *testing.T, service string) string {
	t.Helper()
	list := s.addresses(service)
	if len(list) == 0 {
		t.Fatalf("nothing listens for %s: %+v", service, s.Listeners)
	}
	return list[0]
}

// port is the port of a service on 127.0.0.1.
func (s *server) port(t *testing.T, service string) string {
	t.Helper()
	port, ok := strings.CutPrefix(s.address(t, service), "127.0.0.1:")
	if !ok {
		t.Fatalf("%s is at %s", service, s.address(t, service))
	}
	return port
}

// password is the one of every account that tests make.
const password = "correct horse 47"

// account makes an account and gives its whole address.
func (s *server) account(t *testing.T, name string, flags ...string) string {
	t.Helper()
	args := append([]string{"account", "add", name, "--password-file", "-"}, flags...)
	postriderInput(s.t, s.dir, password+"\n", args...).want(s.t, 0)
	return name + "@localhost"
}
