package datadir

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockOffset is far behind the content, which others may then still read:
// locks are mandatory here.
const lockOffset = 1 << 30

// tryLock reports whether somebody else holds the lock.
func tryLock(f *os.File) (held bool, err error) {
	at := &windows.Overlapped{Offset: lockOffset}
	err = windows.LockFileEx(windows.Handle(f.Fd()),
		windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return true, nil
	}
	return false, err
}
