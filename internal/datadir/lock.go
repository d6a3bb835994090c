package datadir

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"postrider/internal/mail"
)

// A Lock is the right to work in the directory. It ends with Release or
// with the process.
type Lock struct {
	file *os.File
}

// Lock takes the lock without waiting. The error is of kind Locked when
// another process has it.
func (d *Dir) Lock() (*Lock, error) {
	f, err := os.OpenFile(d.lockFile(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, d.lockError(err)
	}
	held, err := tryLock(f)
	if err != nil {
		f.Close()
		return nil, &mail.Error{Kind: mail.Unreachable, Err: err,
			Text: "cannot lock the data directory"}
	}
	if held {
		f.Close()
		return nil, mail.Errorf(mail.Locked, "another Postrider works in "+d.path)
	}
	// The number is for people who look; nothing depends on it.
	if err := f.Truncate(0); err == nil {
		fmt.Fprintln(f, os.Getpid())
	}
	return &Lock{file: f}, nil
}

// lockError explains why the lock cannot be opened.
func (d *Dir) lockError(err error) error {
	if errors.Is(err, syscall.EROFS) {
		return mail.Errorf(mail.Unreachable, "the data directory "+d.path+
			" is on a read-only file system; copy it elsewhere to look into it")
	}
	return &mail.Error{Kind: mail.Unreachable, Err: err,
		Text: "cannot open the lock of the data directory"}
}

// Release gives the lock back.
func (l *Lock) Release() error { return l.file.Close() }
