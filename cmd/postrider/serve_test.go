package main

import (
	"errors"
	"strings"
	"testing"
)

// What another run of this program says, this one says once and with the same
// exit status.
func TestSaidBy(t *testing.T) {
	failed := errors.New("exit status 6")
	for _, tt := range []struct {
		name, stderr string
		status       int
		want         string
	}{
		{"an error", `{"error":"the database is older","kind":"damaged"}` + "\n", exitDamaged,
			"the database is older"},
		{"no JSON", "panic: so it goes\n", exitFailed, "exit status 6: panic: so it goes"},
		{"nothing", "", exitFailed, "exit status 6"},
	} {
		err := saidBy([]byte(tt.stderr), failed)
		if exitStatus(err) != tt.status || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v (%d), want %q (%d)", tt.name, err, exitStatus(err), tt.want, tt.status)
		}
	}
}
