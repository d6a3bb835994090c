package proof

import "testing"

// kill is for traced servers only, which Windows has not.
func kill(t *testing.T, _ string) {
	t.Helper()
	t.Skip("there is no strace")
}
