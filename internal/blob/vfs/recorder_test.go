package vfs

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// must fails the test if an operation did.
func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, f File, off int64, text string) {
	t.Helper()
	_, err := f.WriteAt([]byte(text), off)
	must(t, err)
}

// cut returns the files that a power cut now leaves, by name.
func cut(t *testing.T, r *Recorder, root string, at int, keep Keep) map[string]string {
	t.Helper()
	to := t.TempDir()
	must(t, r.PowerCut(at, keep, root, to))
	left := map[string]string{}
	must(t, filepath.WalkDir(to, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(to, path)
		left[filepath.ToSlash(rel)] = string(b)
		return err
	}))
	return left
}

func want(t *testing.T, what string, got map[string]string, want ...string) {
	t.Helper()
	if len(got)*2 != len(want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
		return
	}
	for i := 0; i < len(want); i += 2 {
		if text, ok := got[want[i]]; !ok || text != want[i+1] {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
}

func TestPowerCut(t *testing.T) {
	root := t.TempDir()
	r := NewRecorder(OS{})
	f, err := r.Create(filepath.Join(root, "a"))
	must(t, err)
	defer f.Close()
	write(t, f, 0, "one")
	must(t, f.Sync())
	want(t, "name not flushed", cut(t, r, root, r.Mark(), KeepNone))
	must(t, r.SyncDir(root))
	want(t, "flushed", cut(t, r, root, r.Mark(), KeepNone), "a", "one")
	before := r.Mark()
	write(t, f, 3, "two")
	want(t, "second write", cut(t, r, root, r.Mark(), KeepNone), "a", "one")
	want(t, "second write kept", cut(t, r, root, r.Mark(), KeepAll), "a", "onetwo")
	must(t, f.Truncate(2))
	want(t, "truncation", cut(t, r, root, r.Mark(), KeepNone), "a", "one")
	must(t, f.Sync())
	want(t, "flushed truncation", cut(t, r, root, r.Mark(), KeepNone), "a", "on")
	want(t, "earlier", cut(t, r, root, before, KeepAll), "a", "one")

	must(t, r.Rename(filepath.Join(root, "a"), filepath.Join(root, "b")))
	want(t, "rename", cut(t, r, root, r.Mark(), KeepNone), "a", "on")
	must(t, r.SyncDir(root))
	want(t, "flushed rename", cut(t, r, root, r.Mark(), KeepNone), "b", "on")
	must(t, r.Remove(filepath.Join(root, "b")))
	want(t, "removal", cut(t, r, root, r.Mark(), KeepNone), "b", "on")
	want(t, "removal kept", cut(t, r, root, r.Mark(), KeepAll))
}

// TestMemory runs the same calls on both file systems.
func TestMemory(t *testing.T) {
	for name, fsys := range map[string]FS{"os": OS{}, "memory": NewMemory(nil)} {
		t.Run(name, func(t *testing.T) { testFS(t, fsys, t.TempDir()) })
	}
}

func testFS(t *testing.T, fsys FS, root string) {
	dir := filepath.Join(root, "x", "y")
	path := filepath.Join(dir, "a")
	if _, err := fsys.ReadDir(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ReadDir of nothing: got %v", err)
	}
	if _, err := fsys.Create(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Create in nothing: got %v", err)
	}
	must(t, fsys.MkdirAll(dir), fsys.MkdirAll(dir), fsys.SyncDir(dir))
	f, err := fsys.Create(path)
	must(t, err)
	if _, err := fsys.Create(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("second Create: got %v", err)
	}
	write(t, f, 3, "abc")
	must(t, f.Truncate(5), f.Truncate(8), f.Sync(), f.WriteOut(0, 8, true))
	size, err := f.Size()
	must(t, err, f.Close())
	if err := f.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second Close: got %v", err)
	}
	must(t, fsys.Rename(path, path+"2"))
	if _, err := fsys.Open(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open of nothing: got %v", err)
	}
	f, err = fsys.Open(path + "2")
	must(t, err)
	b := make([]byte, 10)
	n, err := f.ReadAt(b, 1)
	if size != 8 || n != 7 || err != io.EOF || string(b[:7]) != "\x00\x00ab\x00\x00\x00" {
		t.Errorf("got size %d, %q, %v", size, b[:n], err)
	}
	if _, err := f.WriteAt(b, 0); err == nil {
		t.Error("WriteAt on a file open for reading: no error")
	}
	must(t, f.Close())
	list, err := fsys.ReadDir(dir)
	if len(list) != 1 || list[0] != (Entry{Name: "a2", Size: 8}) || err != nil {
		t.Errorf("got %v, %v", list, err)
	}
	list, err = fsys.ReadDir(filepath.Dir(dir))
	if len(list) != 1 || list[0].Name != "y" || !list[0].Dir || err != nil {
		t.Errorf("got %v, %v", list, err)
	}
	must(t, fsys.Remove(path+"2"))
	if err := fsys.Remove(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Remove of nothing: got %v", err)
	}
}

func TestPowerCutDirectories(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "d")
	r := NewRecorder(OS{})
	must(t, r.MkdirAll(dir))
	f, err := r.Create(filepath.Join(dir, "a"))
	must(t, err)
	defer f.Close()
	must(t, r.SyncDir(dir))
	want(t, "directory not flushed", cut(t, r, root, r.Mark(), KeepNone))
	must(t, r.SyncDir(root))
	want(t, "directory flushed", cut(t, r, root, r.Mark(), KeepNone), "d/a", "")
}

