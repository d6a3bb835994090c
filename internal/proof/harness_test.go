package proof

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"postrider/internal/trial"
)

func TestMain(m *testing.M) { trial.Main(m) }

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

// A server is a running program. The addresses may be used after ready.
type server struct {
	*trial.Server
	dir  string
	smtp string
	pop  string
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
		s.Kill()
		t.Fatalf("the server does not start: %v\n%s", err, s.Stderr)
	}
	return s
}

// begin starts a server and does not wait.
func begin(t *testing.T, dir string, l launch) *server {
	t.Helper()
	var flags []string
	for _, set := range append([]string{"smtp.listen=127.0.0.1:0", "pop.listen=127.0.0.1:0",
		"submission.listen=", "submissions.listen=", "pops.listen="}, l.sets...) {
		flags = append(flags, "--set", set)
	}
	args := append(l.wrap[:len(l.wrap):len(l.wrap)], trial.Serve(t, dir, flags...)...)
	return &server{Server: trial.Begin(t, exec.Command(args[0], args[1:]...)), dir: dir}
}

// ready waits until the server is ready.
func (s *server) ready() error {
	err := s.Ready()
	if err == nil {
		s.smtp, s.pop = s.Addresses("smtp")[0], s.Addresses("pop")[0]
	}
	return err
}

// stop ends the server gracefully.
func (s *server) stop(t *testing.T) {
	t.Helper()
	must(t, s.dir, "", "stop")
	s.Wait(t)
}

// must runs a command that has to succeed, and gives what it prints.
func must(t *testing.T, dir, stdin string, args ...string) string {
	t.Helper()
	r := trial.Postrider(t, dir, stdin, args...).Want(t, 0)
	return r.Stdout + r.Stderr
}

// sound says that check finds nothing.
func sound(t *testing.T, dir string) {
	t.Helper()
	if r := trial.Postrider(t, dir, "", "check"); r.Status != 0 {
		t.Error(r)
	}
}

// accounts makes n accounts in dir, where a server runs, and returns their
// addresses.
func accounts(t *testing.T, dir string, n int) []string {
	t.Helper()
	table := "UserName\tPassword\n"
	var list []string
	for i := range n {
		name := fmt.Sprintf("user%02d", i)
		table += name + "\t" + trial.Password + "\n"
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
