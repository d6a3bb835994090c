package proof

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// smallDisk mounts a file system of so many bytes for the test, and returns
// its directory. Where that is not allowed the test is skipped.
func smallDisk(t *testing.T, kind string, bytes int64) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a small disk can be mounted by root only")
	}
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if kind == "tmpfs" {
		options := fmt.Sprintf("size=%d,mode=700", bytes)
		if err := syscall.Mount("proof", dir, "tmpfs", 0, options); err != nil {
			t.Skipf("tmpfs cannot be mounted here: %v", err)
		}
	} else {
		image := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(image, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(image, bytes); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"mkfs." + kind, "-q", image},
			{"mount", "-o", "loop", image, dir}} {
			if said, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Skipf("no small %s here: %s: %v\n%s", kind, args[0], err, said)
			}
		}
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// occupy makes a file that leaves so many bytes free for ordinary users.
func occupy(t *testing.T, path string, left int64) {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &st); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Fallocate(int(f.Fd()), 0, 0,
		int64(st.Bavail)*st.Bsize-left); err != nil {
		t.Fatal(err)
	}
}

// fill writes a file until the disk is full. With pause, which is called
// after each piece, it takes its time.
func fill(t *testing.T, path string, pause func()) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for piece := 256 << 10; piece >= 512; {
		_, err := f.Write(make([]byte, piece))
		switch {
		case err == nil:
			pause()
		case errors.Is(err, syscall.ENOSPC):
			piece /= 2
		default:
			t.Fatal(err)
		}
	}
}
