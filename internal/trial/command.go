package trial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Need skips the test unless these programs are installed.
func Need(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
}

// A Result is what a command did.
type Result struct {
	Args   []string
	Stdout string
	Stderr string
	Status int
}

// String shows the command and all that came of it.
func (r *Result) String() string {
	return fmt.Sprintf("%s: exit status %d\n%s%s", strings.Join(r.Args, " "), r.Status, r.Stdout,
		r.Stderr)
}

// Want fails the test unless the command exited with this status.
func (r *Result) Want(t *testing.T, status int) *Result {
	t.Helper()
	if r.Status != status {
		t.Fatalf("%v\nwant exit status %d", r, status)
	}
	return r
}

// Command runs a program with a standard input, which may be empty. It may
// take as long as Patience.
func Command(t *testing.T, stdin string, args ...string) *Result {
	t.Helper()
	return command(t, Patience, stdin, args...)
}

// Postrider runs a command of the built program on the data directory dir. It
// may take a while: a check reads all there is.
func Postrider(t *testing.T, dir, stdin string, args ...string) *Result {
	t.Helper()
	return command(t, 10*Patience, stdin, append([]string{Program(t), "--data", dir}, args...)...)
}

func command(t *testing.T, limit time.Duration, stdin string, args ...string) *Result {
	t.Helper()
	// Also at the end of a test, when its context has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	return Run(t, cmd)
}

// Run runs a command to its end.
func Run(t *testing.T, cmd *exec.Cmd) *Result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = Patience
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, stderr.String())
	}
	return &Result{cmd.Args, stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}
