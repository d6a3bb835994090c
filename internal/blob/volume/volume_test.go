package volume

import (
	"testing"

	"postrider/internal/blob"
	"postrider/internal/blob/blobtest"
	"postrider/internal/blob/vfs"
)

// open opens volumes in a directory of the test's own.
func open(t *testing.T, c Config) *Store {
	t.Helper()
	if c.Dirs == nil {
		c.Dirs = []string{t.TempDir(), t.TempDir()}
	}
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, Config{}) })
}

func TestConformanceSmallVolumes(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, Config{Size: 20_000}) })
}

// noSync is the operating system's file system without flushes, which tests
// that cut the power by themselves need not wait for.
type noSync struct{ vfs.OS }

type noSyncFile struct{ vfs.File }

func (noSyncFile) Sync() error { return nil }

func (noSync) SyncDir(string) error { return nil }

func (n noSync) Create(path string) (vfs.File, error) { return n.wrap(n.OS.Create(path)) }

func (n noSync) OpenWrite(path string) (vfs.File, error) { return n.wrap(n.OS.OpenWrite(path)) }

func (noSync) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return noSyncFile{f}, nil
}
