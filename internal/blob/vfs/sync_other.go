//go:build !linux

package vfs

import "os"

// syncData is what the standard library does: F_FULLFSYNC on macOS,
// FlushFileBuffers on Windows, fsync elsewhere.
func syncData(f *os.File) error { return f.Sync() }

// writeOut has no cheap form here: starting does nothing, waiting flushes.
func writeOut(f *os.File, _, _ int64, wait bool) error {
	if !wait {
		return nil
	}
	return f.Sync()
}
