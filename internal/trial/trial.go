// Package trial starts the built program and works on it from outside, as its
// users do: for the tests of packages clients and proof alone.
//
// The program is built once for a test binary, which has to call Main; or
// PROOF_PROGRAM in the environment names a built one that is tested instead of
// the one in this tree. Nothing is started with -short. Servers listen on free
// ports of loopback and have a data directory of their own. Every process is
// ended with its test.
//
// What may go wrong in a test that is none of its business fails the test at
// once, so that most functions have no error; they must be called from the
// goroutine of the test.
package trial

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	// What the program is built from is part of the tests, so that a result
	// is not taken from the cache after a change of it.
	_ "postrider/internal/server"
)

// Patience is how long anything may take that should be quick.
const Patience = 60 * time.Second

// Password is the one of every account that tests make.
const Password = "correct horse 47"

// workshop is the directory for what is built, made at the first use.
var workshop = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "trial-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755) // other users start it too
})

// Main is the TestMain of a package: it runs the tests, removes what was built
// and exits. The programs see no data directory in the environment.
func Main(m *testing.M) {
	os.Unsetenv("POSTRIDER_DATA")
	code := m.Run()
	if dir, err := workshop(); err == nil { // which is empty if nothing was built
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// Executable is where a test may build a program; Main removes it.
func Executable(name string) (string, error) {
	dir, err := workshop()
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(dir, name), err
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
	out, err := Executable("postrider")
	if err != nil {
		return "", err
	}
	said, err := exec.Command("go", "build", "-o", out, "postrider/cmd/postrider").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, said)
	}
	return out, nil
})

// Program is the path of the built program. The test is skipped with -short.
func Program(t *testing.T) string {
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