func TestPowerCutTearsAtSectors(t *testing.T) {
	root := t.TempDir()
	r := NewRecorder(OS{})
	f, err := r.Create(filepath.Join(root, "a"))
	must(t, err)
	defer f.Close()
	must(t, r.SyncDir(root))
	write(t, f, 0, strings.Repeat("x", 5*sector))
	keep := KeepSome(rand.New(rand.NewPCG(1, 2)))
	sizes := map[int]bool{}
	for range 50 {
		text := cut(t, r, root, r.Mark(), keep)["a"]
		kept := strings.Count(text, "x")
		sizes[kept] = true
		if kept%sector != 0 {
			t.Errorf("got %d bytes, want whole sectors", kept)
		}
	}
	if len(sizes) < 4 {
		t.Errorf("got only the sizes %v", sizes)
	}
}

func TestFailedSyncLosesForEver(t *testing.T) {
	root := t.TempDir()
	r := NewRecorder(OS{})
	r.Fail = func(op Op, _ string, n int) error {
		if op == OpSync && n == 1 {
			return syscall.EIO
		}
		return nil
	}
	f, err := r.Create(filepath.Join(root, "a"))
	must(t, err, r.SyncDir(root))
	defer f.Close()
	write(t, f, 0, "lost")
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("got %v, want EIO", err)
	}
	must(t, f.Sync())
	want(t, "after a second flush", cut(t, r, root, r.Mark(), KeepNone), "a", "")
	must(t, f.Truncate(0), f.Sync())
	want(t, "cut back", cut(t, r, root, r.Mark(), KeepAll), "a", "")
}

func TestInjectedErrors(t *testing.T) {
	root := t.TempDir()
	r := NewRecorder(OS{})
	r.Fail = func(op Op, path string, n int) error {
		switch {
		case op == OpWrite && n == 2:
			return syscall.ENOSPC
		case op == OpSync && n == 1:
			return ErrSkip
		}
		return nil
	}
	f, err := r.Create(filepath.Join(root, "a"))
	must(t, err, r.SyncDir(root))
	defer f.Close()
	write(t, f, 0, "1234")
	n, err := f.WriteAt([]byte("5678"), 4)
	if n != 2 || !IsFull(err) {
		t.Errorf("got %d, %v, want 2 bytes and a full disk", n, err)
	}
	must(t, f.Sync())
	want(t, "skipped flush", cut(t, r, root, r.Mark(), KeepNone), "a", "")
	must(t, f.Sync())
	want(t, "flush", cut(t, r, root, r.Mark(), KeepNone), "a", "123456")
	if got := r.Count(OpSync); got != 2 {
		t.Errorf("got %d flushes, want 2", got)
	}
}
