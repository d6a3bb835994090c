package server

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postrider/internal/mail"
	"postrider/internal/store/room"
)

// A disk so full that mail is refused is told in the status, nothing else.
func TestDiskWarning(t *testing.T) {
	dir := t.TempDir()
	_, total, err := room.Free(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"room", nil, ""},
		{"full", room.New(dir).Check(total), "the disk is nearly full: mail is refused with 452"},
		{"other", mail.Errorf(mail.Temporary, "busy"), ""},
		{"unknown", errors.New("unknown"), ""},
	} {
		if got := diskWarning(tt.err); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestUnqualifiedName proves that a name without a domain is told, in the log
// and in the status.
func TestUnqualifiedName(t *testing.T) {
	for host, warned := range map[string]bool{"vm": true, "vm.": true, "mail.example.org": false} {
		t.Run(host, func(t *testing.T) {
			if got := unqualified(host) != ""; got != warned {
				t.Errorf("got warned %v, want %v", got, warned)
			}
			if strings.HasSuffix(host, ".") {
				return // no setting
			}
			f := start(t, filepath.Join(t.TempDir(), "data"),
				append(slices.Clone(everyDoor), "server.hostname="+host)...)
			st, err := f.Status(t.Context())
			if err != nil || (len(st.Warnings) == 1) != warned || st.Service {
				t.Errorf("status: got %q, service %v, %v", st.Warnings, st.Service, err)
			}
			f.shutdown()
			const want = "server the server calls itself vm, which is no qualified name"
			if got := strings.Contains(f.log.String(), want); got != warned {
				t.Errorf("warned in the log is %v, want %v:\n%s", got, warned, f.log.String())
			}
		})
	}
}
