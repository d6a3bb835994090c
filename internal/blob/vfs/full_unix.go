//go:build !windows

package vfs

import (
	"errors"
	"syscall"
)

// IsFull says whether err means that the disk or a quota of it is full.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
