//go:build unix

package proof

import (
	"strconv"
	"syscall"
	"testing"
)

// kill ends the process with this number.
func kill(t *testing.T, pid string) {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err == nil && n > 1 {
		err = syscall.Kill(n, syscall.SIGKILL)
	}
	if err != nil {
		t.Fatalf("process %q: %v", pid, err)
	}
}
