package seal

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"postrider/internal/mail"
)

// made makes a key if there is none, and loads it.
func made(path string) (*Key, error) {
	if err := Make(path); err != nil {
		return nil, err
	}
	return Load(path)
}

func TestSealOpen(t *testing.T) {
	k, err := made(filepath.Join(t.TempDir(), "secret.key"))
	if err != nil {
		t.Fatal(err)
	}
	plain, ctx := []byte("tanstaaf"), []byte("apop:7")
	sealed := k.Seal(plain, ctx)
	if bytes.Contains(sealed, plain) || len(sealed) != len(plain)+Overhead {
		t.Fatalf("sealed %d bytes: %q", len(sealed), sealed)
	}
	if bytes.Equal(sealed, k.Seal(plain, ctx)) {
		t.Error("the same nonce was used twice")
	}
	got, err := k.Open(sealed, ctx)
	if err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("got %q, %v want %q", got, err, plain)
	}
	if got, err := k.Open(k.Seal(nil, nil), nil); err != nil || len(got) != 0 {
		t.Errorf("empty: got %q, %v", got, err)
	}
	other, _ := New(make([]byte, 32))
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	version := bytes.Clone(sealed)
	version[0]++
	for name, try := range map[string]func() ([]byte, error){
		"other context": func() ([]byte, error) { return k.Open(sealed, []byte("apop:8")) },
		"other key":     func() ([]byte, error) { return other.Open(sealed, ctx) },
		"changed":       func() ([]byte, error) { return k.Open(changed, ctx) },
		"other version": func() ([]byte, error) { return k.Open(version, ctx) },
		"short":         func() ([]byte, error) { return k.Open(sealed[:Overhead-1], ctx) },
		"empty":         func() ([]byte, error) { return k.Open(nil, ctx) },
	} {
		if got, err := try(); mail.KindOf(err) != mail.Damaged || got != nil {
			t.Errorf("%s: got %q, %v want Damaged", name, got, err)
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret.key")
	if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: got %v, want fs.ErrNotExist", err)
	}
	var wg sync.WaitGroup
	keys := make([]*Key, 8)
	for i := range keys {
		wg.Go(func() { keys[i], _ = made(path) })
	}
	wg.Wait()
	sealed := keys[0].Seal([]byte("x"), nil)
	for i, k := range keys {
		if _, err := k.Open(sealed, nil); err != nil {
			t.Errorf("key %d made at the same time is another one", i)
		}
	}
	files, _ := os.ReadDir(filepath.Dir(path))
	if len(files) != 1 {
		t.Errorf("got %d files want 1: %v", len(files), files)
	}
	if runtime.GOOS != "windows" {
		if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
			t.Errorf("got mode %v want 0600", info.Mode())
		}
		os.Chmod(path, 0o640)
		if _, err := Load(path); mail.KindOf(err) != mail.Denied {
			t.Errorf("readable by others: got %v want Denied", err)
		}
		os.Chmod(path, 0o600)
	}
	if err := os.Truncate(path, 31); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); mail.KindOf(err) != mail.Damaged {
		t.Errorf("short file: got %v want Damaged", err)
	}
	_, err := Load(filepath.Join(t.TempDir(), "none", "secret.key"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: got %v", err)
	}
}
