package vfs

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

// IsFull says whether err means that the disk or a quota of it is full.
func IsFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) ||
		errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED) || errors.Is(err, syscall.ENOSPC)
}
