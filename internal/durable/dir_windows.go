package durable

import "golang.org/x/sys/windows"

// rename returns when the new name is on disk.
func rename(from, to string) error {
	f, err := windows.UTF16PtrFromString(from)
	if err != nil {
		return err
	}
	t, err := windows.UTF16PtrFromString(to)
	if err != nil {
		return err
	}
	return windows.MoveFileEx(f, t,
		windows.MOVEFILE_REPLACE_EXISTING|windows.MOVEFILE_WRITE_THROUGH)
}

// SyncDir does nothing: Windows cannot flush directories, and its file
// system keeps their changes in a journal.
func SyncDir(string) error { return nil }
