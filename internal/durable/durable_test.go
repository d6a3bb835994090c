package durable

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	stop := errors.New("stop")
	for _, c := range []struct {
		name string
		fill func(io.Writer) error
		mode os.FileMode
		want string
		err  error
	}{
		{"new", Bytes([]byte("one")), 0o600, "one", nil},
		{"replaced", Bytes([]byte("two, longer")), 0o640, "two, longer", nil},
		{"shorter", Bytes([]byte("3")), 0o600, "3", nil},
		{"failed half-way", func(w io.Writer) error {
			io.WriteString(w, "half")
			return stop
		}, 0o600, "3", stop},
		{"empty", Bytes(nil), 0o600, "", nil},
	} {
		if err := WriteFile(path, c.mode, c.fill); !errors.Is(err, c.err) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %q, %v; want %q", c.name, got, err, c.want)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode != c.mode {
			t.Errorf("%s: got mode %o, want %o", c.name, mode, c.mode)
		}
		if files, _ := os.ReadDir(dir); len(files) != 1 {
			t.Errorf("%s: the directory holds %v, want one file", c.name, files)
		}
	}
}

// What a crash has left is no obstacle, whoever may read it.
func TestWriteFileAfterCrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	part := filepath.Join(filepath.Dir(path), ".state.new")
	if err := os.WriteFile(part, []byte("left"), 0o444); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, 0o600, Bytes([]byte("new"))); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != "new" {
		t.Errorf("got %q", got)
	}
}

func TestWriteFileNowhere(t *testing.T) {
	dir := t.TempDir()
	if err := WriteFile(filepath.Join(dir, "no", "state"), 0o600, Bytes(nil)); !os.IsNotExist(err) {
		t.Errorf("no directory: got %v", err)
	}
	// A directory stands where the file should.
	if err := os.MkdirAll(filepath.Join(dir, "state", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(dir, "state"), 0o600, Bytes(nil)); err == nil {
		t.Error("a directory was replaced")
	}
	if err := SyncDir(filepath.Join(dir, "gone")); runtime.GOOS != "windows" && err == nil {
		t.Error("a directory that is not there was flushed")
	}
}
