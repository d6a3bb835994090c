package clients

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postrider/internal/trial"
)

// ordinary is a user who is not root and owns nothing.
func ordinary(t *testing.T) *user.User {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Skipf("there is no user to become: %v", err)
	}
	return u
}

// open makes a directory that every user may pass through.
func open(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "clients-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// processUser reads the four user ids of a process.
func processUser(t *testing.T, pid int) []string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\nUid:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Fields(line)
}

// Started as root, the server opens a port that only root may, and becomes
// server.user with everything that it writes.
func TestBecomesUser(t *testing.T) {
	u := ordinary(t)
	port := privilegedPort(t)
	dir := filepath.Join(open(t), "d")
	s := serveIn(t, dir, "--set", "server.user="+u.Username, "--set", "smtp.listen="+port,
		"--set", "pop.listen=127.0.0.1:0", "--set", "submission.listen=",
		"--set", "submissions.listen=", "--set", "pops.listen=")
	if got := s.Address(t, "smtp"); got != port {
		t.Errorf("smtp listens on %s, want %s", got, port)
	}
	want := []string{u.Uid, u.Uid, u.Uid, u.Uid}
	if got := processUser(t, s.Cmd.Process.Pid); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the user ids of the server are %v, want %v", got, want)
	}
	account := s.account(t, "alice") // by root
	s.send(t, account, letter)
	s.wantMail(t, account, letter)
	s.stop()
	says(t, dir, "check") // by root, directly
	says(t, dir, "account list", "^alice@localhost")
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if owner := strconv.Itoa(int(info.Sys().(*syscall.Stat_t).Uid)); owner != u.Uid {
			t.Errorf("%s belongs to user %s", path, owner)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// privilegedPort is a free address below the ports that everybody may open.
func privilegedPort(t *testing.T) string {
	t.Helper()
	for port := 600; port < 1000; port++ {
		address := fmt.Sprintf("127.0.0.1:%d", port)
		ln, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		ln.Close()
		return address
	}
	t.Skip("no port below 1000 is free")
	return ""
}

// Sockets that were opened by somebody else, as systemd does it, serve the
// service of their name, or the one that is configured for their address.
func TestSocketActivation(t *testing.T) {
	trial.Need(t, "sh")
	var files []*os.File
	var addresses []string
	for range 2 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		f, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files, addresses = append(files, f), append(addresses, ln.Addr().String())
	}
	dir := filepath.Join(t.TempDir(), "d")
	args := append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`},
		trial.Serve(t, dir, everyDoor...)...)
	cmd := exec.Command("sh", append(args, "--set", "pop.listen="+addresses[1])...)
	cmd.ExtraFiles = files
	cmd.Env = append(os.Environ(), "LISTEN_FDS=2", "LISTEN_FDNAMES=smtp:unknown")
	s := launch(t, dir, cmd)
	if got := s.Addresses("smtp"); len(got) != 1 || got[0] != addresses[0] {
		t.Errorf("smtp listens on %v, want %s", got, addresses[0])
	}
	if got := s.Addresses("pop"); len(got) != 1 || got[0] != addresses[1] {
		t.Errorf("pop listens on %v, want %s", got, addresses[1])
	}
	account := s.account(t, "alice")
	s.send(t, account, letter)
	s.wantMail(t, account, letter)
}

func TestSystemdSocketActivate(t *testing.T) {
	trial.Need(t, "systemd-socket-activate")
	smtp, pop := freePort(t), freePort(t)
	dir := filepath.Join(t.TempDir(), "d")
	args := append([]string{"-l", smtp, "-l", pop, "--fdname=smtp:pop"},
		trial.Serve(t, dir, everyDoor...)...)
	cmd := exec.Command("systemd-socket-activate", args...)
	go func() { // the first connection starts the program
		for deadline := time.Now().Add(trial.Patience); time.Now().Before(deadline); {
			if conn, err := net.DialTimeout("tcp", smtp, trial.Patience); err == nil {
				conn.Close()
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	s := launch(t, dir, cmd)
	account := s.account(t, "alice")
	s.send(t, account, letter)
	s.wantMail(t, account, letter)
}

// freePort is an address that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// The server tells systemd when it is ready and when it stops (sd_notify(3)).
func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	dir := filepath.Join(t.TempDir(), "d")
	args := trial.Serve(t, dir, everyDoor...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+path)
	told := make(chan string, 100)
	go func() {
		defer close(told)
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			told <- string(buf[:n])
		}
	}()
	s := launch(t, dir, cmd)
	s.stop()
	conn.Close()
	var all string
	for text := range told {
		all += text + "\n"
	}
	ready, stopping := strings.Index(all, "READY=1"), strings.Index(all, "STOPPING=1")
	if ready < 0 || stopping < ready {
		t.Errorf("systemd was told %q", all)
	}
}

// A command does not wait for ever for a server that hangs.
func TestHungServer(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.Cmd.Process.Signal(syscall.SIGSTOP)
	r := postrider(t, s.dir, "account", "list")
	s.Cmd.Process.Signal(syscall.SIGCONT)
	if r.Want(t, 5); !strings.Contains(r.Stderr, "does not answer") {
		t.Errorf("got %v", r)
	}
	says(t, s.dir, "account list", "^postmaster@localhost")
}
