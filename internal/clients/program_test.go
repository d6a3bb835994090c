package clients

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postrider/internal/trial"
)

func TestMain(m *testing.M) { trial.Main(m) }

// postrider runs a command of the program on the data directory dir.
func postrider(t *testing.T, dir string, args ...string) *trial.Result {
	t.Helper()
	return trial.Postrider(t, dir, "", args...)
}

// A server is a running program with its data directory.
type server struct {
	*trial.Server
	t   *testing.T
	dir string
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
	args = trial.Serve(t, dir, args...)
	return launch(t, dir, exec.Command(args[0], args[1:]...))
}

// launch starts a command that is a server with --json, and waits until it is
// ready. The server stops with the test.
func launch(t *testing.T, dir string, cmd *exec.Cmd) *server {
	t.Helper()
	s := &server{Server: trial.Start(t, cmd), t: t, dir: dir}
	t.Cleanup(s.stop)
	return s
}

// stop ends the server gracefully and fails the test if it does not end well.
func (s *server) stop() {
	s.t.Helper()
	if s.Gone() {
		return
	}
	if err := s.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.Kill()
		return
	}
	s.Wait(s.t)
}

// password is the one of every account that tests make.
const password = trial.Password

// port is the port of a service on 127.0.0.1.
func (s *server) port(t *testing.T, service string) string {
	t.Helper()
	port, ok := strings.CutPrefix(s.Address(t, service), "127.0.0.1:")
	if !ok {
		t.Fatalf("%s is at %s", service, s.Address(t, service))
	}
	return port
}

// account makes an account and gives its whole address.
func (s *server) account(t *testing.T, name string, flags ...string) string {
	t.Helper()
	args := append([]string{"account", "add", name, "--password-file", "-"}, flags...)
	trial.Postrider(s.t, s.dir, password+"\n", args...).Want(s.t, 0)
	return name + "@localhost"
}
