//go:build unix

package seal

import (
	"errors"
	"io/fs"
	"os"

	"postrider/internal/mail"
)

// place gives the file its name unless another was faster. File systems
// without hard links get a rename.
func place(from, to string) error {
	err := os.Link(from, to)
	switch {
	case err == nil, errors.Is(err, fs.ErrExist):
		return nil
	}
	return os.Rename(from, to)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func checkMode(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return mail.Errorf(mail.Denied, path+" can be read by others; run chmod 600 "+path)
	}
	return nil
}
