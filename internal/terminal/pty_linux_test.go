package terminal

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var kept []*os.File

// pty gives both ends of a terminal: that of who sits before it, and that of
// the program.
func pty(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { person.Close() })
	fd := int(person.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Skip(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Skip(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	// A reader that was interrupted still has the number of the file: it must
	// not become that of another.
	t.Cleanup(func() { kept = append(kept, program) })
	return person, program
}

// hidden returns when the terminal does not show what is typed.
func hidden(t *testing.T, f *os.File) {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if !echoes(t, f) {
			return
		}
		runtime.Gosched()
	}
	t.Error("the terminal shows what is typed")
}

// echoes says whether the terminal shows what is typed.
func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Error(err)
		return false
	}
	return state.Lflag&unix.ECHO != 0
}

func TestSecret(t *testing.T) {
	person, program := pty(t)
	c := &Terminal{Stdin: program, Stdout: program, Stderr: program}
	if !c.Interactive() {
		t.Fatal("a terminal is not recognised")
	}
	seen := bufio.NewReader(person)
	go func() {
		if _, err := seen.ReadString('?'); err != nil {
			return
		}
		hidden(t, program)
		fmt.Fprint(person, "a secret\n")
	}()
	got, err := c.Secret(t.Context(), "Password?")
	if err != nil || got != "a secret" {
		t.Errorf("got %q, %v", got, err)
	}
	fmt.Fprintln(program, "end")
	after, err := seen.ReadString('d')
	if err != nil || strings.Contains(after, "secret") {
		t.Errorf("the terminal shows %q, %v", after, err)
	}
	if !echoes(t, program) {
		t.Errorf("what is typed afterwards is not shown")
	}
}

// An interrupted question leaves a terminal that shows what is typed.
func TestSecretInterrupted(t *testing.T) {
	person, program := pty(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		hidden(t, program)
		cancel()
	}()
	c := &Terminal{Stdin: program, Stderr: program}
	if _, err := c.Secret(ctx, "Password?"); err != context.Canceled {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if !echoes(t, program) {
		t.Errorf("what is typed afterwards is not shown")
	}
	fmt.Fprint(person, "\n") // lets the reader go
}
