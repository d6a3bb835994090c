//go:build unix

package datadir

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"postrider/internal/mail"
)

// nobody is a user that is not root; it need not have a name.
const nobody = 65534

// A token that others could read is not used any more.
func TestExposedToken(t *testing.T) {
	d := made(t, filepath.Join(t.TempDir(), "data"))
	old, err := d.Token()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		mode os.FileMode
		same bool
	}{{0o600, true}, {0o400, true}, {0o644, false}, {0o620, false}} {
		if err := os.Chmod(d.tokenFile(), tt.mode); err != nil {
			t.Fatal(err)
		}
		_, lock, err := MakeLocked(d.Path())
		if err != nil {
			t.Fatal(err)
		}
		lock.Release()
		now, err := d.Token()
		info, _ := os.Stat(d.tokenFile())
		if err != nil || now == old != tt.same || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("mode %o: got the same %v, mode %v, %v", tt.mode, now == old, info.Mode(), err)
		}
		old = now
	}
}

// A directory that may not be read is told like by every other command.
func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	d := made(t, filepath.Join(t.TempDir(), "data"))
	if err := os.Chmod(d.Path(), 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(d.Path(), 0o700)
	if _, _, err := MakeLocked(d.Path()); mail.KindOf(err) != mail.Unreachable {
		t.Errorf("got %v, want kind Unreachable", err)
	}
}

// As root on another user's directory, a process becomes that user first.
func TestBecome(t *testing.T) {
	if path := os.Getenv("POSTRIDER_TEST_BECOME"); path != "" {
		if err := Become(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "made"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if os.Geteuid() != nobody || syscall.Setuid(0) == nil {
			t.Error("it is still root, or can become so again")
		}
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	path := shortDir(t)
	if err := os.Chown(path, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestBecome$")
	cmd.Env = append(os.Environ(), "POSTRIDER_TEST_BECOME="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(filepath.Join(path, "made"))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Sys().(*syscall.Stat_t); got.Uid != nobody || got.Gid != nobody {
		t.Errorf("the file belongs to %d:%d, want %d", got.Uid, got.Gid, nobody)
	}
	if err := Become(t.TempDir()); err != nil || os.Geteuid() != 0 {
		t.Errorf("on its own directory: %v, user %d", err, os.Geteuid())
	}
}
