// Package durable puts small files in place so that a crash or a power cut
// leaves the old content or the new one, whole. Bodies of messages and the
// database have ways of their own; everything else that must survive is
// written here.
package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile replaces the file at path by what fill writes, with exactly this
// mode. It is on disk under its name when WriteFile returns; on an error the
// old file is untouched. One writer of a path at a time: the temporary file
// beside it has a fixed name, so that a crash leaves one of them at most.
func WriteFile(path string, mode fs.FileMode, fill func(io.Writer) error) (err error) {
	part := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	// What a crash left may have another owner or mode.
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(part)
		}
	}()
	// The mode is not cut by the umask. Windows knows only read-only.
	if err := f.Chmod(mode); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := rename(part, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Bytes is a fill of WriteFile for content that is there already.
func Bytes(content []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	}
}
