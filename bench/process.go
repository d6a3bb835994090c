package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// endTime is how long a server may take to stop before it is killed.
const endTime = 20 * time.Second

// A process is a server that this program has started, and that it stops.
type process struct {
	name string
	smtp string // where it listens, empty if it does not
	pop  string
	// count tells how many messages lie in the mailboxes of all accounts.
	count func(context.Context) (int, error)

	env    []string // beside this program's own
	cmd    *exec.Cmd
	output *tail
	ended  chan struct{} // closed when it has ended
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// start runs a command that stays in the foreground.
func (p *process) start(name string, args ...string) error {
	p.cmd = exec.Command(name, args...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.output = &tail{}
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.WaitDelay = time.Second // its children may hold the output open
	p.ended = make(chan struct{})
	tie(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	return nil
}

// stop ends the process and waits for it.
func (p *process) stop() {
	if p == nil || p.cmd == nil || p.cmd.Process == nil {
		return
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(endTime):
		p.cmd.Process.Kill()
		<-p.ended
	}
}

// greets waits until a server greets, at most for limit.
func (p *process) greets(ctx context.Context, addr string, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for !greeting(addr) {
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended at once: %s", p.name, p.output)
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not greet on %s within %v: %s", p.name, addr, limit, p.output)
		}
		time.Sleep(500 * time.Microsecond)
	}
	return nil
}

// greeting tells whether a mail server greets at an address.
func greeting(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	var b [3]byte
	n, err := conn.Read(b[:])
	return err == nil && (string(b[:n]) == "220" || string(b[:n]) == "+OK")
}

// freePorts finds so many loopback addresses where nobody listens.
func freePorts(n int) ([]string, error) {
	var addrs []string
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close() // all at the end, so that no port comes twice
		addrs = append(addrs, ln.Addr().String())
	}
	return addrs, nil
}

// A tail keeps the end of what a process prints. It may be used by many at
// once.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 4 << 10

// Write takes everything and forgets all but the end.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-tailSize):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text))
}

// A postrider is our program, and a data directory.
type postrider struct {
	program string
	dir     string
	process
	metrics string // address of its metrics, empty if none
}

// serve starts the server with settings beside those of the addresses.
func (p *postrider) serve(ctx context.Context, sets ...string) error {
	addrs, err := freePorts(3)
	if err != nil {
		return err
	}
	p.process = process{name: "postrider", smtp: addrs[0], pop: addrs[1], env: p.env}
	p.count = func(ctx context.Context) (int, error) { return countPOP(ctx, p.pop) }
	all := []string{"smtp.listen=" + p.smtp, "pop.listen=" + p.pop, "submission.listen=",
		"submissions.listen=", "pops.listen="}
	if p.metrics != "" {
		p.metrics = addrs[2]
		all = append(all, "metrics.listen="+p.metrics)
	}
	args := []string{"serve", "--data", p.dir}
	for _, s := range append(all, sets...) {
		args = append(args, "--set", s)
	}
	if err := p.start(p.program, args...); err != nil {
		return err
	}
	if err := p.greets(ctx, p.smtp, 30*time.Second); err != nil {
		p.stop()
		return err
	}
	return nil
}

// command runs one of the program's commands on the data directory.
func (p *postrider) command(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, p.program, append(args, "--data", p.dir)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("postrider %s: %w: %.500s", strings.Join(args, " "), err, out)
	}
	return nil
}

// accounts makes so many accounts; the first userCount can log in.
func (p *postrider) accounts(ctx context.Context, n int) error {
	var table strings.Builder
	table.WriteString("UserName\tPassword\n")
	for u := range n {
		secret := password
		if u >= userCount {
			secret = "" // hashing a hundred thousand would take an hour
		}
		fmt.Fprintf(&table, "%s\t%s\n", userName(u), secret)
	}
	file := filepath.Join(filepath.Dir(p.dir), "accounts.tsv")
	if err := os.WriteFile(file, []byte(table.String()), 0o600); err != nil {
		return err
	}
	defer os.Remove(file)
	return p.command(ctx, "account", "import", file)
}

// newPostrider starts a server in a fresh data directory, with the accounts,
// all of which have logged in once: first logins cost what they shall cost, and
// that is not what is measured.
func newPostrider(ctx context.Context, program, dir string, sets ...string) (*postrider, error) {
	p := &postrider{program: program, dir: filepath.Join(dir, "data")}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	err := p.serve(ctx, sets...)
	if err == nil {
		if err = p.command(ctx, "domain", "add", domain); err == nil {
			err = p.accounts(ctx, userCount)
		}
		if err == nil {
			_, err = p.count(ctx)
		}
		if err != nil {
			p.stop()
		}
	}
	return p, err
}

// build compiles the program from the source of this module.
func build(ctx context.Context, dir string) (string, error) {
	program := filepath.Join(dir, "postrider.exe") // Windows wants the name, others take it
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "postrider/cmd/postrider")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("build: %s", out), err)
	}
	return program, nil
}
