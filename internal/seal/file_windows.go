package seal

import (
	"errors"
	"io/fs"
	"os"
)

// place gives the file its name unless another was faster.
func place(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return os.Rename(from, to)
}

// syncDir does nothing: Windows cannot flush directories.
func syncDir(string) error { return nil }

// checkMode does nothing: the data directory's list of rights decides.
func checkMode(string) error { return nil }
