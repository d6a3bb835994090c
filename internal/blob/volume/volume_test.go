package volume

import (
	"testing"

	"postrider/internal/blob"
	"postrider/internal/blob/blobtest"
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
